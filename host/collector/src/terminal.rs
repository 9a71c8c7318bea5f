//! Text that others have chosen, plugins above all, as a person gets to see it: it stays on its line and steers
//! no terminal.

use std::borrow::Cow;

/// Whether a character does more than show itself: a control character, an end of a line, or one that turns the
/// direction of what follows.
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The text with such characters as Rust writes them: `\n`, `\u{1b}`.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if steers(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_shown_instead() {
        for (text, shown) in [
            ("1.2.3", "1.2.3"),
            ("Zürich \\ \"", "Zürich \\ \""),
            ("1\nready", "1\\nready"),
            ("\u{1b}[31mred\r\t", "\\u{1b}[31mred\\r\\t"),
            ("\u{9b}8m", "\\u{9b}8m"),
            ("a\u{202e}b\u{2028}c", "a\\u{202e}b\\u{2028}c"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }
}

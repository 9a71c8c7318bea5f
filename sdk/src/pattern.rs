//! Patterns of the Collector's configurations: Go's regular expressions (RE2) in the syntax of
//! Rust's crates, so that they mean here what they mean there.
//!
//! The SDK itself depends on none of them, because they are most of a small plugin's size. Take
//! - `regex-lite` (some 150 kB) for conditions on short texts, or
//! - `regex` (some 600 kB, much faster) to scan everything, with `default-features = false,
//!   features = ["std", "perf-dfa", "perf-inline", "unicode-case"]`; what is written here needs no
//!   tables of Unicode classes.

/// The crate that a pattern is translated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// `regex`, whose `\d` and its like know all of Unicode.
    Regex,
    /// `regex-lite`, whose know ASCII only, as Go's.
    Lite,
}

/// Translates a pattern. In Go `\d`, `\s`, `\w` and `\b` know ASCII only, a `{` that begins no
/// repetition is a character, and so are `[` and `&&` within a class.
///
/// What is not valid stays so: the crate that compiles it says what is wrong.
///
/// ```
/// use sluice_sdk::pattern::{Flavor, from_go};
/// assert_eq!(from_go(r"\bID-\d+", Flavor::Regex), r"(?-u:\b)ID-[0-9]+");
/// assert_eq!(from_go(r"\bID-\d+", Flavor::Lite), r"\bID-\d+");
/// ```
pub fn from_go(pattern: &str, flavor: Flavor) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        rest = match c {
            '\\' => escape(after, in_class, flavor, &mut out),
            '[' if in_class => class_in_class(after, &mut out),
            '[' => {
                in_class = true;
                class_start(after, &mut out)
            }
            ']' => {
                in_class = false;
                out.push(c);
                after
            }
            '&' | '~' if in_class => {
                escaped(c, &mut out);
                after
            }
            '{' if !in_class && !is_repetition(after) => {
                out.push_str(r"\{");
                after
            }
            _ => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// What `regex` takes as all of Unicode and Go as ASCII: in a class and outside. Nothing where it is the same.
const ASCII_ONLY: [(char, &str, &str); 8] = [
    ('d', "0-9", "[0-9]"),
    ('D', "[^0-9]", "[^0-9]"),
    ('w', "0-9A-Za-z_", "[0-9A-Za-z_]"),
    ('W', "[^0-9A-Za-z_]", "[^0-9A-Za-z_]"),
    ('s', r"\t\n\f\r ", r"[\t\n\f\r ]"),
    ('S', r"[^\t\n\f\r ]", r"[^\t\n\f\r ]"),
    ('b', "", r"(?-u:\b)"),
    ('B', "", r"(?-u:\B)"),
];

fn escaped(c: char, out: &mut String) {
    out.push('\\');
    out.push(c);
}

/// After a backslash.
fn escape<'a>(after: &'a str, in_class: bool, flavor: Flavor, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = after.get(c.len_utf8()..).unwrap_or_default();
    if flavor == Flavor::Regex
        && let Some((_, within, without)) = ASCII_ONLY.iter().find(|(letter, ..)| *letter == c)
        && let written = if in_class { within } else { without }
        && !written.is_empty()
    {
        out.push_str(written);
        return rest;
    }
    match c {
        'x' | 'p' | 'P' if rest.starts_with('{') => {
            // `\x{e9}`, `\p{Greek}`: these braces are part of the escape.
            let end = rest.find('}').map_or(rest.len(), |end| end + 1);
            let (braces, rest) = rest.split_at(end);
            escaped(c, out);
            out.push_str(braces);
            return rest;
        }
        'Q' => {
            let (quoted, rest) = rest.split_once(r"\E").unwrap_or((rest, ""));
            for c in quoted.chars() {
                if c.is_ascii_punctuation() { escaped(c, out) } else { out.push(c) }
            }
            return rest;
        }
        _ => escaped(c, out),
    }
    rest
}

/// After the `[` that opens a class: a `^`, and a `]` that is its first character.
fn class_start<'a>(after: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let mut rest = after;
    if let Some(negated) = rest.strip_prefix('^') {
        out.push('^');
        rest = negated;
    }
    if let Some(first) = rest.strip_prefix(']') {
        out.push_str(r"\]");
        rest = first;
    }
    rest
}

/// After a `[` within a class: `[:alpha:]` is a class, else it is a character.
fn class_in_class<'a>(after: &'a str, out: &mut String) -> &'a str {
    if after.starts_with(':')
        && let Some((name, rest)) = after.split_once(":]")
    {
        out.push('[');
        out.push_str(name);
        out.push_str(":]");
        return rest;
    }
    out.push_str(r"\[");
    after
}

/// Whether what follows a `{` makes it a repetition: `3}`, `3,}` or `3,4}`.
fn is_repetition(after: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((counts, _)) = after.split_once('}') else { return false };
    let (least, most) = counts.split_once(',').unwrap_or((counts, ""));
    !least.is_empty() && digits(least) && digits(most)
}

#[cfg(test)]
mod tests {
    use super::{Flavor, from_go};

    #[test]
    fn what_differs_is_translated_and_the_rest_is_kept() {
        let cases = [
            (r"\b4[0-9]{12}(?:[0-9]{3})?\b", r"(?-u:\b)4[0-9]{12}(?:[0-9]{3})?(?-u:\b)"),
            (r"[\w.]+@[\w-]+", r"[0-9A-Za-z_.]+@[0-9A-Za-z_-]+"),
            (r"\D[^\s]", r"[^0-9][^\t\n\f\r ]"),
            (r"{id}/a{2,}", r"\{id}/a{2,}"),
            (r"[[]x[]]y[^]]", r"[\[]x[\]]y[^\]]"),
            (r"[[:alpha:]_]&&[a&&b]", r"[[:alpha:]_]&&[a\&\&b]"),
            (r"\Qa.b\E.c", r"a\.b.c"),
            (r"(?i)caf\x{e9}\\d", r"(?i)caf\x{e9}\\d"),
        ];
        for (go, rust) in cases {
            assert_eq!(from_go(go, Flavor::Regex), rust, "{go}");
        }
    }
}

//! E-mail addresses: `local@domain.tld`, found at the `@` or at `%40`, which it is in URLs.

use std::ops::Range;

/// `@`, percent-encoded.
const ENCODED: &[u8] = b"%40";

/// Bytes looked at before the sign: RFC 5321 has 64 characters, of up to four bytes or encoded.
const MAX_LOCAL: usize = 256;

/// Where an address could be.
pub(super) fn candidates(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let is_sign =
        |at: &usize| bytes.get(*at) == Some(&b'@') || bytes.get(*at..).is_some_and(|rest| rest.starts_with(ENCODED));
    memchr::memchr2_iter(b'@', b'%', bytes).filter(is_sign)
}

/// Adds the addresses in a text. The domain needs a dot and ends with a letter. Of the local part
/// the characters are taken that addresses have in practice, not all that RFC 5322 allows (`/`,
/// `=`, `?`), so that a query string before an address stays readable.
pub(super) fn find(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    let mut least = 0;
    for sign in candidates(bytes) {
        let at = if bytes.get(sign) == Some(&b'@') { sign } else { sign + ENCODED.len() - 1 };
        let local = bytes.get(least..sign).unwrap_or_default();
        let mut from = sign - local.iter().rev().take(MAX_LOCAL).take_while(|byte| in_local(**byte)).count();
        // Not within a character.
        while bytes.get(from).is_some_and(|byte| (0x80..0xc0).contains(byte)) && from < sign {
            from += 1;
        }
        let domain = bytes.get(at + 1..).unwrap_or_default();
        let mut to = at + 1 + domain.iter().take_while(|byte| in_domain(**byte)).count();
        while to > at + 1 && !bytes.get(to - 1).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80) {
            to -= 1;
        }
        let domain = bytes.get(at + 1..to).unwrap_or_default();
        let dotted = domain.iter().position(|byte| *byte == b'.').is_some_and(|dot| dot > 0);
        if from < sign && dotted {
            found.push(from..to);
            least = to;
        }
    }
}

fn in_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"%'+-_.~".contains(&byte) || byte >= 0x80
}

fn in_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    fn find(text: &str) -> Vec<&str> {
        crate::detect::found_in(super::find, text)
    }

    #[test]
    fn addresses_are_found_and_nothing_else() {
        assert_eq!(
            find("mail ada.lovelace+x@example.co.uk, or bob@x.io."),
            ["ada.lovelace+x@example.co.uk", "bob@x.io"]
        );
        assert_eq!(find("<ada@example.com>"), ["ada@example.com"]);
        assert_eq!(find("/users?mail=ada@example.com&x=1"), ["ada@example.com"]);
        assert_eq!(find("j\u{f6}rg@m\u{fc}ller.de"), ["j\u{f6}rg@m\u{fc}ller.de"]);
        assert_eq!(find("/users?mail=ada%40example.com&x=a%3Db"), ["ada%40example.com"]);
        assert_eq!(
            find(&format!("x{}@example.com", "\u{e9}".repeat(200))).len(),
            1,
            "a long one is cut between characters"
        );
        assert_eq!(find("https://user:secret@host/x"), [""; 0]);
        assert_eq!(find("a@b, @x.com, x@, @, x@.com, x@1.2"), [""; 0]);
    }
}

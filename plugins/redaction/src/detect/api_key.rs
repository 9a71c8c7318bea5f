//! API keys: those that their makers begin with a mark of their own, private keys in PEM, and what
//! follows `api_key=` and its like.

use std::ops::Range;

use super::len;

/// Characters of a key behind its mark.
#[derive(Clone, Copy)]
enum Of {
    UpperOrDigit,
    Letters,
    /// And `_` and `-`.
    Url,
    /// And `.`, too.
    Dotted,
}

/// A maker's mark, what follows it, and how many characters that has at least.
struct Mark(&'static [u8], Of, usize);

/// Marks, as their makers publish them. Each has `_`, `-` or `.` in it, or an `I`, where it is found.
const MARKS: &[Mark] = &[
    // Amazon Web Services: long-lived and temporary.
    Mark(b"AKIA", Of::UpperOrDigit, 16),
    Mark(b"ASIA", Of::UpperOrDigit, 16),
    // Google.
    Mark(b"AIza", Of::Url, 35),
    Mark(b"GOCSPX-", Of::Url, 28),
    // GitHub.
    Mark(b"ghp_", Of::Letters, 36),
    Mark(b"gho_", Of::Letters, 36),
    Mark(b"ghu_", Of::Letters, 36),
    Mark(b"ghs_", Of::Letters, 36),
    Mark(b"ghr_", Of::Letters, 36),
    Mark(b"github_pat_", Of::Url, 22),
    // GitLab.
    Mark(b"glpat-", Of::Dotted, 20),
    Mark(b"gldt-", Of::Url, 20),
    Mark(b"glrt-", Of::Url, 20),
    // Stripe.
    Mark(b"sk_live_", Of::Letters, 16),
    Mark(b"sk_test_", Of::Letters, 16),
    Mark(b"rk_live_", Of::Letters, 16),
    Mark(b"rk_test_", Of::Letters, 16),
    Mark(b"whsec_", Of::Letters, 16),
    // Slack.
    Mark(b"xoxb-", Of::Url, 16),
    Mark(b"xoxp-", Of::Url, 16),
    Mark(b"xoxa-", Of::Url, 16),
    Mark(b"xoxr-", Of::Url, 16),
    Mark(b"xoxs-", Of::Url, 16),
    Mark(b"xoxe.", Of::Dotted, 16),
    Mark(b"xapp-", Of::Url, 16),
    // OpenAI, Anthropic.
    Mark(b"sk-", Of::Url, 24),
    // SendGrid, Mailgun, Twilio's own SendGrid keys included.
    Mark(b"SG.", Of::Dotted, 50),
    Mark(b"key-", Of::Letters, 32),
    // Registries.
    Mark(b"npm_", Of::Letters, 36),
    Mark(b"pypi-", Of::Url, 50),
    Mark(b"dckr_pat_", Of::Url, 27),
    // Others.
    Mark(b"hf_", Of::Letters, 30),
    Mark(b"dop_v1_", Of::Letters, 64),
    Mark(b"shpat_", Of::Letters, 32),
    Mark(b"shpss_", Of::Letters, 32),
    Mark(b"hvs.", Of::Url, 24),
    Mark(b"NRAK-", Of::Letters, 27),
    Mark(b"lin_api_", Of::Letters, 40),
    Mark(b"sq0csp-", Of::Url, 40),
];

const PEM: &[u8] = b"-----BEGIN ";
const PEM_KEY: &[u8] = b"PRIVATE KEY-----";
const PEM_END: &[u8] = b"-----END ";
const PEM_DASHES: &[u8] = b"-----";

/// Words before `key` that make it a secret one.
const KINDS: [&str; 8] = ["api", "secret", "access", "account", "private", "auth", "subscription", "encryption"];
/// Characters of a value behind `api_key=` at least; fewer are a placeholder or a word.
const VALUE: usize = 12;

/// Where a key could be.
pub(super) fn candidates(bytes: &[u8], mut candidate: impl FnMut(usize)) {
    marks(bytes, |from, _| candidate(from));
    for at in memchr::memmem::find_iter(bytes, PEM) {
        candidate(at);
    }
    assignments(bytes, candidate);
}

/// Adds the keys in a text.
pub(super) fn find(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    let mut judged = 0..0;
    marks(bytes, |from, mark| {
        let before = from.checked_sub(1).and_then(|before| bytes.get(before));
        if judged.contains(&from) || before.is_some_and(u8::is_ascii_alphanumeric) {
            return;
        }
        let (is_key, range) = marked(bytes, from, mark);
        // What is within it has no digits either, or is found with it; unless it is only too short.
        if is_key || range.len() > LONGEST {
            judged = range.clone();
        }
        if is_key {
            found.push(range);
        }
    });
    let mut least = 0;
    for at in memchr::memmem::find_iter(bytes, PEM) {
        if at >= least
            && let Some(range) = pem(bytes, at)
        {
            least = range.end;
            found.push(range);
        }
    }
    let mut least = 0;
    assignments(bytes, |at| {
        if at >= least
            && let Some((is_key, range)) = assigned(bytes, at)
        {
            // As above: a value that is no key has no digits, or is shorter than any key.
            least = range.end;
            if is_key {
                found.push(range);
            }
        }
    });
}

/// Longer than what any mark wants behind it.
const LONGEST: usize = 80;

/// Where marks are. What stands before may be the end of another text.
fn marks(bytes: &[u8], mut found: impl FnMut(usize, &'static Mark)) {
    let mut at_place = |at: usize| {
        for mark in MARKS {
            // The place is the first of the mark's own such characters.
            let offset = mark.0.iter().position(|byte| matches!(byte, b'_' | b'-' | b'I' | b'.'));
            let from = offset.and_then(|offset| at.checked_sub(offset));
            if let Some(from) = from.filter(|from| bytes.get(*from..).is_some_and(|rest| rest.starts_with(mark.0))) {
                found(from, mark);
                return;
            }
        }
    };
    for at in memchr::memchr3_iter(b'_', b'-', b'I', bytes) {
        at_place(at);
    }
    for at in memchr::memchr_iter(b'.', bytes) {
        let dotted =
            |mark: &[u8]| at.checked_sub(mark.len() - 1).is_some_and(|from| bytes.get(from..=at) == Some(mark));
        if dotted(b"SG.") || dotted(b"hvs.") || dotted(b"xoxe.") {
            at_place(at);
        }
    }
}

/// A mark with what follows it, and whether that is a key.
fn marked(bytes: &[u8], from: usize, Mark(mark, of, count): &Mark) -> (bool, Range<usize>) {
    let rest = from + mark.len();
    let mut to = rest + len(bytes, rest, |byte| of.has(byte));
    while to > rest && bytes.get(to - 1) == Some(&b'.') {
        to -= 1;
    }
    let body = bytes.get(rest..to).unwrap_or_default();
    // Words with dashes between them have no digits; these do, all of them.
    (body.len() >= *count && body.iter().any(u8::is_ascii_digit), from..to)
}

impl Of {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::UpperOrDigit => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Letters => byte.is_ascii_alphanumeric(),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
        }
    }
}

/// A private key, from its first dash to its last; to the end of the text if that is missing.
fn pem(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let label = at + PEM.len();
    let named = len(bytes, label, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
    let head = bytes.get(label..label + named + PEM_DASHES.len())?;
    if !head.ends_with(PEM_KEY) {
        return None;
    }
    let body = label + head.len();
    let end = memchr::memmem::find(bytes.get(body..)?, PEM_END).and_then(|end| {
        let label = body + end + PEM_END.len();
        memchr::memmem::find(bytes.get(label..)?, PEM_DASHES).map(|dashes| label + dashes + PEM_DASHES.len())
    });
    Some(at..end.unwrap_or(bytes.len()))
}

/// Where a name ends that is that of a secret key.
fn assignments(bytes: &[u8], mut assignment: impl FnMut(usize)) {
    for at in memchr::memchr2_iter(b'k', b'K', bytes) {
        let is_key = bytes.get(at..at + 3).is_some_and(|word| word.eq_ignore_ascii_case(b"key"));
        let before = bytes.get(..at).unwrap_or_default();
        let before = match before {
            [rest @ .., b'_' | b'-' | b' ' | b'.'] => rest,
            _ => before,
        };
        let ends_with = |word: &&str| {
            before
                .len()
                .checked_sub(word.len())
                .and_then(|from| before.get(from..))
                .is_some_and(|end| end.eq_ignore_ascii_case(word.as_bytes()))
        };
        if is_key && KINDS.iter().any(ends_with) {
            assignment(at + 3);
        }
    }
}

/// The value behind `=`, `:` or `=>`, with or without quotes.
fn assigned(bytes: &[u8], name_end: usize) -> Option<(bool, Range<usize>)> {
    let quote = |at: usize| len(bytes, at, |byte| matches!(byte, b'"' | b'\'' | b'\\' | b' '));
    let sign = name_end + quote(name_end);
    let signs = len(bytes, sign, |byte| matches!(byte, b'=' | b':' | b'>'));
    let from = sign + signs + quote(sign + signs);
    let to = from + len(bytes, from, |byte| byte.is_ascii_alphanumeric() || b"_-.+/=".contains(&byte));
    let value = bytes.get(from..to)?;
    let is_key = value.len() >= VALUE && value.iter().any(u8::is_ascii_digit);
    (1..=2).contains(&signs).then_some((is_key, from..to))
}

#[cfg(test)]
mod tests {
    fn find(text: &str) -> Vec<&str> {
        crate::detect::found_in(super::find, text)
    }

    #[test]
    fn keys_with_marks_are_found() {
        for key in [
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_0123456789abcdefABCDEF0123456789abcd",
            "glpat-0123456789abcdefABCD",
            "xoxb-0123456789-0123456789-abcdefABCDEF",
            "SG.0123456789abcdefABCDEF.0123456789abcdefABCDEF0123456789abcdefABCDE",
            "hvs.0123456789abcdefABCDEF01",
        ] {
            for text in [key.to_owned(), format!("key={key}&x"), format!("{{\"k\": \"{key}\"}}"), format!("use {key}.")]
            {
                assert_eq!(find(&text), [key], "{text}");
            }
        }
    }

    #[test]
    fn assigned_keys_are_found() {
        assert_eq!(find("api_key=0123456789abcdef"), ["0123456789abcdef"]);
        let two = "SG.0123456789abcdefABCDEF.0123456789abcdefABCDEF0123456789abcdefABCDE AKIAIOSFODNN7EXAMPLE";
        assert_eq!(find(two).len(), 2, "in whichever order they are looked for");
        assert_eq!(find("{\"apiKey\": \"0123456789ab-cdef\"}"), ["0123456789ab-cdef"]);
        assert_eq!(find("X-API-Key: 0123456789abcdef, x"), ["0123456789abcdef"]);
        assert_eq!(find("AccountKey=ab0/cd+ef012345==;x"), ["ab0/cd+ef012345=="]);
        assert_eq!(find("{\\\"secret_key\\\":\\\"0123456789abcdef\\\"}"), ["0123456789abcdef"]);
    }

    #[test]
    fn private_keys_are_found_whole() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----";
        assert_eq!(find(&format!("x {key} y")), [key]);
        assert_eq!(find("-----BEGIN PRIVATE KEY-----\nMHcC"), ["-----BEGIN PRIVATE KEY-----\nMHcC"]);
        assert_eq!(find("-----BEGIN CERTIFICATE-----\nMHcC\n-----END CERTIFICATE-----"), [""; 0]);
    }

    #[test]
    fn what_is_no_key_is_left_alone() {
        for text in [
            "api_key=none",
            "the api key: missing or invalid",
            "xAKIAIOSFODNN7EXAMPLE",
            "AKIAIOSFODNN7",
            "task-0123456789abcdefABCDEF0123456789",
            "sk-learn-is-a-library-for-python",
            "monkey=0123456789abcdef",
            "123e4567-e89b-12d3-a456-426614174000",
        ] {
            assert_eq!(find(text), [""; 0], "{text}");
        }
    }
}

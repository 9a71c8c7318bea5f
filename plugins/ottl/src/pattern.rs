//! Patterns. Most that people write are a piece of text, with or without `^` and `$`; those are
//! compared as text.

use regex_lite::Regex;
use sluice_sdk::pattern::{Flavor, from_go};

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    /// `text`
    Contains(String),
    /// `^text`
    StartsWith(String),
    /// `text$`
    EndsWith(String),
    /// `^text$`
    Is(String),
    Regex(Regex),
}

impl Pattern {
    /// Compiles a pattern in Go's syntax.
    pub(super) fn new(source: &str) -> Result<Self, regex_lite::Error> {
        let whole = match (source.strip_prefix('^'), source.strip_suffix('$')) {
            (Some(start), Some(_)) => start.strip_suffix('$').and_then(plain).map(Self::Is),
            (Some(start), None) => plain(start).map(Self::StartsWith),
            (None, Some(end)) => plain(end).map(Self::EndsWith),
            (None, None) => plain(source).map(Self::Contains),
        };
        whole.map_or_else(|| Regex::new(&from_go(source, Flavor::Lite)).map(Self::Regex), Ok)
    }

    /// Whether it matches anywhere in a text; bytes that are no UTF-8 match nothing.
    #[inline]
    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        match self {
            Self::Contains(part) => {
                part.is_empty() || str::from_utf8(text).is_ok_and(|text| text.contains(part.as_str()))
            }
            Self::StartsWith(start) => text.starts_with(start.as_bytes()),
            Self::EndsWith(end) => text.ends_with(end.as_bytes()),
            Self::Is(whole) => text == whole.as_bytes(),
            Self::Regex(regex) => str::from_utf8(text).is_ok_and(|text| regex.is_match(text)),
        }
    }
}

/// The text that a pattern without operators means.
fn plain(pattern: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next().filter(char::is_ascii_punctuation)?),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => return None,
            c => text.push(c),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn plain_text_is_compared_and_the_rest_is_matched() {
        let cases: [(&str, &[&str], &[&str]); 10] = [
            ("/health", &["/health", "x/healthz"], &["/heal"]),
            ("^/health", &["/healthz"], &["x/health"]),
            (r"\.css$", &["a.css"], &["a.css?", "acss"]),
            ("^GET$", &["GET"], &["GET ", "get"]),
            ("", &["", "a"], &[]),
            (r"a\$", &["a$"], &["a"]),
            ("a.c", &["xabcx"], &["ac"]),
            ("^(GET|HEAD) /", &["HEAD /x"], &["POST /"]),
            (r"(?i)^\w+-\d{2}$", &["Ab-12"], &["é-12", "ab-1٣"]),
            ("[^a]$", &["b", "é"], &["a", ""]),
        ];
        for (source, matching, other) in cases {
            let pattern = Pattern::new(source).unwrap();
            for text in matching {
                assert!(pattern.is_match(text.as_bytes()), "{source} matches {text}");
            }
            for text in other {
                assert!(!pattern.is_match(text.as_bytes()), "{source} does not match {text}");
            }
        }
    }
}

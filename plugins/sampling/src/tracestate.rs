//! The W3C `tracestate` of a span, and OpenTelemetry's entry `ot` in it.
//!
//! What is not `ot=` is kept as it is, and so are sub-keys of `ot` that are not `rv` and `th`.

use crate::threshold::{HEX_DIGITS, Threshold, hex};

/// Of the whole header, of its members, and of the value of `ot`, by their specifications.
const MAX_BYTES: usize = 1024;
const MAX_MEMBERS: usize = 32;
const MAX_OT_BYTES: usize = 256;
const MAX_KEY_BYTES: usize = 256;

/// It cannot be read: not a `tracestate`, or an `rv` or `th` that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Invalid;

/// A `tracestate`, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TraceState<'a> {
    /// Explicit randomness, and its digits as they arrived.
    rv: Option<(u64, &'a str)>,
    /// The threshold, and its digits as they arrived; none for one that was set here.
    th: Option<(Threshold, Option<&'a str>)>,
    /// Randomness that is added.
    new_rv: Option<u64>,
    /// Other sub-keys of `ot`, `key:value`.
    extra: Vec<&'a str>,
    /// Other members, `key=value`.
    others: Vec<&'a str>,
}

impl<'a> TraceState<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Invalid> {
        let mut state = Self::default();
        if text.is_empty() {
            return Ok(state);
        }
        if text.len() > MAX_BYTES || text.split(',').count() > MAX_MEMBERS {
            return Err(Invalid);
        }
        for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty())
        {
            let (key, value) = member.split_once('=').ok_or(Invalid)?;
            if !is_key(key) || !is_value(value) {
                return Err(Invalid);
            }
            if key == "ot" {
                state.read_ot(value)?;
            } else {
                state.others.push(member);
            }
        }
        Ok(state)
    }

    fn read_ot(&mut self, value: &'a str) -> Result<(), Invalid> {
        if value.len() > MAX_OT_BYTES {
            return Err(Invalid);
        }
        // Of two `ot` members the last one counts.
        (self.rv, self.th) = (None, None);
        self.extra.clear();
        for member in value.split(';') {
            let (key, value) = member.split_once(':').ok_or(Invalid)?;
            let mut letters = key.bytes();
            let is_key = letters.next().is_some_and(|byte| byte.is_ascii_lowercase())
                && letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            if !is_key || !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
                return Err(Invalid);
            }
            match key {
                "rv" => self.rv = Some((randomness(value).ok_or(Invalid)?, value)),
                "th" => self.th = Some((Threshold::parse(value).ok_or(Invalid)?, Some(value))),
                _ => self.extra.push(member),
            }
        }
        Ok(())
    }

    pub(crate) fn randomness(&self) -> Option<u64> {
        self.rv.map(|(value, _)| value)
    }

    pub(crate) fn threshold(&self) -> Option<Threshold> {
        self.th.map(|(threshold, _)| threshold)
    }

    pub(crate) fn clear_threshold(&mut self) {
        self.th = None;
    }

    /// Adds randomness that did not come from the trace id's own bits.
    pub(crate) fn set_randomness(&mut self, randomness: u64) {
        self.new_rv = Some(randomness);
    }

    /// Raises the threshold. A lower one would claim a probability higher than what the span has
    /// already been sampled with, and is ignored.
    pub(crate) fn raise_threshold(&mut self, threshold: Threshold) {
        if self.th.is_none_or(|(present, _)| present <= threshold) {
            self.th = Some((threshold, None));
        }
    }

    /// Writes it: `ot` first, as the member that changed last.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let from = out.len();
        if let Some(randomness) = self.new_rv {
            part(out, from, "rv:", &hex(randomness));
        } else if let Some((_, digits)) = self.rv {
            part(out, from, "rv:", digits.as_bytes());
        }
        match self.th {
            Some((_, Some(digits))) => part(out, from, "th:", digits.as_bytes()),
            Some((threshold, None)) => {
                part(out, from, "th:", b"");
                threshold.write(out);
            }
            None => {}
        }
        for member in &self.extra {
            part(out, from, member, b"");
        }
        for member in &self.others {
            if out.len() > from {
                out.push(b',');
            }
            out.extend_from_slice(member.as_bytes());
        }
    }
}

/// Adds a sub-key of `ot`, opening the member with the first.
fn part(out: &mut Vec<u8>, from: usize, key: &str, value: &[u8]) {
    out.extend_from_slice(if out.len() == from { b"ot=" } else { b";" });
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(value);
}

/// 14 hex digits.
fn randomness(digits: &str) -> Option<u64> {
    let hex = digits.len() == HEX_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

fn is_key(key: &str) -> bool {
    let inner = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(&byte))
    };
    let letter = |part: &str| part.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let valid = match key.split_once('@') {
        Some((tenant, system)) => !tenant.is_empty() && inner(tenant) && letter(system) && inner(system),
        None => letter(key) && inner(key),
    };
    valid && key.len() <= MAX_KEY_BYTES
}

fn is_value(value: &str) -> bool {
    let printable = |byte: u8| (0x20..=0x7e).contains(&byte) && byte != b',' && byte != b'=';
    !value.is_empty() && value.len() <= MAX_OT_BYTES && value.bytes().all(printable) && !value.ends_with(' ')
}

/// How many spans a span with this `tracestate` stands for: one over the probability that it says it was kept with.
/// One that says nothing, or cannot be read, stands for itself.
pub fn adjusted_count(text: &str) -> f64 {
    if text.is_empty() {
        return 1.0;
    }
    let threshold = TraceState::parse(text).ok().and_then(|state| state.threshold());
    threshold.map_or(1.0, |threshold| 1.0 / threshold.probability())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rewritten<'a>(text: &'a str, change: impl FnOnce(&mut TraceState<'a>)) -> String {
        let mut state = TraceState::parse(text).unwrap();
        change(&mut state);
        let mut out = Vec::new();
        state.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn other_vendors_and_unknown_sub_keys_stay() {
        let text = "rojo=00f067aa0ba902b7, ot=xx:1;th:8;rv:90000000000000;yy:a.b-c ,congo=t61rcWkgMzE";
        let threshold = Threshold::parse("c").unwrap();
        let expected = "ot=rv:90000000000000;th:c;xx:1;yy:a.b-c,rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
        assert_eq!(rewritten(text, |state| state.raise_threshold(threshold)), expected);
    }

    #[test]
    fn a_threshold_is_never_lowered() {
        assert_eq!(rewritten("ot=th:c", |state| state.raise_threshold(Threshold::parse("8").unwrap())), "ot=th:c");
        assert_eq!(rewritten("a=b", |state| state.raise_threshold(Threshold::ALWAYS)), "ot=th:0,a=b");
    }

    #[test]
    fn nothing_is_left_of_an_entry_without_values() {
        assert_eq!(rewritten("ot=th:8,a=b", TraceState::clear_threshold), "a=b");
        assert_eq!(rewritten("ot=th:8", TraceState::clear_threshold), "");
    }

    #[test]
    fn what_is_no_tracestate_is_refused() {
        let long = format!("a={}", "x".repeat(2000));
        let many = vec!["a=b"; 33].join(",");
        let bad = [
            "ot=rv:abababababababab",
            "ot=th:abababababababab",
            "ot=th:-1",
            "ot=th:",
            "ot=rv:8",
            "ot=",
            "ot=th",
            "ot=TH:8",
            "Upper=1",
            "a",
            "=b",
            "a=",
            "a=b=c",
            "a=\u{e9}",
            "a@=b",
            "@b=c",
            &long,
            &many,
        ];
        for text in bad {
            assert_eq!(TraceState::parse(text), Err(Invalid), "{text}");
        }
        for good in ["", "a=b", "0a@b=c", " a=b , ,c=d ", "ot=th:0"] {
            assert!(TraceState::parse(good).is_ok(), "{good}");
        }
    }

    /// OTEP 235: the adjusted count is 2^56 over what the threshold leaves of it.
    #[test]
    #[allow(clippy::float_cmp, reason = "powers of two are exact")]
    fn a_span_stands_for_as_many_as_its_threshold_says() {
        let cases =
            [("", 1.0), ("ot=th:0", 1.0), ("ot=th:8", 2.0), ("a=b,ot=rv:ffffffffffffff;th:c", 4.0), ("ot=th:f8", 32.0)];
        for (state, count) in cases {
            assert_eq!(adjusted_count(state), count, "{state}");
        }
        for state in ["a=b", "ot=rv:ffffffffffffff", "ot=th:x", "ot=th:123456789012345", "no member"] {
            assert_eq!(adjusted_count(state), 1.0, "{state}");
        }
    }
}

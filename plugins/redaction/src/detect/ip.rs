//! Addresses of machines: IPv4 in dotted decimal, IPv6 as RFC 4291 §2.2 writes it.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::len;

/// Where an IPv4 address could be: at a dot between two digits.
pub(super) fn v4_candidates(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    memchr::memchr_iter(b'.', bytes).filter(move |at| digit(at.checked_sub(1)) && digit(Some(at + 1)))
}

/// Where an IPv6 address could be: at a colon beside which nothing else stands than is in one.
pub(super) fn v6_candidates(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let fits = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at)).is_some_and(|byte| byte.is_ascii_hexdigit() || *byte == b':')
    };
    let begins = |at: usize| at == 0 || !bytes.get(at - 1).is_some_and(u8::is_ascii_alphanumeric);
    memchr::memchr_iter(b':', bytes).filter(move |at| fits(Some(at + 1)) && (begins(*at) || fits(at.checked_sub(1))))
}

/// Adds IPv4 addresses: four numbers up to 255 without leading zeros. Versions look the same; what
/// follows a `v`, the word `version` or the name of a product (`Chrome/120.0.0.0`) is none, and
/// neither are four single digits unless a port or a mask follows or a `//` stands before.
pub(super) fn v4(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    let in_run = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let mut least = 0;
    for at in v4_candidates(bytes) {
        if at < least {
            continue;
        }
        let before = bytes.get(least..at).unwrap_or_default();
        let mut from = at - before.iter().rev().take_while(|byte| in_run(**byte)).count();
        let mut to = at + len(bytes, at, in_run);
        least = to;
        // An ellipsis before it, a full stop behind it.
        from += len(bytes, from, |byte| byte == b'.');
        while to > from && bytes.get(to - 1) == Some(&b'.') {
            to -= 1;
        }
        let run = bytes.get(from..to).unwrap_or_default();
        if is_v4(run) && !is_version(bytes, from, to, run.len() == "1.2.3.4".len()) {
            found.push(from..to);
        }
    }
}

fn is_v4(run: &[u8]) -> bool {
    let octet = |part: &[u8]| match part {
        [_] => true,
        [b'0', ..] => false,
        _ => part.len() <= 3 && part.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')) <= 255,
    };
    // Where servers listen, it is every address and so none.
    run != b"0.0.0.0"
        && run.split(|byte| *byte == b'.').count() == 4
        && run.split(|byte| *byte == b'.').all(|part| !part.is_empty() && octet(part))
}

/// Whether what stands around four numbers makes them something else than an address.
fn is_version(bytes: &[u8], from: usize, to: usize, single_digits: bool) -> bool {
    let before = bytes.get(..from).unwrap_or_default();
    let after = bytes.get(to..).unwrap_or_default();
    let has_port = matches!(after, [b':', digit, ..] if digit.is_ascii_digit());
    let has_mask = matches!(after, [b'/', digit, ..] if digit.is_ascii_digit());
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if before.last().is_some_and(in_word) || after.first().is_some_and(in_word) {
        // `ip-10-0-0-1.4`, `v10.0.0.1`, `10.0.0.1a`; but Kubernetes and nginx write `x_10.0.0.1`.
        return !before.ends_with(b"_") || after.first().is_some_and(in_word);
    }
    if let [.., product, b'/'] = before
        && product.is_ascii_alphanumeric()
    {
        return !has_port;
    }
    let word: Vec<u8> = before
        .iter()
        .rev()
        .skip_while(|byte| b" =:\"'/".contains(byte))
        .take_while(|byte| byte.is_ascii_alphabetic())
        .take("version".len() + 1)
        .map(u8::to_ascii_lowercase)
        .collect();
    if word.starts_with(b"noisrev") || word == b"rev" {
        return true;
    }
    single_digits && !(has_port || has_mask || before.ends_with(b"//"))
}

/// Adds IPv6 addresses. What could be a path in a program stays, such as `a::b`: there must be a digit,
/// and three groups or four digits in one, or it is `::1`.
pub(super) fn v6(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    let in_run = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
    let mut least = 0;
    for at in v6_candidates(bytes) {
        if at < least {
            continue;
        }
        let before = bytes.get(least..at).unwrap_or_default();
        let from = at - before.iter().rev().take_while(|byte| in_run(**byte)).count();
        let mut to = at + len(bytes, at, in_run);
        least = to;
        let after = bytes.get(to).copied();
        let mut run = bytes.get(from..to).unwrap_or_default();
        // A full stop, or the colon of `fe80::1: unreachable`.
        while run.ends_with(b".") || (run.ends_with(b":") && !run.ends_with(b"::")) {
            to -= 1;
            run = bytes.get(from..to).unwrap_or_default();
        }
        let in_word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let before = from.checked_sub(1).and_then(|at| bytes.get(at)).copied();
        let (starts_in_word, ends_in_word) = (in_word(before), to == least && in_word(after));
        if !starts_in_word && !ends_in_word && is_v6(run) {
            found.push(from..to);
        }
    }
}

fn is_v6(run: &[u8]) -> bool {
    let Some(address) = str::from_utf8(run).ok().and_then(|run| run.parse::<Ipv6Addr>().ok()) else { return false };
    let groups = run.split(|byte| *byte == b':').filter(|group| !group.is_empty());
    let longest = groups.clone().map(<[u8]>::len).max().unwrap_or_default();
    let is_path = !run.iter().any(u8::is_ascii_digit) || (groups.count() <= 2 && longest < 4);
    address.is_loopback() || !is_path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::found_in as find;

    #[test]
    fn ipv4_addresses_are_found() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("from 198.51.100.23.", "198.51.100.23"),
            ("http://203.0.113.9:8080/x", "203.0.113.9"),
            ("host/203.0.113.9:8080", "203.0.113.9"),
            ("[10.0.0.1]", "10.0.0.1"),
            ("ip=172.16.254.1&x", "172.16.254.1"),
            ("http://8.8.8.8/", "8.8.8.8"),
            ("upstream_10.1.2.13", "10.1.2.13"),
        ] {
            assert_eq!(find(v4, text), [address], "{text}");
        }
        assert_eq!(find(v4, "10.0.0.11,10.0.0.12 ...10.0.0.13..."), ["10.0.0.11", "10.0.0.12", "10.0.0.13"]);
    }

    #[test]
    fn versions_and_numbers_are_no_ipv4_addresses() {
        for text in [
            "1.2.3.4",
            "v10.20.30.40",
            "version 10.20.30.40",
            "Version=10.20.30.40",
            "Chrome/120.0.0.0 Safari",
            "256.1.1.10",
            "10.0.0",
            "0.0.0.0:4317",
            "10.0.0.1.2",
            "010.0.0.10",
            "10.0.0.10a",
            "10..0.0.1",
            "1.5 2.5",
        ] {
            assert_eq!(find(v4, text), [""; 0], "{text}");
        }
    }

    /// The examples of RFC 4291 §2.2 and of the documentation prefix (RFC 3849).
    #[test]
    fn ipv6_addresses_are_found() {
        for (text, address) in [
            ("ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "ABCD:EF01:2345:6789:ABCD:EF01:2345:6789"),
            ("from 2001:DB8::8:800:200C:417A, x", "2001:DB8::8:800:200C:417A"),
            ("http://[2001:db8::1]:443/", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("ff01::101: unreachable", "ff01::101"),
            ("::ffff:129.144.52.38", "::ffff:129.144.52.38"),
            ("2001:db8::/32", "2001:db8::"),
            ("[::1]:443", "::1"),
        ] {
            assert_eq!(find(v6, text), [address], "{text}");
        }
    }

    #[test]
    fn what_else_has_colons_is_no_ipv6_address() {
        for text in [
            "::",
            "x::1",
            "a::b",
            "std::fs::read",
            "abc::def2x",
            "10:11:12",
            "00:1a:2b:3c:4d:5e",
            "http://host:8080",
            "12345::1",
            "{\"a\":1,\"b\":2}",
        ] {
            assert_eq!(find(v6, text), [""; 0], "{text}");
        }
    }
}

//! Secrets in query strings: the values of parameters whose names say that they are secret.

use std::ops::Range;

use super::len;

/// Names, in any case and with `-` and `_` left out. The first four are those that OpenTelemetry's
/// conventions for `url.full` name.
const NAMES: &[&str] = &[
    "awsaccesskeyid",
    "signature",
    "sig",
    "xgoogsignature",
    "xamzsignature",
    "xamzcredential",
    "xamzsecuritytoken",
    "xgoogcredential",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "authtoken",
    "csrftoken",
    "sessiontoken",
    "privatetoken",
    "token",
    "apikey",
    "xapikey",
    "appkey",
    "accesskey",
    "secretkey",
    "subscriptionkey",
    "key",
    "secret",
    "clientsecret",
    "appsecret",
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "auth",
    "authorization",
    "authkey",
    "bearer",
    "jwt",
    "assertion",
    "clientassertion",
    "samlresponse",
    "code",
    "codeverifier",
    "otp",
    "pin",
    "session",
    "sessionid",
    "sid",
    "jsessionid",
    "phpsessid",
    "credential",
    "credentials",
];

/// Where a secret could be: at the `=` behind what ends like a name. What stands before may be the end
/// of another text.
pub(super) fn candidates(bytes: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memchr_iter(b'=', bytes).filter(|at| {
        let before = bytes.get(..*at).unwrap_or_default();
        let is_plain = |byte: &&u8| byte.is_ascii_alphanumeric();
        let plain = before.iter().rev().filter(|byte| !matches!(byte, b'_' | b'-' | b'.')).take_while(is_plain);
        // No name ends otherwise, so most end here.
        before.last().is_some_and(|last| LAST.contains(&last.to_ascii_lowercase()))
            && NAMES
                .iter()
                .any(|name| plain.clone().take(name.len()).map(u8::to_ascii_lowercase).eq(name.bytes().rev()))
    })
}

/// Adds the values of secret parameters: behind `?`, `&`, `;` or `#`, or at the beginning of a text,
/// as in `url.query`.
pub(super) fn find(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    let mut least = 0;
    for at in candidates(bytes) {
        let value = at + 1;
        let ends = |byte: u8| byte.is_ascii_whitespace() || byte < b' ' || b"&;#\"'<>\\,)]}`".contains(&byte);
        // What is within a value is no parameter, and need not be measured again.
        if value < least || !is_secret(bytes, at) {
            continue;
        }
        least = value + len(bytes, value, |byte| !ends(byte));
        if least > value {
            found.push(value..least);
        }
    }
}

/// Whether all of the name before a `=` is that of a secret, and a parameter's.
fn is_secret(bytes: &[u8], at: usize) -> bool {
    let before = bytes.get(..at).unwrap_or_default();
    let in_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let from = at - before.iter().rev().take_while(in_name).count();
    let name = before.get(from..).unwrap_or_default();
    let plain = name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase);
    let begins = from.checked_sub(1).and_then(|before| bytes.get(before)).is_none_or(|before| b"?&;#".contains(before));
    begins && NAMES.iter().any(|name| name.bytes().eq(plain.clone()))
}

/// The last letters of the names.
const LAST: &[u8] = b"deghlnprsty";

#[cfg(test)]
mod tests {
    fn find(text: &str) -> Vec<&str> {
        crate::detect::found_in(super::find, text)
    }

    #[test]
    fn values_of_secret_parameters_are_found() {
        assert_eq!(find("https://h/p?a=1&access_token=s3cr3t&b=2"), ["s3cr3t"]);
        assert_eq!(find("https://h/p?X-Amz-Signature=ab%2Fcd#frag"), ["ab%2Fcd"]);
        assert_eq!(find("password=p;sid=q"), ["p", "q"], "url.query has no question mark");
        assert_eq!(find("GET /cb?code=abc&state=x HTTP/1.1"), ["abc"]);
        assert_eq!(find("/#id_token=eyJ.a.b&x"), ["eyJ.a.b"]);
        assert_eq!(find("{\"u\":\"/x?apikey=k1\"}"), ["k1"]);
    }

    #[test]
    fn other_parameters_are_left_alone() {
        for text in [
            "?monkey=1&tokens=2&q=token=",
            "/x?code=",
            "where token=1",
            "a?x-token-count=1",
            "SELECT * FROM t WHERE pass = 1",
        ] {
            assert_eq!(find(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn every_name_ends_with_a_letter_that_is_looked_at() {
        for name in super::NAMES {
            assert_eq!(find(&format!("?{name}=x")), ["x"], "{name}");
        }
    }
}

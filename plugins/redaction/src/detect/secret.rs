//! Credentials: bearer tokens, JSON Web Tokens, and user and password in URLs.

use std::ops::Range;

use super::len;

/// What every bearer token has before it, in any case; a space follows, or what it is in a URL.
const BEARER: &[u8] = b"bearer";
const SPACES: [&[u8]; 3] = [b" ", b"%20", b"+"];
/// `{"` in base64: how the header and the payload of a JWT begin.
const JWT: &[u8] = b"eyJ";
const AUTHORITY: &[u8] = b"://";

/// Where a bearer token could be: found by the first letter, checked by the word.
pub(super) fn bearer_candidates(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let is_bearer =
        |at: &usize| bytes.get(*at..at + BEARER.len()).is_some_and(|word| word.eq_ignore_ascii_case(BEARER));
    memchr::memchr2_iter(b'B', b'b', bytes).filter(is_bearer)
}

/// Where a JWT could be: found by its third letter, which is much rarer than the others.
pub(super) fn jwt_candidates(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let first = memchr::memchr_iter(b'J', bytes).filter_map(|at| at.checked_sub(JWT.len() - 1));
    first.filter(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(JWT)))
}

/// Adds what follows `Bearer ` (RFC 6750: `b64token`).
pub(super) fn bearer(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    for at in bearer_candidates(bytes) {
        let word = at + BEARER.len();
        let space = SPACES.iter().find(|space| bytes.get(word..).is_some_and(|rest| rest.starts_with(space)));
        let Some(space) = space else { continue };
        let from = word + space.len();
        let to = from + len(bytes, from, |byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
        if to > from {
            found.push(from..to);
        }
    }
}

/// Adds three parts in base64url with dots between them, of which the first two are JSON objects; or
/// five, of which the first is one: those of an encrypted token (RFC 7516).
pub(super) fn jwt(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    let part = |from: usize| from + len(bytes, from, |byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let dot = |at: usize| bytes.get(at) == Some(&b'.');
    let (mut least, mut judged) = (0, 0);
    for from in jwt_candidates(bytes) {
        // What begins within the same part ends with it; once is enough.
        if from < judged {
            continue;
        }
        let header = part(from);
        judged = header;
        if from < least || !dot(header) {
            continue;
        }
        let second = part(header + 1);
        let third = if dot(second) { part(second + 1) } else { continue };
        let is_object = bytes.get(header + 1..second).is_some_and(|payload| payload.starts_with(JWT));
        let fourth = if dot(third) { part(third + 1) } else { third };
        let fifth = if dot(fourth) { part(fourth + 1) } else { fourth };
        if !is_object && fifth > fourth + 1 && fourth > third + 1 {
            least = fifth;
        } else if is_object {
            least = third;
        } else {
            continue;
        }
        found.push(from..least);
    }
}

/// Adds the user information before the `@` of a URL (RFC 3986 §3.2.1).
pub(super) fn url_credentials(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    for at in memchr::memmem::find_iter(bytes, AUTHORITY) {
        let from = at + AUTHORITY.len();
        let ends = |byte: u8| byte.is_ascii_whitespace() || b"/?#\"'<>\\".contains(&byte);
        let authority = bytes.get(from..from + len(bytes, from, |byte| !ends(byte))).unwrap_or_default();
        if let Some(user) = memchr::memrchr(b'@', authority).filter(|user| *user > 0) {
            found.push(from..from + user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::found_in as find;

    #[test]
    fn bearer_tokens_are_found() {
        assert_eq!(find(bearer, "Authorization: Bearer mF_9.B5f-4.1JqM"), ["mF_9.B5f-4.1JqM"], "RFC 6750's example");
        assert_eq!(find(bearer, "bearer abc, BEARER def=="), ["abc", "def=="]);
        assert_eq!(find(bearer, "the bearer of news wearer x Bearer "), ["of"]);
    }

    /// The example of RFC 7519 §3.1.
    #[test]
    fn json_web_tokens_are_found() {
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(find(jwt, &format!("token={token}; x")), [token]);
        assert_eq!(find(jwt, "eyJ.eyJ eyJhbGciOiJIUzI1NiJ9.x.y"), [""; 0]);
    }

    #[test]
    fn users_and_passwords_of_urls_are_found() {
        assert_eq!(find(url_credentials, "postgres://app:s3cret@db:5432/x?y=a@b"), ["app:s3cret"]);
        assert_eq!(find(url_credentials, "see https://u@h and \"amqp://g:p@ss@mq\""), ["u", "g:p@ss"]);
        assert_eq!(find(url_credentials, "https://host/path@x http://@host http://host:80"), [""; 0]);
    }
}

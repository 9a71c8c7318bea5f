//! URLs without what makes each of them different: the query, and the segments of the path that look
//! like ids.

/// Segments that are kept, as in the Collector.
const MAX_SEGMENTS: usize = 10;
/// Letters without a vowel that are no word.
const NO_WORD: usize = 6;

/// `/users/123?x=1` as `/users/*`. A method or a scheme with a host before the path stays.
pub fn sanitized(url: &[u8]) -> Vec<u8> {
    let (mut out, path) = split(url);
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'&' | b'#')).unwrap_or(path.len());
    let path = path.get(..end).unwrap_or_default();
    for (i, segment) in path.split(|byte| *byte == b'/').take(MAX_SEGMENTS).enumerate() {
        if i > 0 {
            out.push(b'/');
        }
        if is_word(segment) {
            out.extend_from_slice(segment);
        } else {
            out.push(b'*');
        }
    }
    out
}

/// What is before the path: the scheme and the host, without a user.
fn split(url: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(scheme) = memchr::memmem::find(url, b"://") else { return (Vec::new(), url) };
    let host = scheme + 3;
    let rest = url.get(host..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, &[]));
    let user = memchr::memrchr(b'@', authority).map_or(0, |at| at + 1);
    ([url.get(..host).unwrap_or_default(), authority.get(user..).unwrap_or_default()].concat(), path)
}

/// Whether a segment is kept: letters, dashes, underscores, dots and spaces, and at its second place
/// anything (`v1`).
fn is_word(segment: &[u8]) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_' | b'.' | b' ');
    let is_vowel = |byte: &u8| b"aeiouyAEIOUY".contains(byte);
    let letters = segment.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    segment.iter().enumerate().all(|(i, byte)| fits(*byte) || i == 1)
        && (letters < NO_WORD || segment.iter().any(is_vowel))
}

/// Whether nothing but ids was in it.
pub fn is_only_ids(sanitized: &[u8]) -> bool {
    sanitized.contains(&b'*') && sanitized.iter().all(|byte| matches!(byte, b'*' | b'/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    /// What the Collector's classifier makes of the same URLs by its tests.
    #[test]
    fn ids_and_queries_go() {
        for (url, expected) in [
            ("/api/users/123e4567-e89b-12d3-a456-426614174000", "/api/users/*"),
            ("/api/users/123/posts/456", "/api/users/*/posts/*"),
            ("/api/users?id=123&name=john", "/api/users"),
            ("", ""),
            ("/users/fdklsd/j4elk/23993/job/2", "/users/*/j4elk/*/job/*"),
            ("123/ljgdflgjf", "*/*"),
            ("/v1/products/22j", "/v1/products/*"),
            ("/products//org/3", "/products//org/*"),
            ("/api.backup/hello.world", "/api.backup/hello.world"),
            ("GET /user_space/", "GET /user_space/"),
            ("HTTP GET", "HTTP GET"),
            ("/attach#section-1", "/attach"),
            ("attach12?", "*"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/i"),
        ] {
            assert_eq!(String::from_utf8(super::sanitized(url.as_bytes())).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn the_host_of_a_url_stays_and_the_user_goes() {
        let sanitized = super::sanitized(b"https://ada:x@shop.example:8443/orders/17?a=b");
        assert_eq!(sanitized, b"https://shop.example:8443/orders/*");
    }
}

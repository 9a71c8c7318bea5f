//! The parts of a URL.

use sluice_sdk::prelude::*;

use crate::insert::{self, FirstString, Value, insert};

/// The block `url`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Url {}

/// Where a URL may be: as it is called now, and as it was.
const SOURCES: [&str; 2] = ["url.full", "http.url"];

const PARTS: [&str; 5] = ["url.scheme", "url.domain", "url.port", "url.path", "url.query"];

/// The most digits of a port.
const PORT_DIGITS: usize = 5;

/// A URL in parts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Parts<'u> {
    scheme: &'u str,
    domain: &'u str,
    port: Option<u16>,
    path: &'u str,
    query: Option<&'u str>,
}

/// Adds what must be granted.
pub fn access(access: Access) -> Access {
    insert::access(access, &SOURCES, &PARTS)
}

/// Takes URLs apart.
///
/// # Errors
/// When the host refuses.
pub fn apply(batch: &Batch<'_>) -> Result<(), Failure> {
    let urls = FirstString::pull(batch, &SOURCES)?;
    let parts: Vec<Option<Parts<'_>>> = urls.rows().map(|url| split(url?)).collect();
    for (place, key) in PARTS.into_iter().enumerate() {
        let value = |row: usize| (*parts.get(row)?)?.part(place);
        insert(batch, Table::Spans, key, parts.len(), value)?;
    }
    Ok(())
}

impl<'u> Parts<'u> {
    /// The value of an attribute of [`PARTS`].
    fn part(self, place: usize) -> Option<Value<'u>> {
        match place {
            0 => Some(Value::Text(self.scheme)),
            1 => Some(Value::Text(self.domain)),
            2 => self.port.map(|port| Value::Int(port.into())),
            3 => Some(Value::Text(self.path)),
            _ => self.query.map(Value::Text),
        }
    }
}

/// Takes apart a URL of the form `scheme://user@host:port/path?query#fragment` (RFC 3986); none of another form.
fn split(url: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(letters) {
        return None;
    }
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // Who calls is nobody's business here.
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (domain, port) = match host.rfind(':') {
        // The last colon of `[::1]` is in its brackets.
        Some(colon) if !host.get(colon..)?.contains(']') => host.split_at(colon),
        _ => (host, ""),
    };
    let port = port.strip_prefix(':').filter(|port| !port.is_empty());
    let port = match port {
        Some(port) if port.len() > PORT_DIGITS || !port.bytes().all(|byte| byte.is_ascii_digit()) => return None,
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    (!domain.is_empty()).then_some(Parts { scheme, domain, port, path, query })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first are examples of RFC 3986 and of OpenTelemetry's conventions.
    #[test]
    fn urls_are_taken_apart() {
        let parts = |scheme, domain, port, path, query| Some(Parts { scheme, domain, port, path, query });
        let cases = [
            (
                "https://www.foo.bar/search?q=OpenTelemetry#SemConv",
                parts("https", "www.foo.bar", None, "/search", Some("q=OpenTelemetry")),
            ),
            (
                "foo://example.com:8042/over/there?name=ferret#nose",
                parts("foo", "example.com", Some(8042), "/over/there", Some("name=ferret")),
            ),
            (
                "ldap://[2001:db8::7]/c=GB?objectClass?one",
                parts("ldap", "[2001:db8::7]", None, "/c=GB", Some("objectClass?one")),
            ),
            ("http://[::1]:80/", parts("http", "[::1]", Some(80), "/", None)),
            ("ftp://user:secret@ftp.is.co.za", parts("ftp", "ftp.is.co.za", None, "", None)),
            ("http://a:/x", parts("http", "a", None, "/x", None)),
            ("http://a?", parts("http", "a", None, "", Some(""))),
            ("/orders/1?x", None),
            ("mailto:John.Doe@example.com", None),
            ("http://", None),
            ("http://a:80a/", None),
            ("http://a:99999/", None),
            ("1a://b/", None),
            ("", None),
        ];
        for (url, expected) in cases {
            assert_eq!(split(url), expected, "{url}");
        }
    }
}

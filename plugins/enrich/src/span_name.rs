//! Span names with as few values as there are operations: ids in paths become `{id}`.

use std::borrow::Cow;

use sluice_sdk::fields::SPAN_NAME;
use sluice_sdk::prelude::*;

/// The block `span_name`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanName {}

/// What stands for an id.
const ID: &str = "{id}";

/// So many hexadecimal digits are no word.
const HEX_DIGITS: usize = 16;

/// So many letters and digits are no word, if some are digits: ULIDs, KSUIDs and the like.
const MIXED: usize = 20;
const MIXED_DIGITS: usize = 2;

/// Renames spans.
///
/// # Errors
/// When the host refuses.
pub fn apply(batch: &Batch<'_>) -> Result<(), Failure> {
    let names = batch.texts(Table::Spans, SPAN_NAME)?;
    let (mut rows, mut texts) = (Vec::new(), Texts::default());
    for row in 0..names.len() {
        if let Cow::Owned(name) = without_ids(names.str(row)) {
            rows.push(row as u32);
            texts.push(name.as_bytes());
        }
    }
    if !rows.is_empty() {
        batch.set_texts(Table::Spans, SPAN_NAME, &rows, texts)?;
    }
    Ok(())
}

/// A name with `{id}` for every segment of a path that is an id. A path is a word that begins with a slash, or a URL.
fn without_ids(name: &str) -> Cow<'_, str> {
    if !name.contains('/') {
        return Cow::Borrowed(name);
    }
    let mut new = String::with_capacity(name.len());
    for word in name.split_inclusive(' ') {
        let (path, rest) = word.split_at(word.find(['?', '#', ' ']).unwrap_or(word.len()));
        if path.starts_with('/') {
            replace(path, &mut new);
        } else if let Some((scheme, after)) = path.split_once("://") {
            // The host is no segment, whatever it looks like.
            let (host, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            new.extend([scheme, "://", host]);
            replace(path, &mut new);
        } else {
            new.push_str(path);
        }
        new.push_str(rest);
    }
    if new == name { Cow::Borrowed(name) } else { Cow::Owned(new) }
}

fn replace(path: &str, out: &mut String) {
    for (i, segment) in path.split('/').enumerate() {
        if i > 0 {
            out.push('/');
        }
        out.push_str(if is_id(segment) { ID } else { segment });
    }
}

/// Whether this is somebody's and no operation's: a number, a UUID, a long hexadecimal number, a long mix of letters
/// and digits, an e-mail address.
fn is_id(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let all = |is: fn(&u8) -> bool| segment.bytes().all(|byte| is(&byte));
    if segment.is_empty() || (digits == 0 && !segment.contains('@')) {
        return segment.len() == 36 && is_uuid(segment);
    }
    digits == segment.len()
        || is_uuid(segment)
        || (segment.len() >= HEX_DIGITS && all(u8::is_ascii_hexdigit))
        || (segment.len() >= MIXED && digits >= MIXED_DIGITS && all(u8::is_ascii_alphanumeric))
        || segment.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
}

fn is_uuid(text: &str) -> bool {
    let form = |(i, byte): (usize, u8)| match i {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_paths_are_replaced() {
        let cases = [
            ("GET /orders/123/items/7", "GET /orders/{id}/items/{id}"),
            ("/users/550e8400-e29b-41d4-a716-446655440000", "/users/{id}"),
            ("/users/aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee/x", "/users/{id}/x"),
            ("/docs/507f1f77bcf86cd799439011", "/docs/{id}"),
            ("/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/runs/{id}"),
            ("/mail/jane.doe@example.com/send", "/mail/{id}/send"),
            ("/orders/123?page=2", "/orders/{id}?page=2"),
            ("POST /a/1 HTTP/1.1", "POST /a/{id} HTTP/1.1"),
            ("http://10/orders/5", "http://10/orders/{id}"),
            ("GET https://shop.example:8080/5/", "GET https://shop.example:8080/{id}/"),
        ];
        for (name, expected) in cases {
            assert_eq!(without_ids(name), expected);
        }
    }

    #[test]
    fn names_without_ids_stay() {
        let names = [
            "GET /orders/{id}",
            "/api/v1/oauth2/token",
            "/shop.OrderService/PlaceOrder2",
            "SELECT shop.orders",
            "retry 3/5",
            "12",
            "/how-to-build-a-shelf-2024-edition",
            "/decade/facade/accede",
            "/@scope/package",
            "//",
            "",
            "GET",
            "/internationalization2",
        ];
        for name in names {
            assert!(matches!(without_ids(name), Cow::Borrowed(same) if same == name), "{name}");
        }
    }
}

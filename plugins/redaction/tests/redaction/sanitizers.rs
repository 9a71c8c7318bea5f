//! `url_sanitizer` and `db_sanitizer`.

use super::*;

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;

fn name(config: &str, kind: i32, name: &str, attributes: Vec<KeyValue>) -> String {
    span(config, Span { name: name.to_owned(), kind, attributes, ..Span::default() }).name
}

#[test]
fn url_sanitizer_takes_ids_and_queries_out_of_named_attributes() {
    let config = r#"{"allow_all_keys": true, "url_sanitizer": {"enabled": true, "attributes": ["http.url"]}}"#;
    let url = "https://shop.example/api/users/123/posts/456?token=x";
    let before = vec![text("http.url", url), text("other", url)];
    assert_eq!(
        attributes(config, before),
        [text("http.url", "https://shop.example/api/users/*/posts/*"), text("other", url)]
    );
    let disabled = config.replace("\"enabled\": true", "\"enabled\": false");
    assert_eq!(attributes(&disabled, vec![text("http.url", url)]), [text("http.url", url)]);
}

/// What the Collector's tests of its span names say.
#[test]
fn url_sanitizer_takes_ids_out_of_span_names() {
    let config = r#"{"allow_all_keys": true, "url_sanitizer": {"enabled": true}}"#;
    assert_eq!(name(config, CLIENT, "/payments/12345/detail", vec![]), "/payments/*/detail");
    assert_eq!(name(config, SERVER, "/payments/12345/detail", vec![]), "/payments/*/detail");
    assert_eq!(name(config, PRODUCER, "/payments/12345/detail", vec![]), "/payments/12345/detail");
    assert_eq!(name(config, CLIENT, "/123/456", vec![]), "/123/456", "nothing would be left");
    assert_eq!(name(config, CLIENT, "get order?id=1", vec![]), "get order?id=1");
    assert_eq!(name(config, CLIENT, "get order?id=1", vec![text("http.method", "GET")]), "get order");
    let off = r#"{"allow_all_keys": true, "url_sanitizer": {"enabled": true, "sanitize_span_name": false}}"#;
    assert_eq!(name(off, CLIENT, "/payments/12345/detail", vec![]), "/payments/12345/detail");
}

const DB: &str = r#"{"allow_all_keys": true, "db_sanitizer": {
    "sql": {"enabled": true, "attributes": ["db.statement"]},
    "redis": {"enabled": true, "attributes": ["db.statement"]},
    "mongo": {"enabled": true, "attributes": ["db.statement"]}}}"#;

#[test]
fn db_sanitizer_speaks_the_language_that_the_span_names() {
    for (system, before, after) in [
        ("postgresql", "SELECT * FROM t WHERE id = 17", "SELECT * FROM t WHERE id = ?"),
        ("MySQL", "SELECT \"x\"", "SELECT ?"),
        ("redis", "SET user secret", "SET ?"),
        ("mongodb", r#"{"find":"users"}"#, r#"{"find":"?"}"#),
        ("cassandra", "SELECT 17", "SELECT 17"),
        ("", "SELECT 17", "SELECT 17"),
    ] {
        for key in ["db.system", "db.system.name"] {
            let statement =
                attributes(DB, vec![text(key, system), text("db.statement", before), text("other", before)]);
            assert_eq!(statement[1..], [text("db.statement", after), text("other", before)], "{system}");
        }
    }
    let fallback = DB
        .replace("\"sql\"", "\"allow_fallback_without_system\": true, \"sql\"")
        .replace("\"mongo\": {\"enabled\": true", "\"mongo\": {\"enabled\": false")
        .replace("\"redis\": {\"enabled\": true", "\"redis\": {\"enabled\": false");
    assert_eq!(attributes(&fallback, vec![text("db.statement", "SELECT 17")]), [text("db.statement", "SELECT ?")]);
}

#[test]
fn db_sanitizer_takes_values_out_of_span_names() {
    let system = || vec![text("db.system", "postgresql")];
    assert_eq!(name(DB, CLIENT, "SELECT 17 FROM t", system()), "SELECT ? FROM t");
    assert_eq!(name(DB, PRODUCER, "SELECT 17 FROM t", system()), "SELECT 17 FROM t");
    assert_eq!(name(DB, CLIENT, "SELECT 17 FROM t", vec![]), "SELECT 17 FROM t");
    let off = DB.replace("\"sql\"", "\"sanitize_span_name\": false, \"sql\"");
    assert_eq!(name(&off, CLIENT, "SELECT 17 FROM t", system()), "SELECT 17 FROM t");
}

/// As in the Collector, blocked values are masked first, and an allowed value passes.
#[test]
fn sanitizers_come_after_blocked_values_and_leave_allowed_ones() {
    let config = r#"{"allow_all_keys": true, "blocked_values": ["secret"], "allowed_values": ["^/public"], "url_sanitizer": {"enabled": true, "attributes": ["url"]}}"#;
    assert_eq!(attributes(config, vec![text("url", "/a/secret/b/12")]), [text("url", "/a/*/b/*")]);
    assert_eq!(attributes(config, vec![text("url", "/public/12")]), [text("url", "/public/12")]);
}

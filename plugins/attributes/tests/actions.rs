//! Actions on real batches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use attributes::Attributes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use sluice_sdk::testing::{Problem, run};

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

fn request(spans: Vec<Vec<KeyValue>>) -> Vec<u8> {
    let span = |attributes| Span { trace_id: vec![1; 16], span_id: vec![2; 8], attributes, ..Span::default() };
    let spans = spans.into_iter().map(span).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// The attributes of each span after the actions.
fn after(actions: &str, spans: Vec<Vec<KeyValue>>) -> Vec<Vec<KeyValue>> {
    let outcome = run::<Attributes>(&format!(r#"{{"actions": [{actions}]}}"#), &request(spans)).expect("it acts");
    let request = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).map(|span| span.attributes).collect()
}

fn two() -> Vec<Vec<KeyValue>> {
    vec![vec![text("a", "old"), text("b", "B")], vec![text("b", "C")]]
}

#[test]
fn insert_adds_where_it_is_missing() {
    let expected = vec![vec![text("a", "old"), text("b", "B")], vec![text("b", "C"), text("a", "new")]];
    assert_eq!(after(r#"{"key": "a", "action": "insert", "value": "new"}"#, two()), expected);
}

#[test]
fn update_changes_where_it_is() {
    let expected = vec![vec![text("a", "new"), text("b", "B")], vec![text("b", "C")]];
    assert_eq!(after(r#"{"key": "a", "action": "update", "value": "new"}"#, two()), expected);
}

#[test]
fn upsert_sets_everywhere_and_delete_removes_everywhere() {
    let expected = vec![vec![text("a", "new")], vec![text("a", "new")]];
    let actions = r#"{"key": "a", "action": "upsert", "value": "new"}, {"key": "b", "action": "delete"}"#;
    assert_eq!(after(actions, two()), expected);
}

#[test]
fn values_come_from_other_attributes_if_these_are_there() {
    let expected = vec![vec![text("a", "old"), text("b", "B"), text("c", "old")], vec![text("b", "C")]];
    assert_eq!(after(r#"{"key": "c", "action": "upsert", "from_attribute": "a"}"#, two()), expected);
}

#[test]
fn constants_keep_their_types() {
    let cases = [("1", Value::IntValue(1)), ("1.5", Value::DoubleValue(1.5)), ("true", Value::BoolValue(true))];
    for (json, value) in cases {
        let actions = format!(r#"{{"key": "k", "action": "insert", "value": {json}}}"#);
        assert_eq!(after(&actions, vec![vec![]]), [vec![attribute("k", value)]]);
    }
}

/// The order of actions is that of the configuration, as in the Collector.
#[test]
fn later_actions_see_what_earlier_ones_did() {
    let value = |key: &str, action: &str, value: &str| {
        format!(r#"{{"key": "{key}", "action": "{action}", "value": "{value}"}}"#)
    };
    let from = |key: &str, action: &str, from: &str| {
        format!(r#"{{"key": "{key}", "action": "{action}", "from_attribute": "{from}"}}"#)
    };
    let delete = |key: &str| format!(r#"{{"key": "{key}", "action": "delete"}}"#);
    let cases = [
        (vec![delete("a"), value("a", "insert", "x")], vec![text("a", "x")]),
        (vec![value("n", "upsert", "1"), value("n", "insert", "2")], vec![text("a", "old"), text("n", "1")]),
        (vec![value("n", "insert", "1"), value("n", "update", "2")], vec![text("a", "old"), text("n", "2")]),
        (vec![value("a", "update", "x"), from("c", "insert", "a")], vec![text("a", "x"), text("c", "x")]),
        (vec![from("c", "insert", "a"), delete("a"), from("d", "insert", "a")], vec![text("c", "old")]),
        (
            vec![from("c", "insert", "a"), from("d", "insert", "c")],
            vec![text("a", "old"), text("c", "old"), text("d", "old")],
        ),
    ];
    for (actions, expected) in cases {
        let actions = actions.join(", ");
        let mut got = after(&actions, vec![vec![text("a", "old")]]).remove(0);
        got.sort_by(|left, right| left.key.cmp(&right.key));
        assert_eq!(got, expected, "{actions}");
    }
}

#[test]
fn a_key_that_occurs_twice_is_set_once_and_deleted_whole() {
    let twice = || vec![vec![text("a", "1"), text("a", "2")]];
    assert_eq!(after(r#"{"key": "a", "action": "upsert", "value": "x"}"#, twice()), [vec![text("a", "x")]]);
    assert_eq!(after(r#"{"key": "a", "action": "delete"}"#, twice()), [vec![]]);
}

#[test]
fn only_what_the_actions_need_is_asked_for() {
    let config = r#"{"actions": [{"key": "u", "action": "upsert", "value": 1}, {"key": "i", "action": "insert", "from_attribute": "f"}, {"key": "d", "action": "delete"}]}"#;
    let access = run::<Attributes>(config, b"").unwrap().access;
    assert_eq!(access.read, ["spans.attributes:f", "spans.attributes:i"]);
    assert_eq!(access.write, ["spans.attributes:u", "spans.attributes:i", "spans.attributes:d"]);
}

/// Hashes by `sha256sum`; of numbers of their 8 bytes in little endian.
#[test]
fn hash_puts_the_sha_256_in_the_value_s_place() {
    let cases = [
        (
            Value::StringValue("a@b.example".to_owned()),
            "ebb18a030bf15174f5714e24d63af1a81355c951ea7389bd2a9bd18e3d0c2477",
        ),
        (Value::IntValue(1), "7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8"),
        (Value::BoolValue(true), "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"),
        (Value::DoubleValue(0.0), "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc"),
        (Value::StringValue(String::new()), ""),
        (Value::BytesValue(vec![1]), ""),
    ];
    for (value, hash) in cases {
        let got = after(r#"{"key": "a", "action": "hash"}"#, vec![vec![attribute("a", value)], vec![text("b", "B")]]);
        assert_eq!(got, [vec![text("a", hash)], vec![text("b", "B")]]);
    }
}

/// What hides behind an occurrence without a value is hashed away, too.
#[test]
fn a_hash_leaves_no_other_occurrence() {
    let empty = KeyValue { key: "a".to_owned(), ..KeyValue::default() };
    let spans = vec![vec![empty, text("a", "secret")], vec![text("a", ""), text("a", "secret")]];
    for span in after(r#"{"key": "a", "action": "hash"}"#, spans) {
        assert_eq!(span, [text("a", "")]);
    }
}

#[test]
fn patterns_of_hash_and_delete_find_keys() {
    const HASH_OF_X: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let span = || vec![vec![text("user.id", "x"), text("user.name", "x"), text("x.user", "x"), text("id", "x")]];
    let kept = vec![text("x.user", "x"), text("id", "x")];
    assert_eq!(after(r#"{"pattern": "^user\\.", "action": "delete"}"#, span()), [kept]);
    // A key beside the pattern.
    assert_eq!(
        after(r#"{"key": "id", "pattern": "^user\\.", "action": "delete"}"#, span()),
        [vec![text("x.user", "x")]]
    );
    let hashed = vec![text("user.id", HASH_OF_X), text("user.name", HASH_OF_X), text("x.user", "x"), text("id", "x")];
    assert_eq!(after(r#"{"pattern": "^user\\.", "action": "hash"}"#, span()), [hashed]);
    // Keys that earlier actions have set or removed.
    let actions = r#"{"key": "user.id", "action": "delete"}, {"key": "user.new", "action": "upsert", "value": "x"}, {"pattern": "^user\\.", "action": "hash"}, {"pattern": "name$", "action": "delete"}, {"key": "user.name", "action": "insert", "value": "again"}"#;
    let mut got = after(actions, span()).remove(0);
    got.sort_by(|left, right| left.key.cmp(&right.key));
    assert_eq!(got, [text("id", "x"), text("user.name", "again"), text("user.new", HASH_OF_X), text("x.user", "x")]);
}

/// The example of the Collector's `testdata/config.yaml`, and what is special about groups.
#[test]
fn extract_sets_what_named_groups_find() {
    let pattern = "^(?P<http_protocol>.*):\\\\/\\\\/(?P<http_domain>.*)\\\\/(?P<http_path>.*)(\\\\?|\\\\&)(?P<http_query_params>.*)";
    let url = text("http.url", "http://example.com/path?queryParam1=value1");
    // The group without a name is refused, as in the Collector.
    let problem = run::<Attributes>(
        &format!(r#"{{"actions": [{{"key": "http.url", "action": "extract", "pattern": "{pattern}"}}]}}"#),
        b"",
    );
    assert!(matches!(problem, Err(Problem::Config(errors)) if errors[0].path == "actions[0].pattern"));
    let pattern = "^(?P<scheme>\\\\w+)://(?P<host>[^/:]+)(:(?P<port>\\\\d+))?/".replace("(:", "(?::");
    let action = format!(r#"{{"key": "http.url", "action": "extract", "pattern": "{pattern}"}}"#);
    let spans = vec![
        vec![url.clone(), text("scheme", "old")],
        vec![text("http.url", "not a url")],
        vec![attribute("http.url", Value::IntValue(1))],
    ];
    let got = after(&action, spans);
    assert_eq!(got[0], [url, text("scheme", "http"), text("host", "example.com"), text("port", "")]);
    assert_eq!(got[1], [text("http.url", "not a url")]);
    assert_eq!(got[2], [attribute("http.url", Value::IntValue(1))]);
}

/// Go's `ParseInt`, `ParseFloat` and `AsString` say what becomes of what.
#[test]
fn convert_gives_values_another_type() {
    let string = |text: &str| Value::StringValue(text.to_owned());
    let (int, double, bool) = (Value::IntValue, Value::DoubleValue, Value::BoolValue);
    let list = || Value::ArrayValue(opentelemetry_proto::tonic::common::v1::ArrayValue::default());
    let cases = [
        ("int", string("200"), int(200)),
        ("int", string("+7"), int(7)),
        ("int", string("2.5"), string("2.5")),
        ("int", string(" 2"), string(" 2")),
        ("int", string("9223372036854775808"), string("9223372036854775808")),
        ("int", double(-2.9), int(-2)),
        ("int", bool(true), int(1)),
        ("int", list(), list()),
        ("double", string("1e3"), double(1000.0)),
        ("double", string("1e999"), string("1e999")),
        ("double", string("x"), string("x")),
        ("double", int(-3), double(-3.0)),
        ("double", bool(false), double(0.0)),
        ("string", int(-3), string("-3")),
        ("string", double(1.0), string("1")),
        ("string", double(1e21), string("1e+21")),
        ("string", bool(false), string("false")),
        ("string", string("as it is"), string("as it is")),
        ("string", list(), list()),
    ];
    for (to, value, expected) in cases {
        let action = format!(r#"{{"key": "a", "action": "convert", "converted_type": "{to}"}}"#);
        let got = after(&action, vec![vec![attribute("a", value.clone())], vec![]]);
        assert_eq!(got, [vec![attribute("a", expected)], vec![]], "{value:?} to {to}");
    }
}

#[test]
fn a_default_value_is_taken_where_the_source_is_not() {
    let action = |action: &str| {
        format!(r#"{{"key": "c", "action": "{action}", "from_attribute": "a", "default_value": "none"}}"#)
    };
    let spans = || vec![vec![text("a", "A")], vec![text("c", "C")], vec![]];
    let (a, none) = (vec![text("a", "A"), text("c", "A")], vec![text("c", "none")]);
    assert_eq!(after(&action("insert"), spans()), [a.clone(), vec![text("c", "C")], none.clone()]);
    assert_eq!(after(&action("update"), spans()), [vec![text("a", "A")], none.clone(), vec![]]);
    assert_eq!(after(&action("UPSERT"), spans()), [a, none.clone(), none.clone()]);
    // On its own it is the value.
    assert_eq!(after(r#"{"key": "c", "action": "upsert", "default_value": "none"}"#, vec![vec![]]), [none]);
}

#[test]
fn bad_configurations_are_refused_with_their_path() {
    let cases = [
        (r#"{"actions": []}"#, "actions", "at least one"),
        (r#"{"actions": [{"action": "delete"}]}"#, "actions[0]", "needs a `key` or a `pattern`"),
        (r#"{"actions": [{"action": "insert", "value": 1}]}"#, "actions[0].key", "a key is needed"),
        (r#"{"actions": [{"key": "a", "action": "set"}]}"#, "actions[0].action", "unknown action `set`"),
        (r#"{"actions": [{"key": "a", "action": "insert"}]}"#, "actions[0]", "either `value` or"),
        (
            r#"{"actions": [{"key": "a", "action": "insert", "value": 1, "from_attribute": "b"}]}"#,
            "actions[0]",
            "either `value` or",
        ),
        (r#"{"actions": [{"key": "a", "action": "insert", "value": []}]}"#, "actions[0].value", "must be a string"),
        (
            r#"{"actions": [{"key": "a", "action": "insert", "from_context": "x"}]}"#,
            "actions[0].from_context",
            "not supported",
        ),
        (
            r#"{"actions": [{"key": "a", "action": "upsert", "value": 1, "pattern": "x"}]}"#,
            "actions[0].pattern",
            "no use for `pattern`",
        ),
        (r#"{"actions": [{"key": "a", "action": "hash", "value": 1}]}"#, "actions[0].value", "no use for `value`"),
        (r#"{"actions": [{"pattern": "(", "action": "delete"}]}"#, "actions[0].pattern", "the pattern cannot be read"),
        (r#"{"actions": [{"key": "a", "action": "extract"}]}"#, "actions[0].pattern", "needs a pattern"),
        (r#"{"actions": [{"key": "a", "action": "extract", "pattern": "x"}]}"#, "actions[0].pattern", "needs groups"),
        (r#"{"actions": [{"key": "a", "action": "convert"}]}"#, "actions[0].converted_type", "must be int"),
        (
            r#"{"actions": [{"key": "a", "action": "convert", "converted_type": "bool"}]}"#,
            "actions[0].converted_type",
            "must be int, double or string",
        ),
        (r#"{"actions": [{"key": "a", "action": "insert", "vale": 1}]}"#, "actions[0].vale", "unknown field `vale`"),
        (
            r#"{"actions": [{"key": "a", "action": "delete"}], "include": {"match_type": "strict"}}"#,
            "include",
            "needs at least one of services",
        ),
        (
            r#"{"actions": [{"key": "a", "action": "delete"}], "exclude": {"match_type": "regexp", "span_names": ["x", "["]}}"#,
            "exclude.span_names[1]",
            "the pattern cannot be read",
        ),
        (
            r#"{"actions": [{"key": "a", "action": "delete"}], "exclude": {"match_type": "regexp", "attributes": [{"key": "x", "value": 1}]}}"#,
            "exclude.attributes[0].value",
            "put it in quotes",
        ),
        (
            r#"{"actions": [{"key": "a", "action": "delete"}], "include": {"match_type": "strict", "span_names": ["x"], "metric_names": ["x"]}}"#,
            "include.metric_names",
            "not for spans",
        ),
        (
            r#"{"actions": [{"key": "a", "action": "delete"}], "include": {"span_names": ["x"]}}"#,
            "include",
            "missing field `match_type`",
        ),
        (
            r#"{"actions": [{"key": "a", "action": "delete"}], "include": {"match_type": "glob", "span_names": ["x"]}}"#,
            "include.match_type",
            "unknown variant `glob`",
        ),
    ];
    for (config, path, message) in cases {
        let result = run::<Attributes>(config, b"");
        let Err(Problem::Config(errors)) = result else { unreachable!("{config}: {result:?}") };
        assert_eq!(errors[0].path, path, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
}

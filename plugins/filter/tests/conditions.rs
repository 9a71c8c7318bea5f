//! Conditions on real batches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use filter::Filter;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use sluice_sdk::testing::{Problem, run};

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn string(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn list(values: Vec<Value>) -> Value {
    Value::ArrayValue(ArrayValue { values: values.into_iter().map(|value| AnyValue { value: Some(value) }).collect() })
}

fn map(key: &str, value: Value) -> Value {
    Value::KvlistValue(KeyValueList { values: vec![attribute(key, value)] })
}

fn event(name: &str) -> Event {
    Event {
        name: name.to_owned(),
        time_unix_nano: 7,
        attributes: vec![attribute("level", string("debug"))],
        ..Event::default()
    }
}

/// Two resources: `shop` with the spans a and b, `bank` with c.
fn request() -> ExportTraceServiceRequest {
    let a = Span {
        name: "a".to_owned(),
        trace_id: vec![0xab; 16],
        span_id: vec![1; 8],
        kind: 2,
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 3_000,
        attributes: vec![
            attribute("http.route", string("/health")),
            attribute("status", Value::IntValue(200)),
            attribute("ratio", Value::DoubleValue(0.5)),
            attribute("flag", Value::BoolValue(true)),
            attribute("tags", list(vec![string("x"), Value::IntValue(7), string("y")])),
            attribute("map", map("in", map("deep", string("z")))),
            attribute("path", string("a/b/c")),
            attribute("bytes", Value::BytesValue(vec![0xab, 0xcd])),
        ],
        events: vec![event("one"), event("two")],
        ..Span::default()
    };
    let b = Span {
        name: "b".to_owned(),
        parent_span_id: vec![1; 8],
        trace_state: "k=v".to_owned(),
        dropped_attributes_count: 3,
        kind: 3,
        status: Some(Status { code: 2, message: "broken".to_owned() }),
        events: vec![event("three")],
        dropped_events_count: 4,
        ..a.clone()
    };
    let b = Span {
        attributes: vec![
            attribute("status", string("200")),
            KeyValue { key: "empty".to_owned(), ..KeyValue::default() },
        ],
        ..b
    };
    let c = Span { name: "c".to_owned(), trace_id: vec![1; 16], span_id: vec![2; 8], ..Span::default() };
    let of = |service: &str, spans: Vec<Span>| {
        let scope = InstrumentationScope {
            name: format!("lib-{service}"),
            version: "1.2".to_owned(),
            ..InstrumentationScope::default()
        };
        ResourceSpans {
            resource: Some(Resource {
                attributes: vec![attribute("service.name", string(service))],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    };
    ExportTraceServiceRequest { resource_spans: vec![of("shop", vec![a, b]), of("bank", vec![c])] }
}

fn json(text: &str) -> String {
    sluice_sdk::serde_json::Value::from(text).to_string()
}

/// What is left: the names of spans, each with its events' after it.
fn left(config: &str) -> String {
    let outcome = run::<Filter>(config, &request().encode_to_vec()).expect("it filters");
    let request = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let span = |span: Span| span.events.into_iter().fold(span.name, |left, event| left + " " + &event.name);
    scopes.flat_map(|scope| scope.spans).map(span).collect::<Vec<_>>().join(", ")
}

/// The spans that a condition drops.
fn dropped(condition: &str) -> String {
    missing(&left(&format!(r#"{{"traces": {{"span": [{}]}}}}"#, json(condition))))
}

fn missing(left: &str) -> String {
    ["a", "b", "c"].into_iter().filter(|name| !left.split(", ").any(|span| span.starts_with(name))).collect()
}

#[test]
fn conditions_drop_the_spans_for_which_they_are_true() {
    let cases = [
        (r#"name == "a""#, "a"),
        (r#"span.name != "a""#, "bc"),
        (r#"attributes["http.route"] == "/health""#, "a"),
        (r#"span.attributes["http.route"] == "/health""#, "a"),
        (r#"resource.attributes["service.name"] == "shop""#, "ab"),
        (r#"instrumentation_scope.name == "lib-bank""#, "c"),
        (r#"scope.version == "1.2" and name == "c""#, "c"),
        (r"kind == SPAN_KIND_SERVER", "a"),
        (r"kind > 2", "b"),
        (r"status.code == STATUS_CODE_ERROR", "b"),
        (r#"status.message == "broken""#, "b"),
        (r#"trace_state == "k=v""#, "b"),
        (r#"trace_id.string == "abababababababababababababababab""#, "ab"),
        (r#"span_id.string == "0202020202020202""#, "c"),
        (r#"parent_span_id.string == """#, "ac"),
        (r"IsRootSpan()", "ac"),
        (r"not IsRootSpan()", "b"),
        (r"end_time_unix_nano >= 3000", "ab"),
        (r"start_time_unix_nano == 0", "c"),
        (r"dropped_events_count == 4", "b"),
        (r#"name == "a" or name == "b" and kind == 1"#, "a"),
        (r#"(name == "a" or name == "b") and kind == 3"#, "b"),
        (r#"not (name == "a" or name == "b")"#, "c"),
        ("true", "abc"),
        ("false", ""),
        (r#""a" == name"#, "a"),
    ];
    for (condition, expected) in cases {
        assert_eq!(dropped(condition), expected, "{condition}");
    }
}

#[test]
fn missing_attributes_are_nil_and_types_are_kept_apart() {
    let cases = [
        (r#"attributes["http.route"] == nil"#, "bc"),
        (r#"attributes["http.route"] != nil"#, "a"),
        (r#"attributes["http.route"] != "/health""#, "bc"),
        (r#"attributes["empty"] == nil"#, "abc"),
        (r#"attributes["status"] == 200"#, "a"),
        (r#"attributes["status"] == "200""#, "b"),
        (r#"attributes["status"] == 200.0"#, "a"),
        (r#"attributes["status"] > 199.5"#, "a"),
        (r#"attributes["status"] < 1000"#, "a"),
        (r#"attributes["ratio"] == 0.5"#, "a"),
        (r#"attributes["ratio"] < 1"#, "a"),
        (r#"attributes["flag"] == true"#, "a"),
        (r#"attributes["flag"] == "true""#, ""),
        (r#"IsString(attributes["status"])"#, "b"),
        (r#"IsInt(attributes["status"])"#, "a"),
        (r#"IsList(attributes["tags"]) and IsDouble(attributes["ratio"]) and IsBool(attributes["flag"])"#, "a"),
        (r#"IsString(attributes["missing"]) == false"#, "abc"),
    ];
    for (condition, expected) in cases {
        assert_eq!(dropped(condition), expected, "{condition}");
    }
}

#[test]
fn patterns_are_those_of_the_collector() {
    let cases = [
        (r#"IsMatch(attributes["http.route"], "^/he.*h$")"#, "a"),
        (r#"IsMatch(attributes["status"], "^\\d{3}$")"#, "ab"),
        (r#"IsMatch(name, "(?i)^[A-B]$")"#, "ab"),
        (r#"IsMatch(attributes["flag"], "tru")"#, "a"),
        (r#"IsMatch(attributes["missing"], ".*")"#, ""),
        (r#"HasPrefix(name, "a")"#, "a"),
        (r#"HasSuffix(resource.attributes["service.name"], "nk")"#, "c"),
    ];
    for (condition, expected) in cases {
        assert_eq!(dropped(condition), expected, "{condition}");
    }
}

/// Of a span with these attributes, whether a condition is true; each case by OTTL's description of
/// the function or the operator.
#[test]
fn functions_and_arithmetic_are_those_of_ottl() {
    let cases = [
        // Keys within values, and of the tracestate.
        (r#"attributes["map"]["in"]["deep"] == "z""#, "a"),
        (r#"attributes["map"]["out"] == nil"#, "abc"),
        (r#"span.attributes["map"]["in"]["none"] == nil and name == "a""#, "a"),
        (r#"IsMap(attributes["map"]["in"])"#, "a"),
        (r#"IsMap(attributes["map"]) and attributes["tags"][1] == 7"#, "a"),
        (r#"trace_state["k"] == "v""#, "b"),
        (r#"trace_state["none"] == """#, "abc"),
        (r#"span.trace_state["k"] != """#, "b"),
        // Times.
        (r#"duration == Duration("2us")"#, "ab"),
        (r#"duration > Duration("1.5us") and duration < Duration("1ms")"#, "ab"),
        (r"duration == 2000", ""),
        (r"end_time_unix_nano - start_time_unix_nano == 2000", "ab"),
        (r"dropped_attributes_count == 3", "b"),
        // Arithmetic: integers stay such, a double makes one.
        (r"kind == 1 + 1", "a"),
        (r"kind * 2 + 1 == 7", "b"),
        (r"1 + kind * 2 == 5", "a"),
        (r"(1 + kind) * 2 == 8", "b"),
        (r"kind / 2 == 1", "ab"),
        (r"kind / 2.0 == 1.5", "b"),
        (r"10 - 2 - 3 == 5", "abc"),
        (r"(kind) == 2", "a"),
        (r"((kind == 2) and (name == name))", "a"),
        // Lengths.
        (r"Len(name) == 1", "abc"),
        (r#"name == "a" and Len(attributes["tags"]) == 3 and Len(attributes["map"]) == 1"#, "a"),
        (r#"Len("h\u00e9") == 3"#, "abc"),
        (r#"Len(["a", 1]) == 2"#, "abc"),
        // Texts.
        (r#"Concat([name, "-", kind], "") == "a-2""#, "a"),
        (r#"Concat(["x", attributes["missing"], 1.5, true], "/") == "x/<nil>/1.5/true""#, "abc"),
        (r#"Concat([resource.attributes["service.name"], name], ".") == "bank.c""#, "c"),
        (r#"Substring(resource.attributes["service.name"], 1, 2) == "ho""#, "ab"),
        (r#"name == "a" and Split(attributes["path"], "/")[1] == "b""#, "a"),
        (r#"name == "a" and Len(Split(attributes["path"], "/")) == 3"#, "a"),
        (r#"Split("a,b", ",") == ["a", "b"]"#, "abc"),
        (r#"ConvertCase(name, "upper") == "A""#, "a"),
        (r#"ConvertCase("ABC", "lower") == "abc""#, "abc"),
        (r#"SHA256(name) == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb""#, "a"),
        // Conversions.
        (r#"Int(attributes["status"]) == 200"#, "ab"),
        (r#"Int("x") == nil and Int(2.9) == 2 and Int(true) == 1"#, "abc"),
        (r#"Double(attributes["status"]) == 200.0"#, "ab"),
        (r#"Double("1.5") == 1.5 and Double("x") == nil"#, "abc"),
        (r#"String(attributes["status"]) == "200""#, "ab"),
        (r#"String(attributes["bytes"]) == "abcd""#, "a"),
        (r#"String(1.5) == "1.5" and String(true) == "true" and String(nil) == nil"#, "abc"),
        // Lists.
        (r#"ContainsValue(["a", "c"], name)"#, "ac"),
        (r#"name == "a" and ContainsValue(attributes["tags"], 7)"#, "a"),
        (r#"name == "a" and ContainsValue(attributes["tags"], "7")"#, ""),
        (r#"IsList(Split(name, "x"))"#, "abc"),
        // Functions of functions.
        (r#"IsMatch(Concat([name, kind], ":"), "^b:3$")"#, "b"),
        (r#"HasPrefix(ConvertCase(name, "upper"), "B")"#, "b"),
    ];
    for (condition, expected) in cases {
        assert_eq!(dropped(condition), expected, "{condition}");
    }
}

/// What a function or an operator cannot do with the value of a span is an error, which the error mode
/// decides about; what it cannot do with a constant is refused before.
#[test]
fn errors_of_functions_are_told() {
    let cases = [
        ("Len(kind) == 1", "Len expected a string, a list or a map but got an integer"),
        (r#"Substring(name, 0, 2) == "x""#, "Substring has no 2 bytes from 0 on in 1 bytes"),
        (r#"Substring(name, kind, 0) == "x""#, "Substring has no 0 bytes"),
        (r#"Split(kind, ",") == nil"#, "Split expected a string but got an integer"),
        ("kind / (kind - kind) == 1", "attempted to divide by 0"),
        (r#"attributes["missing"] + 1 == 1"#, "there is no arithmetic with nil and an integer"),
        ("name * 2 == 1", "there is no arithmetic with a string and an integer"),
        (r#"ContainsValue(name, "a")"#, "ContainsValue expected a list but got a string"),
        (r#"SHA256(kind) == """#, "SHA256 expected a string but got an integer"),
        ("Duration(name) == nil", "`a` is no duration"),
        (r#"attributes["tags"][3] == 1"#, "index 3 is out of the list"),
        (r#"attributes["tags"]["x"] == 1"#, "a list has no key that is a string"),
        (r#"Concat(name, ",") == """#, "Concat expected a list but got a string"),
        (r#"ConvertCase(name, name) == """#, "ConvertCase to `a` is not supported yet"),
        ("Int(duration) == 1", "Int of a duration is not supported yet"),
    ];
    for (condition, expected) in cases {
        let config = format!(r#"{{"error_mode": "propagate", "traces": {{"span": [{}]}}}}"#, json(condition));
        let result = run::<Filter>(&config, &request().encode_to_vec());
        let Err(Problem::Failed(failure)) = result else { unreachable!("{condition}: {result:?}") };
        assert!(failure.message.contains(expected), "{condition}: {}", failure.message);
        let ignored = config.replace("propagate", "ignore");
        assert!(run::<Filter>(&ignored, &request().encode_to_vec()).is_ok(), "{condition}");
    }
    let constant = r#"{"traces": {"span": ["Substring(\"abc\", 2, 5) == name"]}}"#;
    let result = run::<Filter>(constant, b"");
    let Err(Problem::Config(errors)) = result else { unreachable!("{result:?}") };
    assert_eq!(errors[0].path, "traces.span[0]");
    assert!(errors[0].message.ends_with("at column 1"), "{}", errors[0].message);
}

#[test]
fn span_events_are_dropped_by_their_own_conditions() {
    let all = "a one two, b three, c";
    let cases = [
        (r#"{"traces": {"spanevent": ["name == \"two\""]}}"#, "a one, b three, c"),
        (
            r#"{"traces": {"spanevent": ["attributes[\"level\"] == \"debug\" and span.name == \"a\""]}}"#,
            "a, b three, c",
        ),
        (r#"{"traces": {"spanevent": ["resource.attributes[\"service.name\"] == \"bank\""]}}"#, all),
        (r#"{"traces": {"spanevent": ["time_unix_nano == 7"]}}"#, "a, b, c"),
        (r#"{"traces": {"spanevent": ["Len(name) == 3 and span.duration > Duration(\"1us\")"]}}"#, "a, b three, c"),
        (r#"{"traces": {"spanevent": ["ContainsValue([\"one\", \"three\"], name)"]}}"#, "a two, b, c"),
        (
            r#"{"trace_conditions": [{"context": "spanevent", "conditions": ["name == \"one\""], "error_mode": "silent"}, {"conditions": ["resource.attributes[\"service.name\"] == \"bank\""]}]}"#,
            "a two, b three",
        ),
        (r#"{"traces": {"span": ["name == \"a\""], "spanevent": ["name == \"three\""]}}"#, "b, c"),
        (r#"{"traces": {"resource": ["attributes[\"service.name\"] == \"shop\""]}}"#, "c"),
        (r#"{"trace_conditions": ["span.name == \"b\"", "spanevent.name == \"one\""]}"#, "a two, c"),
        (r#"{"trace_conditions": [{"context": "span", "conditions": ["name == \"c\""]}]}"#, "a one two, b three"),
    ];
    for (config, expected) in cases {
        assert_eq!(left(config), expected, "{config}");
    }
}

/// `or` and `not` of what fails fail; `and` does only if it comes so far.
#[test]
fn what_fails_is_neither_true_nor_false() {
    let cases = [
        (r#"HasPrefix(attributes["missing"], "x") or name == "a""#, ""),
        (r#"name == "a" or HasPrefix(attributes["missing"], "x")"#, "a"),
        (r#"not HasPrefix(attributes["missing"], "x")"#, ""),
        (r#"name == "a" and not HasPrefix(attributes["missing"], "x")"#, ""),
        (r#"not (name == "a" and HasPrefix(attributes["missing"], "x"))"#, "bc"),
        (r#"name == "c" or (kind == 2 and HasPrefix(name, "a"))"#, "ac"),
        (r#"not (name == "a" or kind == 3)"#, "c"),
    ];
    for (condition, expected) in cases {
        let left = left(&format!(r#"{{"error_mode": "ignore", "traces": {{"span": [{}]}}}}"#, json(condition)));
        assert_eq!(missing(&left), expected, "{condition}");
    }
}

#[test]
fn errors_follow_the_error_mode() {
    let config = |mode: &str| {
        format!(
            r#"{{"error_mode": "{mode}", "traces": {{"span": ["HasPrefix(attributes[\"missing\"], \"x\")", "name == \"a\""]}}}}"#
        )
    };
    for mode in ["ignore", "silent"] {
        assert_eq!(left(&config(mode)), "b three, c", "{mode}");
    }
    let result = run::<Filter>(&config("propagate"), &request().encode_to_vec());
    let Err(Problem::Failed(failure)) = result else { unreachable!("{result:?}") };
    let expected = r#"condition `HasPrefix(attributes["missing"], "x")`: HasPrefix expected a string but got nil"#;
    assert_eq!(failure.message, expected);
}

#[test]
fn only_what_the_conditions_read_is_asked_for() {
    let config = r#"{"traces": {"span": ["name == \"x\" and kind == 1 and attributes[\"k\"] == nil", "resource.attributes[\"r\"] == 1 or name == \"y\""]}}"#;
    let outcome = run::<Filter>(config, b"").unwrap();
    assert_eq!(outcome.access.read, ["resources.attributes:r", "spans.attributes:k", "spans.name"]);
    assert_eq!(outcome.access.write, ["spans.drop"]);
}

#[test]
fn bad_configurations_are_refused_with_their_path() {
    let cases = [
        ("{}", "", "there is no condition"),
        (r#"{"traces": {"span": ["name == \"a\"", "name = 1"]}}"#, "traces.span[1]", "`=` is no comparison"),
        (r#"{"trace_conditions": ["name == 1"]}"#, "trace_conditions[0]", "must begin with its context"),
        (
            r#"{"trace_conditions": [{"context": "log", "conditions": []}]}"#,
            "trace_conditions[0].context",
            "unknown context `log`",
        ),
        (r#"{"trace_conditions": [{"condition": []}]}"#, "trace_conditions[0].condition", "unknown field `condition`"),
        (r#"{"error_mode": "panic"}"#, "error_mode", "unknown variant `panic`"),
        (r#"{"spans": {}}"#, "spans", "not supported"),
        (r#"{"traces": {"spans": []}}"#, "traces.spans", "unknown field `spans`"),
        (r#"{"traces": {"span": ["true"]}, "trace_conditions": ["true"]}"#, "trace_conditions", "use either"),
    ];
    for (config, path, message) in cases {
        let result = run::<Filter>(config, b"");
        let Err(Problem::Config(errors)) = result else { unreachable!("{config}: {result:?}") };
        assert_eq!(errors[0].path, path, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
}

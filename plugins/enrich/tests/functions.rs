//! Each function on real batches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use enrich::Enrich;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use sluice_sdk::testing::{Outcome, Problem, Stage, run};

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

fn int(key: &str, int: i64) -> KeyValue {
    attribute(key, Value::IntValue(int))
}

/// A span a list of attributes.
fn request(spans: &[Vec<KeyValue>], resource: Vec<KeyValue>, name: &str) -> Vec<u8> {
    let span = |attributes: &Vec<KeyValue>| Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: name.to_owned(),
        attributes: attributes.clone(),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: spans.iter().map(span).collect(), ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes: resource, ..Resource::default() });
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn decoded(outcome: &Outcome) -> ResourceSpans {
    ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap().resource_spans.remove(0)
}

fn sorted(mut attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    attributes.sort_by(|left, right| left.key.cmp(&right.key));
    attributes
}

/// The attributes of each span afterwards, sorted.
fn after(config: &str, spans: &[Vec<KeyValue>]) -> Vec<Vec<KeyValue>> {
    let outcome = run::<Enrich>(config, &request(spans, vec![], "call")).unwrap();
    let spans = decoded(&outcome).scope_spans.remove(0).spans;
    spans.into_iter().map(|span| sorted(span.attributes)).collect()
}

const STATIONS: &str = "id,city,region\nGVA,Geneva,\nBRN,Bern,Mittelland\n7,Seven,\n";

const LOOKUP: &str = r#"{"lookups": [{"table": "stations", "key": "station", "set": {"station.city": "city", "station.region": "region"}}]}"#;

#[test]
fn a_row_of_a_table_becomes_attributes() {
    let sent = [
        vec![text("station", "BRN")],
        vec![text("station", "XXX")],
        vec![int("station", 7)],
        vec![text("station", "BRN"), text("station.city", "known")],
        vec![],
        vec![text("station", "BRN")],
    ];
    let mut stage = Stage::<Enrich>::new(LOOKUP).unwrap().table("stations", STATIONS, "id").unwrap();
    let outcome = stage.process(&request(&sent, vec![text("station", "GVA")], "call")).unwrap();
    let got: Vec<_> =
        decoded(&outcome).scope_spans[0].spans.iter().map(|span| sorted(span.attributes.clone())).collect();
    let bern = vec![text("station", "BRN"), text("station.city", "Bern"), text("station.region", "Mittelland")];
    let seven = vec![int("station", 7), text("station.city", "Seven"), text("station.region", "")];
    let kept = vec![text("station", "BRN"), text("station.city", "known"), text("station.region", "Mittelland")];
    assert_eq!(got, [bern.clone(), sent[1].clone(), seven, kept, vec![], bern]);
    assert_eq!(decoded(&outcome).resource.unwrap().attributes, [text("station", "GVA")], "resources stay");
}

#[test]
fn a_resource_can_be_looked_up() {
    let config =
        r#"{"lookups": [{"table": "stations", "key": "station", "context": "resource", "set": {"city": "city"}}]}"#;
    let mut stage = Stage::<Enrich>::new(config).unwrap().table("stations", STATIONS, "id").unwrap();
    let outcome =
        stage.process(&request(&[vec![text("station", "BRN")]], vec![text("station", "GVA")], "call")).unwrap();
    let got = decoded(&outcome);
    assert_eq!(got.resource.unwrap().attributes, [text("station", "GVA"), text("city", "Geneva")]);
    assert_eq!(got.scope_spans[0].spans[0].attributes, [text("station", "BRN")]);
}

#[test]
fn a_column_that_is_not_there_is_a_failure() {
    let config = r#"{"lookups": [{"table": "stations", "key": "station", "set": {"city": "town"}}]}"#;
    let mut stage = Stage::<Enrich>::new(config).unwrap().table("stations", STATIONS, "id").unwrap();
    let result = stage.process(&request(&[vec![text("station", "BRN")]], vec![], "call"));
    let Err(Problem::Failed(failure)) = result else { panic!("{result:?}") };
    assert!(failure.message.contains("no column `town`"), "{}", failure.message);
}

#[test]
fn the_reason_of_envoy_is_told() {
    let of = |id: &str, component: &str| {
        let sent = vec![text("component", component), text("guid:x-request-id", id)];
        let got = after(r#"{"envoy": {}}"#, &[sent]).remove(0);
        got.into_iter().find(|one| one.key == "envoy.trace_reason")
    };
    let reason = |reason: &str| Some(text("envoy.trace_reason", reason));
    let id = |digit: char| format!("2c6eb8de-5d0f-{digit}b1a-8f43-0c7d4c8fcd3a");
    for (digit, expected) in [
        ('4', "not_traceable"),
        ('9', "sampled"),
        ('a', "service_forced"),
        ('b', "client_forced"),
        ('B', "client_forced"),
    ] {
        assert_eq!(of(&id(digit), "proxy"), reason(expected), "{digit}");
    }
    for (id, component) in
        [(id('a'), "grpc"), (id('5'), "proxy"), (id('a')[1..].to_owned(), "proxy"), ("x".repeat(36), "proxy")]
    {
        assert_eq!(of(&id, component), None, "{id} {component}");
    }
}

/// The names are those of Envoy's documentation and of OpenTelemetry's semantic conventions.
#[test]
fn the_tags_of_envoy_get_the_names_of_the_conventions() {
    let envoys = vec![
        text("component", "proxy"),
        text("http.method", "POST"),
        text("http.status_code", "503"),
        text("http.url", "https://shop.example/cart"),
        text("http.protocol", "HTTP/1.1"),
        text("peer.address", "10.0.0.7"),
        text("request_size", "512"),
        text("response_size", "0"),
        text("retry.count", "2"),
        text("user_agent", "curl/8.5.0"),
        text("grpc.status_code", "14"),
        text("upstream_cluster", "cart"),
    ];
    let expected = vec![
        text("component", "proxy"),
        int("http.request.body.size", 512),
        text("http.request.method", "POST"),
        int("http.request.resend_count", 2),
        int("http.response.body.size", 0),
        int("http.response.status_code", 503),
        text("network.peer.address", "10.0.0.7"),
        text("network.protocol.version", "1.1"),
        int("rpc.grpc.status_code", 14),
        text("upstream_cluster", "cart"),
        text("url.full", "https://shop.example/cart"),
        text("user_agent.original", "curl/8.5.0"),
    ];
    // Another program's span with the same names, and one that has the new names already or tags that are no numbers.
    let other = vec![text("http.method", "GET"), text("http.status_code", "200")];
    let mixed = vec![
        text("component", "proxy"),
        text("http.method", "GET"),
        text("http.protocol", "gRPC"),
        text("http.request.method", "HEAD"),
        text("http.status_code", "-"),
    ];
    let got = after(r#"{"envoy": null}"#, &[envoys, other.clone(), mixed.clone()]);
    assert_eq!(got, [expected, other, mixed]);
}

#[test]
fn a_url_is_taken_apart() {
    let sent = [
        vec![text("url.full", "https://u:p@shop.example:8443/cart?item=7#top"), text("http.url", "http://other/")],
        vec![text("http.url", "http://[::1]/")],
        vec![text("url.full", "https://shop.example/"), text("url.path", "kept")],
        vec![text("url.full", "/relative")],
        vec![int("url.full", 1)],
    ];
    let got = after(r#"{"url": {}}"#, &sent);
    let new = |i: usize| got[i].iter().filter(|one| !sent[i].contains(one)).cloned().collect::<Vec<_>>();
    let expected = vec![
        text("url.domain", "shop.example"),
        text("url.path", "/cart"),
        int("url.port", 8443),
        text("url.query", "item=7"),
        text("url.scheme", "https"),
    ];
    assert_eq!(new(0), expected);
    assert_eq!(new(1), [text("url.domain", "[::1]"), text("url.path", "/"), text("url.scheme", "http")]);
    assert_eq!(new(2), [text("url.domain", "shop.example"), text("url.scheme", "https")]);
    assert_eq!((new(3), new(4)), (vec![], vec![]));
}

#[test]
fn a_user_agent_is_taken_apart() {
    let safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1";
    let robot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    let sent = [
        vec![text("user_agent.original", safari)],
        vec![text("http.user_agent", "curl/8.5.0"), text("user_agent.version", "kept")],
        vec![text("user_agent", robot)],
        vec![],
    ];
    let got = after(r#"{"user_agent": {}}"#, &sent);
    let new = |i: usize| got[i].iter().filter(|one| !sent[i].contains(one)).cloned().collect::<Vec<_>>();
    let expected = vec![
        text("user_agent.name", "Safari"),
        text("user_agent.os.name", "iOS"),
        text("user_agent.os.version", "17.1"),
        text("user_agent.version", "17.2"),
    ];
    assert_eq!(new(0), expected);
    assert_eq!(new(1), [text("user_agent.name", "curl")]);
    let expected = vec![
        text("user_agent.name", "Googlebot"),
        text("user_agent.synthetic.type", "bot"),
        text("user_agent.version", "2.1"),
    ];
    assert_eq!(new(2), expected);
    assert_eq!(new(3), []);
}

#[test]
fn names_lose_their_ids() {
    let name = |name: &str| {
        let outcome = run::<Enrich>(r#"{"span_name": {}}"#, &request(&[vec![]], vec![], name)).unwrap();
        (decoded(&outcome).scope_spans[0].spans[0].name.clone(), outcome.edited)
    };
    assert_eq!(name("GET /orders/123/items/7"), ("GET /orders/{id}/items/{id}".to_owned(), 1));
    assert_eq!(name("GET /orders/{id}"), ("GET /orders/{id}".to_owned(), 0), "what needs no change is not touched");
}

#[test]
fn bad_configurations_are_refused_with_their_path() {
    let cases = [
        ("{}", "", "at least one of `lookups`, `envoy`"),
        (r#"{"lookups": []}"#, "", "at least one of"),
        (r#"{"url": {"full": true}}"#, "url.full", "unknown field"),
        (r#"{"span_names": {}}"#, "span_names", "unknown field `span_names`"),
        (r#"{"envoy": true}"#, "envoy", "invalid type"),
        (r#"{"lookups": [{"table": "t", "key": "k", "set": {}}]}"#, "lookups[0].set", "at least one attribute"),
        (r#"{"lookups": [{"table": "t*", "key": "k", "set": {"a": "b"}}]}"#, "lookups[0].table", "the name of a table"),
        (r#"{"lookups": [{"table": "t", "key": "", "set": {"a": "b"}}]}"#, "lookups[0].key", "an attribute"),
        (r#"{"lookups": [{"table": "t", "set": {"a": "b"}}]}"#, "lookups[0]", "missing field `key`"),
        (
            r#"{"lookups": [{"table": "t", "key": "k", "context": "scope", "set": {"a": "b"}}]}"#,
            "lookups[0].context",
            "unknown variant",
        ),
    ];
    for (config, path, message) in cases {
        let result = run::<Enrich>(config, b"");
        let Err(Problem::Config(errors)) = result else { panic!("{config}: {result:?}") };
        assert_eq!(errors[0].path, path, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
}

#[test]
fn only_what_a_function_needs_is_asked_for() {
    let access = run::<Enrich>(r#"{"span_name": {}}"#, b"").unwrap().access;
    assert_eq!((access.read, access.write), (vec!["spans.name".to_owned()], vec!["spans.name".to_owned()]));
    let access = run::<Enrich>(LOOKUP, b"").unwrap().access;
    let expected = [
        "tables:stations",
        "spans.attributes:station",
        "spans.attributes:station.city",
        "spans.attributes:station.region",
    ];
    assert_eq!(access.read, expected);
    assert_eq!(access.write, ["spans.attributes:station.city", "spans.attributes:station.region"]);
    let access = run::<Enrich>(r#"{"url": {}}"#, b"").unwrap().access;
    assert!(access.write.iter().all(|grant| grant.starts_with("spans.attributes:url.")), "{:?}", access.write);
    assert_eq!(access.write.len(), 5);
}

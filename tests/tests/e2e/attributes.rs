//! The actions of `attributes` and `resource` work in the sandbox, on the spans that are chosen.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use sluice_tests::collector::{Config, Sluice};
use sluice_tests::send;
use sluice_tests::sink::Sink;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

/// A server's and a client's span with the same attributes.
fn request(attributes: &[KeyValue], resource: Vec<KeyValue>) -> ExportTraceServiceRequest {
    let span = |name: &str, kind| Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: name.to_owned(),
        kind,
        attributes: attributes.to_vec(),
        ..Span::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: resource, ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope { name: "http".to_owned(), ..InstrumentationScope::default() }),
                spans: vec![span("in", 2), span("out", 3)],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn sorted(mut attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    attributes.sort_by(|left, right| left.key.cmp(&right.key));
    attributes
}

#[test]
fn attributes_and_resource_act_in_one_chain() {
    let actions = r"
include:
  match_type: strict
  services: [shop]
  libraries: [{ name: http }]
exclude:
  match_type: regexp
  span_kinds: [CLIENT$]
actions:
  - { key: http.status_code, action: convert, converted_type: int }
  - { key: http.url, action: extract, pattern: '^(?P<scheme>\w+)://(?P<host>[^/]+)' }
  - { key: http.url, action: delete }
  - { pattern: '^user\.', action: hash }
  - { key: region, from_attribute: cloud.region, default_value: us-east-1, action: insert }
";
    // An earlier processor's edits are what a later one chooses by.
    let resources = r"
attributes:
  - { key: service.name, from_attribute: app, action: insert }
  - { key: app, action: delete }
";
    let sent = [text("http.status_code", "200"), text("http.url", "https://shop.example/cart"), text("user.id", "x")];
    let upstream = Sink::start();
    let config = Config::to(&upstream).processor("resource", resources).processor("attributes", actions);
    let sluice = Sluice::start(&config);
    let wire = request(&sent, vec![text("app", "shop")]).encode_to_vec();
    send::all(sluice.grpc(), &[wire.into()]).unwrap();
    sluice.terminate();
    let mut got: Vec<_> = upstream.decoded().into_iter().flat_map(|request| request.resource_spans).collect();
    let resource = got.remove(0);
    assert_eq!(resource.resource.unwrap().attributes, [text("service.name", "shop")]);
    let [server, client] = <[Span; 2]>::try_from(resource.scope_spans[0].spans.clone()).unwrap();
    let expected = [
        text("host", "shop.example"),
        attribute("http.status_code", Value::IntValue(200)),
        text("region", "us-east-1"),
        text("scheme", "https"),
        // `printf x | sha256sum`
        text("user.id", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
    ];
    assert_eq!(sorted(server.attributes), expected);
    assert_eq!(client.attributes, sent);
}

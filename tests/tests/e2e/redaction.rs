//! No card number and no e-mail address leaves, wherever in a span it stood.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use sluice_tests::collector::{Config, Sluice};
use sluice_tests::send;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;

fn redacting(upstream: &Sink) -> Config {
    Config::to(upstream).processor("redaction", "allow_all_keys: true\ndetectors: [payment_card, email]")
}

#[test]
fn nothing_secret_of_the_shop_leaves() {
    let mut exporter = Exporter::new(31);
    let upstream = Sink::start();
    let sluice = Sluice::start(&redacting(&upstream));
    send::all(sluice.grpc(), &exporter.requests(60, 50)).unwrap();
    sluice.terminate();
    let leaked: Vec<_> = exporter.shop().secrets().into_iter().filter(|secret| upstream.holds(secret)).collect();
    assert_eq!(leaked, Vec::<String>::new());
    // What is no secret is still there, so there was something to search.
    assert!(upstream.holds("WB-2025-0001") && upstream.holds("api.acquirer.example"));
}

/// The test number of every card scheme's manual, and an address of a reserved domain.
const CARD: &str = "4111 1111 1111 1111";
const EMAIL: &str = "jane.doe@example.org";

fn attribute(value: Value) -> KeyValue {
    KeyValue { key: "note".to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(place: &str) -> Value {
    Value::StringValue(told(place))
}

fn told(place: &str) -> String {
    format!("{place}: {CARD} of {EMAIL}.")
}

/// A span with both in every place that holds text.
fn everywhere() -> Span {
    let list = ArrayValue { values: vec![AnyValue { value: Some(text("in a list")) }] };
    let map = KeyValueList { values: vec![attribute(text("in a map")), attribute(Value::ArrayValue(list.clone()))] };
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: told("name"),
        attributes: vec![
            attribute(text("attribute")),
            attribute(Value::ArrayValue(list)),
            attribute(Value::KvlistValue(map)),
        ],
        events: vec![Event {
            name: told("event"),
            attributes: vec![attribute(text("of an event"))],
            ..Event::default()
        }],
        links: vec![Link {
            trace_id: vec![3; 16],
            span_id: vec![4; 8],
            attributes: vec![attribute(text("of a link"))],
            ..Link::default()
        }],
        status: Some(Status { message: told("status"), code: 2 }),
        ..Span::default()
    }
}

#[test]
fn secrets_are_found_in_every_place_that_holds_text() {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: vec![attribute(text("of the resource"))], ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    attributes: vec![attribute(text("of the scope"))],
                    name: told("scope"),
                    ..InstrumentationScope::default()
                }),
                spans: vec![everywhere()],
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    };
    let upstream = Sink::start();
    let sluice = Sluice::start(&redacting(&upstream));
    send::all(sluice.grpc(), &[request.encode_to_vec().into()]).unwrap();
    sluice.terminate();
    assert_eq!(upstream.spans(), 1);
    assert!(!upstream.holds(CARD) && !upstream.holds(EMAIL), "{:#?}", upstream.decoded());
}

#[test]
fn a_key_that_is_not_allowed_goes_with_its_value() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream).processor("redaction", "allowed_keys: [waybill.number]"));
    send::all(sluice.grpc(), &Exporter::new(32).requests(4, 20)).unwrap();
    sluice.terminate();
    let keys = upstream.decoded_spans().into_iter().flat_map(|span| span.attributes).map(|attribute| attribute.key);
    let mut keys: Vec<String> = keys.filter(|key| !key.starts_with("redaction.")).collect();
    keys.dedup();
    assert_eq!(keys, ["waybill.number"]);
}

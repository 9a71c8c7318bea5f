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

/// A value for each detector, what must not leave of it, and all of them in one span: the component
/// finds what the native tests do.
const SECRETS: [(&str, &str, &str); 12] = [
    ("payment_card", "paid with 378282246310005", "378282246310005"),
    ("email", "to=jane.doe%40example.org", "jane.doe"),
    ("ipv4", "from 203.0.113.7:8080", "203.0.113.7"),
    ("ipv6", "from [2001:db8::8:800:200c:417a]", "2001:db8::8:800:200c:417a"),
    ("phone", "call +44 20 7946 0018", "7946 0018"),
    ("iban", "iban GB29 NWBK 6016 1331 9268 19", "6016 1331"),
    ("jwt", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UifQ.", "eyJpc3MiOiJqb2UifQ"),
    ("bearer_token", "Authorization: Bearer mF_9.B5f-4.1JqM", "mF_9.B5f-4.1JqM"),
    ("api_key", "use AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("url_credentials", "postgres://app:s3cr3t@db/orders", "s3cr3t"),
    ("url_query_secrets", "/cb?code=SplxlOBeZQQ&state=fine", "SplxlOBeZQQ"),
    ("national_id/US", "ssn 078-05-1120", "078-05-1120"),
];

fn with_secrets() -> ExportTraceServiceRequest {
    let attributes = SECRETS.map(|(_, value, _)| attribute(Value::StringValue(value.to_owned()))).to_vec();
    let trace_state = format!("ot=th:8,vendor={}", SECRETS[0].2);
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "pay".to_owned(),
        attributes,
        trace_state,
        ..Span::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

/// The span of `with_secrets` as it arrives upstream.
fn through(settings: &str) -> (Sink, Span) {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream).processor("redaction", settings));
    send::all(sluice.grpc(), &[with_secrets().encode_to_vec().into()]).unwrap();
    sluice.terminate();
    let span = upstream.decoded_spans().pop().unwrap();
    (upstream, span)
}

#[test]
fn every_detector_works_in_the_sandbox() {
    let names: Vec<_> = SECRETS.iter().map(|(name, _, _)| *name).collect();
    let (upstream, span) = through(&format!("allow_all_keys: true\ndetectors: [{}]", names.join(", ")));
    for (name, _, secret) in SECRETS {
        assert!(!upstream.holds(secret), "{name}: {secret}");
    }
    assert_eq!(span.trace_state, "ot=th:8,vendor=****");
    assert!(upstream.holds("postgres://****@db/orders") && upstream.holds("&state=fine"));
}

/// What `sluice run` does without a configuration.
#[test]
fn the_embedded_default_takes_cards_and_credentials_out() {
    let default = include_str!("../../../host/collector/src/config/default.yaml");
    let settings = "allow_all_keys: true\n    detectors: [payment_card, bearer_token, jwt, url_credentials]\n";
    assert!(default.contains(&format!("redaction:\n    {settings}")), "{default}");
    let (upstream, _) = through(&settings.replace("    ", ""));
    for (name, _, secret) in SECRETS {
        let found = ["payment_card", "bearer_token", "jwt", "url_credentials"].contains(&name);
        assert_eq!(upstream.holds(secret), !found, "{name}");
    }
}

#[test]
fn tokens_are_the_same_in_every_instance() {
    let settings = "allow_all_keys: true\ndetectors: [payment_card]\nmode: tokenise\nhash_key: 0123456789abcdef";
    let (upstream, first) = through(settings);
    let (_, second) = through(settings);
    assert!(!upstream.holds(SECRETS[0].2));
    assert_eq!(first.attributes[0], second.attributes[0]);
    let Some(Value::StringValue(text)) = first.attributes[0].value.clone().and_then(|value| value.value) else {
        unreachable!("{first:?}")
    };
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "paid with 999999999999999");
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

//! Actions on the resources of real batches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use resource::Resource;
use sluice_sdk::testing::{Problem, run};

fn text(key: &str, text: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Two resources with a span each that has the same attributes.
fn request() -> ExportTraceServiceRequest {
    let of = |attributes: Vec<KeyValue>| ResourceSpans {
        scope_spans: vec![ScopeSpans {
            spans: vec![Span {
                trace_id: vec![1; 16],
                span_id: vec![2; 8],
                attributes: attributes.clone(),
                ..Span::default()
            }],
            ..ScopeSpans::default()
        }],
        resource: Some(OtlpResource { attributes, ..OtlpResource::default() }),
        ..ResourceSpans::default()
    };
    let resource_spans = vec![
        of(vec![text("cloud.availability_zone", "zone-1"), text("redundant.a", "1")]),
        of(vec![text("k8s-cluster", "c1"), text("redundant.b", "2")]),
    ];
    ExportTraceServiceRequest { resource_spans }
}

/// The attributes of each resource after the actions. Those of spans stay.
fn after(actions: &str) -> Vec<Vec<KeyValue>> {
    let outcome = run::<Resource>(&format!(r#"{{"attributes": [{actions}]}}"#), &request().encode_to_vec()).unwrap();
    let got = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap().resource_spans;
    for (got, sent) in got.iter().zip(request().resource_spans) {
        assert_eq!(got.scope_spans, sent.scope_spans);
    }
    got.into_iter().map(|got| got.resource.unwrap().attributes).collect()
}

/// The example in the Collector's README.
#[test]
fn the_collector_s_example_does_what_it_says() {
    let actions = r#"{"key": "cloud.availability_zone", "value": "zone-2", "action": "upsert"}, {"key": "k8s.cluster.name", "from_attribute": "k8s-cluster", "action": "insert"}, {"key": "redundant.a", "action": "delete"}"#;
    let expected = [
        vec![text("cloud.availability_zone", "zone-2")],
        vec![
            text("k8s-cluster", "c1"),
            text("redundant.b", "2"),
            text("cloud.availability_zone", "zone-2"),
            text("k8s.cluster.name", "c1"),
        ],
    ];
    assert_eq!(after(actions), expected);
}

/// The hash is that of `sha256sum`.
#[test]
fn the_other_actions_work_on_resources() {
    let actions = r#"{"pattern": "^redundant", "action": "delete"}, {"key": "cloud.availability_zone", "action": "extract", "pattern": "-(?P<zone>\\d)"}, {"key": "zone", "action": "convert", "converted_type": "int"}, {"key": "k8s-cluster", "action": "hash"}"#;
    let zone = KeyValue {
        key: "zone".to_owned(),
        value: Some(AnyValue { value: Some(Value::IntValue(1)) }),
        ..KeyValue::default()
    };
    let expected = [
        vec![text("cloud.availability_zone", "zone-1"), zone],
        vec![text("k8s-cluster", "d0f631ca1ddba8db3bcfcb9e057cdc98d0379f1bee00e75a545147a27dadd982")],
    ];
    assert_eq!(after(actions), expected);
}

/// In the Collector spans without a resource have an empty one.
#[test]
fn spans_without_a_resource_get_one() {
    let mut request = request();
    request.resource_spans.truncate(1);
    request.resource_spans[0].resource = None;
    let config = r#"{"attributes": [{"key": "a", "value": "A", "action": "insert"}, {"key": "b", "from_attribute": "a", "action": "upsert"}]}"#;
    let outcome = run::<Resource>(config, &request.encode_to_vec()).unwrap();
    let got = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap().resource_spans.remove(0);
    assert_eq!(got.resource.unwrap().attributes, [text("a", "A"), text("b", "A")]);
    assert_eq!(got.scope_spans, request.resource_spans[0].scope_spans);
}

#[test]
fn bad_configurations_are_refused_with_their_path() {
    let cases = [
        (r#"{"attributes": []}"#, "attributes", "at least one action"),
        (r#"{"attributes": [{"key": "a", "action": "nope"}]}"#, "attributes[0].action", "unknown action `nope`"),
        (
            r#"{"attributes": [{"key": "a", "action": "insert", "from_context": "metadata.x"}]}"#,
            "attributes[0].from_context",
            "not supported yet",
        ),
        (r#"{"attributes": [{"key": "a", "action": "delete"}], "include": {}}"#, "include", "unknown field"),
    ];
    for (config, path, message) in cases {
        let result = run::<Resource>(config, b"");
        let Err(Problem::Config(errors)) = result else { unreachable!("{config}: {result:?}") };
        assert_eq!(errors[0].path, path, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
}

#[test]
fn only_attributes_of_resources_are_asked_for() {
    let config = r#"{"attributes": [{"key": "u", "action": "upsert", "value": 1}, {"key": "h", "action": "hash"}]}"#;
    let access = run::<Resource>(config, b"").unwrap().access;
    assert_eq!(access.read, ["resources.attributes:h"]);
    assert_eq!(access.write, ["resources.attributes:u", "resources.attributes:h"]);
}

//! Detectors on real batches, with tables as the host makes them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fmt::Write as _;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use resource_detection::ResourceDetection;
use sluice_sdk::testing::{Problem, Stage, run};

fn text(key: &str, text: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// A span of each of these resources.
fn request(resources: &[&[(&str, &str)]]) -> Vec<u8> {
    let span = Span { trace_id: vec![1; 16], span_id: vec![2; 8], ..Span::default() };
    let of = |attributes: &&[(&str, &str)]| ResourceSpans {
        resource: Some(Resource {
            attributes: attributes.iter().map(|(key, value)| text(key, value)).collect(),
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans { spans: vec![span.clone()], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: resources.iter().map(of).collect() }.encode_to_vec()
}

/// The host's table with these facts.
fn host(facts: &[(&str, &str)]) -> String {
    facts.iter().fold("name,value\n".to_owned(), |mut csv, (name, value)| {
        let _ = writeln!(csv, "{name},\"{}\"", value.replace('"', "\"\""));
        csv
    })
}

fn stage(config: &str, facts: &[(&str, &str)]) -> Stage<ResourceDetection> {
    let stage = Stage::new(config).unwrap_or_else(|problem| panic!("{config}: {problem:?}"));
    stage.table("host", &host(facts), "name").unwrap()
}

fn attributes(stage: &mut Stage<ResourceDetection>, request: &[u8]) -> Vec<Vec<(String, String)>> {
    let outcome = stage.process(request).unwrap();
    let got = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap();
    let pair = |attribute: KeyValue| match attribute.value.unwrap().value.unwrap() {
        Value::StringValue(text) => (attribute.key, text),
        other => panic!("{other:?}"),
    };
    let sorted = |resource: ResourceSpans| {
        let mut pairs: Vec<_> = resource.resource.unwrap().attributes.into_iter().map(pair).collect();
        pairs.sort();
        pairs
    };
    got.resource_spans.into_iter().map(sorted).collect()
}

/// The attributes of a resource that came with these.
fn after(config: &str, facts: &[(&str, &str)], resource: &[(&str, &str)]) -> Vec<(String, String)> {
    attributes(&mut stage(config, facts), &request(&[resource])).remove(0)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const MACHINE: &[(&str, &str)] =
    &[("os.type", "linux"), ("host.arch", "amd64"), ("host.name", "edge-1"), ("container.id", "c0ffee")];

#[test]
fn the_environment_is_the_default_and_overrides() {
    let facts = [("env.OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,place=Gen%C3%A8ve")];
    let expected = pairs(&[("deployment.environment.name", "prod"), ("place", "Genève")]);
    for config in ["{}", r#"{"detectors": ["env"]}"#, r#"{"detectors": [" env "], "override": true}"#] {
        assert_eq!(after(config, &facts, &[("place", "Bern")]), expected, "{config}");
    }
}

#[test]
fn what_is_there_can_be_preserved() {
    let facts = [("env.OTEL_RESOURCE_ATTRIBUTES", "a=1,b=2")];
    let mut stage = stage(r#"{"override": false}"#, &facts);
    let got = attributes(&mut stage, &request(&[&[("a", "x")], &[("b", "y")], &[]]));
    assert_eq!(
        got,
        [pairs(&[("a", "x"), ("b", "2")]), pairs(&[("a", "1"), ("b", "y")]), pairs(&[("a", "1"), ("b", "2")])]
    );
}

#[test]
fn the_former_variable_counts_where_the_present_one_is_empty() {
    let former = ("env.OTEL_RESOURCE", "a=former");
    assert_eq!(after("{}", &[former], &[]), pairs(&[("a", "former")]));
    assert_eq!(after("{}", &[("env.OTEL_RESOURCE_ATTRIBUTES", " "), former], &[]), pairs(&[("a", "former")]));
    assert_eq!(after("{}", &[("env.OTEL_RESOURCE_ATTRIBUTES", "a=now"), former], &[]), pairs(&[("a", "now")]));
}

#[test]
fn a_service_name_is_given_to_those_without_one() {
    let own = ("env.OTEL_SERVICE_NAME", "sluice");
    let mut stage = stage("{}", &[own]);
    let got = attributes(&mut stage, &request(&[&[("service.name", "shop")], &[]]));
    assert_eq!(got, [pairs(&[("service.name", "shop")]), pairs(&[("service.name", "sluice")])]);
    // What the attributes say is the Collector's, and overrides.
    let facts = [own, ("env.OTEL_RESOURCE_ATTRIBUTES", "service.name=all")];
    assert_eq!(after("{}", &facts, &[("service.name", "shop")]), pairs(&[("service.name", "all")]));
}

#[test]
fn a_variable_that_cannot_be_read_is_left_out() {
    let facts = [("env.OTEL_RESOURCE_ATTRIBUTES", "a=1,nonsense"), ("host.name", "edge-1"), ("os.type", "linux")];
    let config = r#"{"detectors": ["env", "system"]}"#;
    assert_eq!(after(config, &facts, &[]), pairs(&[("host.name", "edge-1"), ("os.type", "linux")]));
}

#[test]
fn only_allowed_variables_are_taken() {
    let facts = [("env.OTEL_RESOURCE_ATTRIBUTES", "a=1,b=2,c=3"), ("env.OTEL_SERVICE_NAME", "s")];
    assert_eq!(after(r#"{"env": {"allowlist": ["b"]}}"#, &facts, &[]), pairs(&[("b", "2")]));
    assert_eq!(after(r#"{"env": {"allowlist": []}}"#, &facts, &[]), pairs(&[]));
}

#[test]
fn the_system_has_a_name_and_a_type() {
    let config = |system: &str| format!(r#"{{"detectors": ["system"], "system": {{{system}}}}}"#);
    let default = pairs(&[("host.name", "edge-1"), ("os.type", "linux")]);
    assert_eq!(after(&config(""), MACHINE, &[]), default);
    assert_eq!(after(&config(r#""hostname_sources": ["os"]"#), MACHINE, &[]), default);
    let switched = config(
        r#""resource_attributes": {"host.arch": {"enabled": true}, "os.type": {"enabled": false}, "host.id": {"enabled": false}}"#,
    );
    assert_eq!(after(&switched, MACHINE, &[]), pairs(&[("host.arch", "amd64"), ("host.name", "edge-1")]));
}

#[test]
fn docker_has_the_system_s_type_and_container_the_id() {
    assert_eq!(after(r#"{"detectors": ["docker"]}"#, MACHINE, &[]), pairs(&[("os.type", "linux")]));
    assert_eq!(after(r#"{"detectors": ["container"]}"#, MACHINE, &[]), pairs(&[("container.id", "c0ffee")]));
    assert_eq!(after(r#"{"detectors": ["container"]}"#, &MACHINE[..3], &[]), pairs(&[]), "no container");
    let off = r#"{"detectors": ["docker"], "docker": {"resource_attributes": {"os.type": {"enabled": false}, "host.name": {"enabled": false}}}}"#;
    assert_eq!(after(off, MACHINE, &[]), pairs(&[]));
}

#[test]
fn kubernetes_tells_of_the_pod() {
    let config = r#"{"detectors": ["k8s_downward_api"], "k8s_downward_api": {
        "env": {"k8s.node.name": "NODE_NAME", "k8s.cluster.name": "CLUSTER"}, "files": {"k8s.pod.name": "/etc/podinfo/name"},
        "pod_labels": "/etc/podinfo/labels", "labels": ["app", "tier"],
        "pod_annotations": "/etc/podinfo/annotations", "annotations": ["owner"]}}"#;
    let facts = [
        ("env.NODE_NAME", "node-7"),
        ("env.OTEL_RESOURCE_ATTRIBUTES", "not=asked"),
        ("k8s.pod.name", "sluice-x1"),
        ("k8s.pod.label.app", "sluice"),
        ("k8s.pod.label.other", "not asked"),
        ("k8s.pod.annotation.owner", "edge \"team\""),
    ];
    let expected = pairs(&[
        ("k8s.node.name", "node-7"),
        ("k8s.pod.annotation.owner", "edge \"team\""),
        ("k8s.pod.label.app", "sluice"),
        ("k8s.pod.name", "sluice-x1"),
    ]);
    assert_eq!(after(config, &facts, &[]), expected);
}

#[test]
fn the_first_detector_that_knows_an_attribute_counts() {
    let facts = [MACHINE, &[("env.OTEL_RESOURCE_ATTRIBUTES", "host.name=mine,os.type=")]].concat();
    let both = |first: &str, second: &str| after(&format!(r#"{{"detectors": ["{first}", "{second}"]}}"#), &facts, &[]);
    assert_eq!(both("env", "system"), pairs(&[("host.name", "mine"), ("os.type", "")]));
    assert_eq!(both("system", "env"), pairs(&[("host.name", "edge-1"), ("os.type", "linux")]));
}

#[test]
fn only_listed_attributes_are_set() {
    let facts = [MACHINE, &[("env.OTEL_RESOURCE_ATTRIBUTES", "a=1,b=2")]].concat();
    let config = r#"{"detectors": ["env", "system"], "attributes": ["b", "host.name"]}"#;
    assert_eq!(after(config, &facts, &[]), pairs(&[("b", "2"), ("host.name", "edge-1")]));
    assert_eq!(after(r#"{"detectors": ["container"], "attributes": []}"#, &facts, &[]).len(), 1, "none is all");
}

#[test]
fn a_fact_that_has_changed_is_set_from_then_on() {
    let config = r#"{"detectors": ["k8s_downward_api"], "k8s_downward_api": {"pod_labels": "x", "labels": ["app"]}}"#;
    let mut stage = stage(config, &[("k8s.pod.label.app", "old")]);
    assert_eq!(attributes(&mut stage, &request(&[&[]])), [pairs(&[("k8s.pod.label.app", "old")])]);
    let mut stage = stage.table("host", &host(&[("k8s.pod.label.app", "new")]), "name").unwrap();
    assert_eq!(attributes(&mut stage, &request(&[&[]])), [pairs(&[("k8s.pod.label.app", "new")])]);
}

#[test]
fn keys_that_have_nothing_to_do_here_are_taken() {
    let config = r#"{"detectors": ["container"], "timeout": "2s", "refresh_interval": "5m", "fail_on_missing_metadata": true,
        "retry": {"enabled": true, "max_elapsed_time": "2m"}}"#;
    assert_eq!(after(config, MACHINE, &[]), pairs(&[("container.id", "c0ffee")]));
}

#[test]
fn bad_configurations_are_refused_with_their_path() {
    let cases = [
        (r#"{"detectors": ["env", "ec2"]}"#, "detectors[1]", "the detector `ec2` is not supported yet"),
        (r#"{"detectors": ["k8snode"]}"#, "detectors[0]", "is not supported yet"),
        (r#"{"detectors": ["sytem"]}"#, "detectors[0]", "the detector `sytem` is unknown: there are `env`"),
        (r#"{"detectors": []}"#, "detectors", "at least one"),
        (
            r#"{"system": {"hostname_sources": ["os", "dns"]}}"#,
            "system.hostname_sources[1]",
            "the host name source `dns` is not supported yet",
        ),
        (r#"{"system": {"hostname_sources": ["x"]}}"#, "system.hostname_sources[0]", "is unknown"),
        (
            r#"{"system": {"resource_attributes": {"host.ip": {"enabled": true}}}}"#,
            "system.resource_attributes.host.ip",
            "the attribute `host.ip` is not supported yet",
        ),
        (
            r#"{"docker": {"resource_attributes": {"host.name": {"enabled": true}}}}"#,
            "docker.resource_attributes.host.name",
            "not supported yet",
        ),
        (r#"{"ec2": {"tags": []}}"#, "ec2", "unknown field `ec2`"),
        (r#"{"env": {"allow": []}}"#, "env.allow", "unknown field"),
        (r#"{"k8s_downward_api": {"labels": ["app"]}}"#, "k8s_downward_api.labels", "`pod_labels` is missing"),
        (
            r#"{"k8s_downward_api": {"annotations": ["a"]}}"#,
            "k8s_downward_api.annotations",
            "`pod_annotations` is missing",
        ),
        (r#"{"override": "yes"}"#, "override", "boolean"),
    ];
    for (config, path, message) in cases {
        let result = run::<ResourceDetection>(config, b"");
        let Err(Problem::Config(errors)) = result else { panic!("{config}: {result:?}") };
        assert_eq!(errors[0].path, path, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
}

#[test]
fn only_what_may_be_set_is_asked_for() {
    let writes = |config: &str| stage(config, &[]).process(b"").unwrap().access.write;
    assert_eq!(writes("{}"), ["resources.attributes:*"]);
    assert_eq!(writes(r#"{"env": {"allowlist": ["a"]}}"#), ["resources.attributes:a"]);
    let both = r#"{"detectors": ["env", "system"], "attributes": ["os.type", "b"]}"#;
    assert_eq!(writes(both), ["resources.attributes:b", "resources.attributes:os.type"]);
    let access = stage(r#"{"detectors": ["system"]}"#, &[]).process(b"").unwrap().access;
    assert_eq!(access.read, ["tables:host"], "what resources have is not looked at");
    assert_eq!(access.write, ["resources.attributes:host.name", "resources.attributes:os.type"]);
}

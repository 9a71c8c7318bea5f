//! Addresses of real batches, in databases that are written here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use geoip::GeoIp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use sluice_sdk::TableFile;
use sluice_sdk::testing::{Problem, Stage, run};
use sluice_test_mmdb::{Database, Value as Record, array, map};

/// A record of this shape is in `MaxMind`'s documentation of City databases.
fn london() -> Record {
    let named = |name: &str| ("names", map([("de", "x".into()), ("en", name.into())]));
    let region = |code: &str, name: &str| map([("iso_code", code.into()), named(name)]);
    map([
        ("city", map([("geoname_id", 2_643_743.into()), named("London")])),
        ("continent", map([("code", "EU".into()), named("Europe")])),
        ("country", map([("iso_code", "GB".into()), named("United Kingdom")])),
        (
            "location",
            map([("latitude", 51.5142.into()), ("longitude", (-0.0931).into()), ("time_zone", "Europe/London".into())]),
        ),
        ("postal", map([("code", "EC1A".into())])),
        ("subdivisions", array([region("ENG", "England"), region("WSM", "Westminster")])),
    ])
}

/// A record that knows the country, half a position, and a city without a name in English.
fn sparse() -> Record {
    map([
        ("city", map([("names", map([("de", "Genf".into())]))])),
        ("country", map([("iso_code", "CH".into()), ("names", map([("en", "".into())]))])),
        ("location", map([("latitude", 46.5.into())])),
    ])
}

fn city() -> Vec<u8> {
    Database::new("GeoLite2-City")
        .network("81.2.69.0/24", london())
        .network("2001:db8:1::/48", london())
        .network("203.0.113.0/24", sparse())
        .bytes()
}

fn asn() -> Vec<u8> {
    let record =
        map([("autonomous_system_number", 1221.into()), ("autonomous_system_organization", "Telstra Pty Ltd".into())]);
    Database::new("GeoLite2-ASN").network("1.128.0.0/11", record).bytes()
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    key_value(key, Value::StringValue(text.to_owned()))
}

/// One resource, and a span for each list of attributes.
fn request(resource: Vec<KeyValue>, spans: &[Vec<KeyValue>]) -> ExportTraceServiceRequest {
    let span = |attributes: &Vec<KeyValue>| Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        attributes: attributes.clone(),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: spans.iter().map(span).collect(), ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes: resource, ..Resource::default() });
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
}

/// What the processor with these further keys makes of a request.
fn after(database: &[u8], keys: &str, request: &ExportTraceServiceRequest) -> ResourceSpans {
    let config = format!(r#"{{"providers": {{"maxmind": {{"database_path": "x.mmdb"}}}}{keys}}}"#);
    let mut stage = Stage::<GeoIp>::new(&config).unwrap().database("maxmind", database).unwrap();
    let outcome = stage.process(&request.encode_to_vec()).unwrap();
    ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap().resource_spans.remove(0)
}

/// What is new in each span, sorted by key.
fn added(database: &[u8], keys: &str, spans: &[Vec<KeyValue>]) -> Vec<Vec<KeyValue>> {
    let request = request(vec![], spans);
    let after = after(database, keys, &request);
    let of_span = |(span, sent): (&Span, &Vec<KeyValue>)| {
        let mut new = span.attributes.clone();
        assert_eq!(new.drain(..sent.len()).as_slice(), sent.as_slice());
        new.sort_by(|left, right| left.key.cmp(&right.key));
        new
    };
    after.scope_spans[0].spans.iter().zip(spans).map(of_span).collect()
}

fn all_of_london() -> Vec<KeyValue> {
    vec![
        text("geo.city_name", "London"),
        text("geo.continent.code", "EU"),
        text("geo.continent_name", "Europe"),
        text("geo.country.iso_code", "GB"),
        text("geo.country_name", "United Kingdom"),
        key_value("geo.location.lat", Value::DoubleValue(51.5142)),
        key_value("geo.location.lon", Value::DoubleValue(-0.0931)),
        text("geo.postal_code", "EC1A"),
        text("geo.region.iso_code", "WSM"),
        text("geo.region_name", "Westminster"),
        text("geo.timezone", "Europe/London"),
    ]
}

const RECORD: &str = r#", "context": "record""#;

#[test]
fn a_city_database_gives_the_collector_s_attributes() {
    let spans = [
        vec![text("client.address", "81.2.69.142")],
        vec![text("client.address", "2001:db8:1:2::3")],
        // The same address in IPv6's clothes.
        vec![text("client.address", "::ffff:81.2.69.142")],
    ];
    assert_eq!(added(&city(), RECORD, &spans), [all_of_london(), all_of_london(), all_of_london()]);
}

#[test]
fn the_database_is_the_file_that_the_configuration_names() {
    let stage = Stage::<GeoIp>::new(r#"{"providers": {"maxmind": {"database_path": "x/City.mmdb"}}}"#).unwrap();
    assert_eq!(stage.files(), [TableFile::mmdb("maxmind", "x/City.mmdb")]);
}

#[test]
fn what_a_record_does_not_know_is_not_set() {
    let spans = [vec![text("client.address", "203.0.113.1")], vec![text("client.address", "192.0.2.1")]];
    assert_eq!(added(&city(), RECORD, &spans), [vec![text("geo.country.iso_code", "CH")], vec![]]);
}

#[test]
fn an_asn_database_gives_the_operator() {
    let expected = vec![key_value("as.number", Value::IntValue(1221)), text("as.organization.name", "Telstra Pty Ltd")];
    assert_eq!(added(&asn(), RECORD, &[vec![text("client.address", "1.128.0.1")]]), [expected]);
}

#[test]
fn the_context_is_the_resource_unless_told_otherwise() {
    let sent = request(vec![text("source.address", "81.2.69.1")], &[vec![text("client.address", "81.2.69.1")]]);
    for keys in ["", r#", "context": "resource""#, r#", "context": "Resource""#] {
        let got = after(&city(), keys, &sent);
        let mut resource = got.resource.unwrap().attributes;
        assert_eq!(resource.remove(0), text("source.address", "81.2.69.1"));
        resource.sort_by(|left, right| left.key.cmp(&right.key));
        assert_eq!(resource, all_of_london());
        assert_eq!(got.scope_spans, sent.resource_spans[0].scope_spans, "spans stay as they are");
    }
    let got = after(&city(), RECORD, &sent);
    assert_eq!(got.resource, sent.resource_spans[0].resource);
    assert_eq!(got.scope_spans[0].spans[0].attributes.len(), 12);
}

#[test]
fn the_first_attribute_with_an_address_counts() {
    let (here, there) = ("81.2.69.1", "203.0.113.1");
    let country = |attributes: Vec<KeyValue>, keys: &str| {
        let added = added(&city(), &format!("{RECORD}{keys}"), &[attributes]).remove(0);
        added.into_iter().find(|added| added.key == "geo.country.iso_code")
    };
    let (gb, ch) = (Some(text("geo.country.iso_code", "GB")), Some(text("geo.country.iso_code", "CH")));
    let both = |client, source| vec![text("source.address", source), text("client.address", client)];
    assert_eq!(country(both(here, there), ""), gb);
    assert_eq!(country(both(there, here), ""), ch);
    // A name, nobody's address, an address with a port, a number: none of them is an address.
    for client in ["shop.example", "0.0.0.0", "::", "81.2.69.1:80", "081.2.69.1", ""] {
        assert_eq!(country(both(client, there), ""), ch, "{client}");
    }
    let number = vec![key_value("client.address", Value::IntValue(1)), text("source.address", there)];
    assert_eq!(country(number, ""), ch);
    let own = r#", "attributes": ["net.peer.ip", "client.address"]"#;
    assert_eq!(country(vec![text("client.address", here), text("net.peer.ip", there)], own), ch);
    assert_eq!(country(vec![text("source.address", here)], own), None);
}

#[test]
fn what_was_there_is_replaced() {
    let sent = vec![text("client.address", "81.2.69.1"), text("geo.country.iso_code", "XX"), text("geo.asn", "kept")];
    let got = after(&city(), RECORD, &request(vec![], &[sent]));
    let attributes = &got.scope_spans[0].spans[0].attributes;
    let of = |key: &str| attributes.iter().filter(|one| one.key == key).cloned().collect::<Vec<_>>();
    assert_eq!(of("geo.country.iso_code"), [text("geo.country.iso_code", "GB")]);
    assert_eq!(of("geo.asn"), [text("geo.asn", "kept")]);
}

#[test]
fn every_span_gets_its_own_place() {
    let addresses = ["203.0.113.1", "81.2.69.1", "203.0.113.1", "none", "203.0.113.2", "81.2.69.1"];
    let spans = addresses.map(|address| vec![text("client.address", address)]);
    let countries: Vec<_> = added(&city(), RECORD, &spans)
        .into_iter()
        .map(|added| added.into_iter().find(|added| added.key == "geo.country.iso_code").and_then(|one| one.value))
        .collect();
    let code = |code: &str| text("", code).value;
    assert_eq!(countries, [code("CH"), code("GB"), code("CH"), None, code("CH"), code("GB")]);
}

#[test]
fn bad_configurations_are_refused_with_their_path() {
    let maxmind = r#""providers": {"maxmind": {"database_path": "x"}}"#;
    let cases = [
        ("{}".to_owned(), "", "missing field `providers`"),
        (r#"{"providers": {}}"#.to_owned(), "providers", "missing field `maxmind`"),
        (r#"{"providers": {"maxmind": {}}}"#.to_owned(), "providers.maxmind", "missing field `database_path`"),
        (
            r#"{"providers": {"maxmind": {"database_path": ""}}}"#.to_owned(),
            "providers.maxmind.database_path",
            "the path",
        ),
        (r#"{"providers": {"geo": {}}}"#.to_owned(), "providers.geo", "unknown field `geo`"),
        (
            r#"{"providers": {"maxmind": {"database_path": "x", "database_type": "asn"}}}"#.to_owned(),
            "providers.maxmind.database_type",
            "unknown field",
        ),
        (format!(r#"{{{maxmind}, "context": "span"}}"#), "context", "there are `resource` and `record`"),
        (format!(r#"{{{maxmind}, "attributes": []}}"#), "attributes", "at least one"),
        (format!(r#"{{{maxmind}, "refresh": 1}}"#), "refresh", "unknown field `refresh`"),
    ];
    for (config, path, message) in cases {
        let result = run::<GeoIp>(&config, b"");
        let Err(Problem::Config(errors)) = result else { panic!("{config}: {result:?}") };
        assert_eq!(errors[0].path, path, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
}

#[test]
fn only_what_is_needed_is_asked_for() {
    let config = r#"{"providers": {"maxmind": {"database_path": "x"}}, "context": "record", "attributes": ["ip"]}"#;
    let access = run::<GeoIp>(config, b"").unwrap().access;
    assert_eq!(access.read, ["spans.attributes:ip", "tables:maxmind"]);
    assert_eq!(access.write.len(), 13);
    let ours = |grant: &String| grant.starts_with("spans.attributes:geo.") || grant.starts_with("spans.attributes:as.");
    assert!(access.write.iter().all(ours), "{:?}", access.write);
}

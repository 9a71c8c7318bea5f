use std::time::Duration;

use sluice_sdk::testing::{Problem, Stage};

use crate::Waybill;

fn wrap(key: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![key];
    let mut len = body.len();
    while len > 127 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    [&out, body].concat()
}

/// A span of a trace with attributes, as an OTLP request holds it: attributes are field 9, and a
/// string is field 1 of its value.
fn span(trace: u8, attributes: &[(&str, &str)]) -> Vec<u8> {
    let mut span = [wrap(0x0a, &[trace; 16]), wrap(0x12, &[2; 8])].concat();
    for (key, value) in attributes {
        let value = wrap(0x12, &wrap(0x0a, value.as_bytes()));
        span.extend(wrap(0x4a, &[wrap(0x0a, key.as_bytes()), value].concat()));
    }
    wrap(0x12, &span)
}

/// Resource, scope and span are field 1, 2 and 2 of what encloses them.
fn request(spans: &[Vec<u8>]) -> Vec<u8> {
    wrap(0x0a, &wrap(0x12, &spans.concat()))
}

fn stage(config: &str) -> Stage<Waybill> {
    Stage::new(config).unwrap().table("watch", "waybill,why\nWB-1,insured\nWB-2,\n", "waybill").unwrap()
}

/// How many spans leave with this text.
fn marked(wire: &[u8], text: &str) -> usize {
    wire.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
}

const NUMBER: &str = "waybill.number";

#[test]
fn all_spans_of_a_watched_waybills_trace_are_marked() {
    let spans = [span(1, &[]), span(2, &[]), span(1, &[(NUMBER, "WB-1")]), span(2, &[(NUMBER, "WB-9")])];
    let outcome = stage("{}").process(&request(&spans)).unwrap();
    assert_eq!(outcome.edited, 2);
    for (text, times) in [("waybill.trail", 2), ("insured", 2), ("sampling.priority", 2), ("WB-1", 3), ("WB-9", 1)] {
        assert_eq!(marked(&outcome.wire, text), times, "{text}");
    }
}

#[test]
fn what_is_not_watched_stays_byte_for_byte() {
    let spans = request(&[span(1, &[(NUMBER, "WB-9")]), span(2, &[(NUMBER, "")]), span(3, &[])]);
    assert_eq!(stage("{}").process(&spans).unwrap().wire, spans);
}

#[test]
fn nobody_has_to_say_why() {
    let outcome = stage("{}").process(&request(&[span(1, &[(NUMBER, "WB-2")])])).unwrap();
    assert_eq!(
        (outcome.edited, marked(&outcome.wire, "waybill.trail"), marked(&outcome.wire, "waybill.why")),
        (1, 1, 0)
    );
}

#[test]
fn later_spans_of_the_trace_are_marked_for_some_time() {
    let mut stage = stage(r#"{"remember": 60}"#);
    stage.process(&request(&[span(1, &[(NUMBER, "WB-1")])])).unwrap();
    let mut edited = || stage.process(&request(&[span(1, &[]), span(2, &[])])).unwrap().edited;
    assert_eq!(edited(), 1);
    stage.advance(Duration::from_secs(61));
    let edited = stage.process(&request(&[span(1, &[])])).unwrap().edited;
    assert_eq!(edited, 0);
}

#[test]
fn a_request_that_is_refused_leaves_no_trail() {
    let mut stage = stage("{}");
    stage.process_refused(&request(&[span(1, &[(NUMBER, "WB-1")])])).unwrap();
    assert_eq!(stage.process(&request(&[span(1, &[])])).unwrap().edited, 0);
}

#[test]
fn the_watch_list_is_replaced_while_spans_flow() {
    let mut stage = stage("{}");
    assert_eq!(stage.process(&request(&[span(1, &[(NUMBER, "WB-7")])])).unwrap().edited, 0);
    let mut stage = stage.table("watch", "waybill,why\nWB-7,found\n", "waybill").unwrap();
    assert_eq!(stage.process(&request(&[span(1, &[(NUMBER, "WB-7")])])).unwrap().edited, 1);
    assert_eq!(stage.process(&request(&[span(2, &[(NUMBER, "WB-1")])])).unwrap().edited, 0);
}

#[test]
fn numbers_can_stand_in_the_configuration() {
    let mut stage = Stage::<Waybill>::new(r#"{"watch": ["WB-5"], "table": ""}"#).unwrap();
    let outcome = stage.process(&request(&[span(1, &[(NUMBER, "WB-5")])])).unwrap();
    assert_eq!((outcome.edited, marked(&outcome.wire, "configured")), (1, 1));
    assert!(!outcome.access.read.iter().any(|grant| grant.starts_with("tables:")), "it asks for no table");
}

#[test]
fn stations_are_counted_without_harm_to_spans() {
    let mut stage = stage("{}");
    let spans = [span(1, &[(NUMBER, "WB-1"), ("station.id", "GVA")]), span(1, &[("station.id", "BRN")])];
    for _ in 0..2 {
        assert_eq!(stage.process(&request(&spans)).unwrap().edited, 2);
    }
}

#[test]
fn bad_configurations_are_refused_with_their_path() {
    for (config, path) in
        [(r#"{"table": ""}"#, "watch"), (r#"{"remember": 0}"#, "remember"), (r#"{"tabel": ""}"#, "tabel")]
    {
        match Stage::<Waybill>::new(config).map(drop) {
            Err(Problem::Config(problems)) => assert_eq!(problems[0].path, path, "{config}"),
            other => panic!("{config}: {other:?}"),
        }
    }
}

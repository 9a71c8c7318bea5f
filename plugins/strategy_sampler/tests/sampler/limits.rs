//! Limits of traces a second.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;

use crate::{LUCKY, kept, left, request, span, stage};

fn config(rate: f64, more: &str) -> String {
    format!(r#"{{"strategies": {{"default_strategy": {{"type": "ratelimiting", "param": {rate}}}}}{more}}}"#)
}

/// Spans of so many traces, from this one on.
fn traces(from: u128, count: u128) -> Vec<Span> {
    (from..from + count).map(|trace| span(trace, "work")).collect()
}

#[test]
fn a_service_gets_its_traces_a_second() {
    let mut stage = stage(&config(100.0, ""));
    let mut kept = Vec::new();
    // 1,000 traces a second for 10 seconds, in requests of 50. The bucket is full at first.
    for tick in 0..200_u128 {
        let outcome = stage.process(&request(&[("shop", traces(1 + tick * 50, 50))])).unwrap();
        kept.push(50 - outcome.dropped);
        stage.advance(Duration::from_millis(50));
    }
    let first: u32 = kept[..20].iter().sum();
    assert_eq!(first, 100 + 95, "the bucket, and 5 after each of the 19 pauses");
    let seconds: Vec<u32> = kept[20..].chunks(20).map(|second| second.iter().sum()).collect();
    assert_eq!(seconds, [100; 9]);
}

#[test]
fn each_service_has_a_limit_of_its_own() {
    let services = [("a", traces(1, 10)), ("b", traces(1, 10)), ("c", traces(1, 10))];
    let config = r#"{"strategies": {
        "service_strategies": [
            {"service": "a", "type": "ratelimiting", "param": 2},
            {"service": "b", "type": "ratelimiting", "param": 3}],
        "default_strategy": {"type": "ratelimiting", "param": 0.1}}}"#;
    assert_eq!(kept(config, &services).len(), 2 + 3 + 1, "however small the rate, one comes through");
}

#[test]
fn a_limit_of_nothing_keeps_nothing() {
    assert_eq!(kept(&config(0.0, ""), &[("shop", traces(1, 10))]), [""; 0]);
}

#[test]
fn a_trace_costs_one_token_however_many_spans_it_has() {
    let spans = vec![span(1, "a"), span(2, "b"), span(1, "c"), span(3, "d"), span(2, "e"), span(1, "f")];
    assert_eq!(kept(&config(2.0, ""), &[("shop", spans)]), ["a", "b", "c", "e", "f"]);
}

#[test]
fn what_comes_later_of_a_trace_meets_the_same_decision() {
    let mut stage = stage(&config(1.0, ""));
    let mut names = |spans| {
        let outcome = stage.process(&request(&[("shop", spans)])).unwrap();
        stage.advance(Duration::from_secs(5));
        left(&outcome).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(vec![span(1, "a"), span(2, "b")]), ["a"]);
    // There are tokens again, but these traces have been decided on.
    assert_eq!(names(vec![span(2, "c")]), [""; 0]);
    assert_eq!(names(vec![span(1, "d"), span(2, "d")]), ["d"]);
    assert_eq!(names(vec![span(3, "e")]), ["e"]);
}

#[test]
fn decisions_are_forgotten_after_their_time() {
    for (ttl, later) in [("10s", 0), ("4s", 1), ("0s", 1)] {
        let mut stage = stage(&config(1.0, &format!(r#", "decision_ttl": "{ttl}""#)));
        let outcome = stage.process(&request(&[("shop", vec![span(1, "a"), span(2, "b")])])).unwrap();
        assert_eq!(outcome.dropped, 1);
        stage.advance(Duration::from_secs(5));
        let outcome = stage.process(&request(&[("shop", vec![span(2, "c")])])).unwrap();
        assert_eq!(1 - outcome.dropped, later, "{ttl}");
    }
}

#[test]
fn a_request_that_is_refused_costs_no_tokens_and_leaves_no_decision() {
    let mut stage = stage(&config(1.0, ""));
    for trace in 1..5 {
        let outcome = stage.process_refused(&request(&[("shop", traces(trace, 2))])).unwrap();
        assert_eq!(outcome.dropped, 1);
    }
    let outcome = stage.process(&request(&[("shop", vec![span(2, "b")])])).unwrap();
    assert_eq!(outcome.dropped, 0, "trace 2 was not let through before, but that did not count");
}

/// A limit keeps with a probability that nobody knows (OTEP 235: erase the threshold).
#[test]
fn what_a_limit_keeps_says_no_probability() {
    let cases = [
        ("ot=th:8", ""),
        ("ot=rv:90000000000000;th:8,a=b", "ot=rv:90000000000000,a=b"),
        ("a=b", "a=b"),
        ("", ""),
        ("not a tracestate", "not a tracestate"),
    ];
    for (arriving, expected) in cases {
        let mut lucky = span(LUCKY, "lucky");
        arriving.clone_into(&mut lucky.trace_state);
        let outcome = stage(&config(5.0, "")).process(&request(&[("shop", vec![lucky])])).unwrap();
        assert_eq!(left(&outcome), [("lucky".to_owned(), expected.to_owned())]);
    }
}

#[test]
fn a_full_store_costs_the_memory_of_decisions_and_no_spans() {
    // Room for the bucket and a few decisions.
    let mut stage = stage(&config(10.0, "")).store_bytes(2_000);
    let outcome = stage.process(&request(&[("shop", traces(1, 20))])).unwrap();
    assert_eq!(outcome.dropped, 10);
    stage.advance(Duration::from_secs(1));
    let outcome = stage.process(&request(&[("shop", traces(11, 10))])).unwrap();
    assert_eq!(outcome.dropped, 0, "nobody remembers that they were dropped");
}

#[test]
fn services_with_names_of_any_length_have_a_limit() {
    let long = "x".repeat(5_000);
    assert_eq!(kept(&config(3.0, ""), &[(long.as_str(), traces(1, 5))]).len(), 3);
}

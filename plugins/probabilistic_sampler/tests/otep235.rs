//! Consistent probability sampling as OTEP 235 and the specification that came of it describe it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use probabilistic_sampler::ProbabilisticSampler;
use prost::Message;
use sluice_sdk::testing::run;

/// The trace id of W3C Trace Context's examples. Its last 56 bits are ce929d0e0e4736.
const W3C: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const HIGHEST: &str = "000000000000000000ffffffffffffff";

/// The tracestate with which a span leaves, if it does.
fn sampled(mode: &str, percentage: f64, more: &str, id: &str, state: &str) -> Option<String> {
    let trace_id = u128::from_str_radix(id, 16).unwrap().to_be_bytes().to_vec();
    let span = Span { trace_id, span_id: vec![1; 8], trace_state: state.to_owned(), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let wire = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let config = format!(r#"{{"mode": "{mode}", "sampling_percentage": {percentage}{more}}}"#);
    let outcome = run::<ProbabilisticSampler>(&config, &wire).expect("it samples");
    let left = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap();
    let mut scopes = left.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.next()?.spans.pop().map(|span| span.trace_state)
}

fn both(percentage: f64, id: &str, state: &str) -> [Option<String>; 2] {
    ["equalizing", "proportional"].map(|mode| sampled(mode, percentage, "", id, state))
}

#[test]
fn probabilities_have_their_published_thresholds() {
    let cases =
        [(100.0, "0"), (50.0, "8"), (25.0, "c"), (10.0, "e666"), (1.0, "fd70a"), (0.1, "ffbe77"), (0.01, "fff9724")];
    for (percentage, th) in cases {
        let expected = Some(format!("ot=th:{th}"));
        assert_eq!(both(percentage, HIGHEST, ""), [expected.clone(), expected], "{percentage} %");
    }
}

#[test]
fn a_span_is_kept_if_its_randomness_is_at_least_the_threshold() {
    let cases = [
        ("000000000000000000c0000000000000", true),
        ("000000000000000000bfffffffffffff", false),
        // The high bits of an id do not count.
        ("ffffffffffffffffffbfffffffffffff", false),
        ("ffffffffffffffffff00000000000000", false),
        (W3C, true),
    ];
    for (id, kept) in cases {
        let expected = kept.then(|| "ot=th:c".to_owned());
        assert_eq!(both(25.0, id, ""), [expected.clone(), expected], "{id}");
    }
}

#[test]
fn explicit_randomness_comes_before_the_trace_id_and_is_never_changed() {
    let cases = [
        ("ot=rv:c0000000000000", Some("ot=rv:c0000000000000;th:c")),
        ("ot=rv:bfffffffffffff", None),
        ("ot=zz:a.b-c_d;rv:d29d6a7215ced0", Some("ot=rv:d29d6a7215ced0;th:c;zz:a.b-c_d")),
    ];
    for (state, expected) in cases {
        let expected = expected.map(str::to_owned);
        assert_eq!(both(25.0, HIGHEST, state), [expected.clone(), expected], "{state}");
    }
}

#[test]
fn a_threshold_is_raised_or_stays() {
    // Arriving; after an equalizing and after a proportional sampler of 50 %.
    let cases = [
        ("ot=th:0", "ot=th:8", "ot=th:8"),
        ("ot=th:8", "ot=th:8", "ot=th:c"),
        ("ot=th:c", "ot=th:c", "ot=th:e"),
        ("ot=th:e", "ot=th:e", "ot=th:f"),
        // Trailing zeros may be there; they are not written.
        ("ot=th:80000000000000", "ot=th:8", "ot=th:c"),
        ("ot=th:c0", "ot=th:c", "ot=th:e"),
    ];
    for (state, equalizing, proportional) in cases {
        let expected = [equalizing, proportional].map(|state| Some(state.to_owned()));
        assert_eq!(both(50.0, HIGHEST, state), expected, "{state}");
    }
}

/// The smallest probability is 2^-56: half of it cannot be told, and nothing is kept.
#[test]
fn nothing_is_kept_below_the_smallest_probability() {
    let smallest = "ot=th:ffffffffffffff";
    assert_eq!(both(50.0, HIGHEST, smallest), [Some(smallest.to_owned()), None]);
}

#[test]
fn what_is_malformed_is_dropped_or_left_as_it_is() {
    let long = format!("ot=zz:{}", "a".repeat(254));
    let malformed = [
        "ot=th:",
        "ot=th:g",
        "ot=th:0x8",
        "ot=th:-8",
        "ot=th:800000000000000",
        "ot=rv:",
        "ot=rv:8000000000000",
        "ot=rv:800000000000000",
        "ot=rv:8000000000000g",
        "ot=th:8;rv",
        "ot=th=8",
        "ot=th:8;",
        "ot=;th:8",
        "ot=th:8:9",
        "ot=TH:8",
        "ot=th:8 ;rv:ffffffffffffff",
        "ot=",
        "ot",
        &long,
    ];
    for state in malformed {
        for mode in ["equalizing", "proportional", "hash_seed"] {
            assert_eq!(sampled(mode, 100.0, "", HIGHEST, state), None, "{mode} {state}");
            let open = sampled(mode, 0.0001, r#", "fail_closed": false"#, HIGHEST, state);
            assert_eq!(open.as_deref(), Some(state), "{mode} {state}");
        }
    }
}

#[test]
fn randomness_below_the_arriving_threshold_makes_it_untrue() {
    for state in ["ot=th:d", "ot=th:8;rv:7fffffffffffff"] {
        assert_eq!(both(100.0, W3C, state), [None, None], "{state}");
    }
    let open = sampled("equalizing", 50.0, r#", "fail_closed": false"#, W3C, "ot=th:d");
    assert_eq!(open.as_deref(), Some("ot=th:0"), "as the Collector has it: what is kept for being unclear counts one");
}

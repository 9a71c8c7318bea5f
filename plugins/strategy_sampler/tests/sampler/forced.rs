//! Traces that ask to be kept.

use opentelemetry_proto::tonic::trace::v1::Span;

use crate::{HALF, LUCKY, UNLUCKY, asking, kept, left, request, span, stage, text};

const NOTHING: &str = r#"{"strategies": {"default_strategy": {"type": "const", "param": 0}}}"#;

#[test]
fn priority_debug_and_envoys_reason_force_a_trace() {
    let with = |key: &str, value: &str| Span { attributes: vec![text(key, value)], ..span(UNLUCKY, "asks") };
    let request_id = "guid:x-request-id";
    let cases = [
        (asking(1, span(UNLUCKY, "asks")), true),
        (asking(0, span(UNLUCKY, "asks")), false),
        (asking(-1, span(UNLUCKY, "asks")), false),
        (with("sampling.priority", "1"), true),
        (with("jaeger-debug-id", "case-17"), true),
        (with("jaeger-debug-id", ""), false),
        // The digit after the second dash: 4 is any UUID, 9 sampled, a and b forced.
        (with(request_id, "2c6eb8de-5d0f-4b1a-8f43-0c7d4c8fcd3a"), false),
        (with(request_id, "2c6eb8de-5d0f-9b1a-8f43-0c7d4c8fcd3a"), false),
        (with(request_id, "2c6eb8de-5d0f-ab1a-8f43-0c7d4c8fcd3a"), true),
        (with(request_id, "2c6eb8de-5d0f-bb1a-8f43-0c7d4c8fcd3a"), true),
    ];
    for (span, forced) in cases {
        let attributes = format!("{:?}", span.attributes);
        assert_eq!(kept(NOTHING, &[("shop", vec![span])]).len(), usize::from(forced), "{attributes}");
    }
}

#[test]
fn all_spans_of_a_forced_trace_are_kept_whatever_their_service() {
    let services = [
        ("shop", vec![span(HALF, "a"), span(UNLUCKY, "b")]),
        ("bank", vec![asking(1, span(HALF, "c")), span(UNLUCKY, "d")]),
        ("post", vec![span(HALF, "e")]),
    ];
    assert_eq!(kept(NOTHING, &services), ["a", "c", "e"]);
}

#[test]
fn later_spans_of_a_forced_trace_are_kept() {
    let mut stage = stage(NOTHING);
    let mut names = |spans| {
        let outcome = stage.process(&request(&[("shop", spans)])).unwrap();
        left(&outcome).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(vec![span(HALF, "early")]), [""; 0]);
    assert_eq!(names(vec![asking(1, span(HALF, "asks"))]), ["asks"]);
    assert_eq!(names(vec![span(HALF, "late"), span(UNLUCKY, "other")]), ["late"]);
}

#[test]
fn a_span_that_asks_to_be_dropped_is_dropped_of_a_forced_trace_too() {
    let everything = r#"{"strategies": {"default_strategy": {"type": "const", "param": 1}}}"#;
    let spans = vec![asking(0, span(HALF, "quiet")), asking(1, span(HALF, "loud")), span(HALF, "other")];
    assert_eq!(kept(everything, &[("shop", spans)]), ["loud", "other"]);
}

#[test]
fn forced_traces_take_no_tokens() {
    let config = r#"{"strategies": {"default_strategy": {"type": "ratelimiting", "param": 1}}}"#;
    let spans = vec![asking(1, span(1, "a")), asking(1, span(2, "b")), span(1, "c"), span(3, "d"), span(4, "e")];
    assert_eq!(kept(config, &[("shop", spans)]), ["a", "b", "c", "d"]);
}

/// They are kept with certainty among those that ask: a threshold that arrives is as true as before.
#[test]
fn forced_spans_count_as_they_came() {
    for (arriving, expected) in [("", "ot=th:0"), ("ot=th:c", "ot=th:c"), ("a=b", "ot=th:0,a=b")] {
        let mut lucky = asking(1, span(LUCKY, "lucky"));
        arriving.clone_into(&mut lucky.trace_state);
        let outcome = stage(NOTHING).process(&request(&[("shop", vec![lucky])])).unwrap();
        assert_eq!(left(&outcome), [("lucky".to_owned(), expected.to_owned())]);
    }
}

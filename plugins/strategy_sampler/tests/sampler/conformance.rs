//! Each key of a Jaeger strategies file.

use crate::{HALF, LUCKY, UNLUCKY, kept, left, problems, request, span, stage};

/// Spans of one service with these traces, named after them.
fn three() -> Vec<opentelemetry_proto::tonic::trace::v1::Span> {
    vec![span(HALF, "half"), span(LUCKY, "lucky"), span(UNLUCKY, "unlucky")]
}

#[test]
fn const_keeps_all_or_none() {
    let config = |param| format!(r#"{{"strategies": {{"default_strategy": {{"type": "const", "param": {param}}}}}}}"#);
    assert_eq!(kept(&config("1"), &[("shop", three())]), ["half", "lucky", "unlucky"]);
    assert_eq!(kept(&config("0"), &[("shop", three())]), [""; 0]);
}

#[test]
fn probabilistic_keeps_a_share_and_says_so() {
    let config = r#"{"strategies": {"default_strategy": {"type": "probabilistic", "param": 0.5}}}"#;
    let outcome = stage(config).process(&request(&[("shop", three())])).unwrap();
    let expected = [("half", "ot=th:8"), ("lucky", "ot=th:8")];
    assert_eq!(left(&outcome), expected.map(|(name, state)| (name.to_owned(), state.to_owned())));
}

/// The default is Jaeger's: 0.001, a threshold of `ffbe77` (OTEP 235's own example).
#[test]
fn without_a_default_strategy_one_in_a_thousand_is_kept() {
    let outcome = stage(r#"{"strategies": {}}"#).process(&request(&[("shop", three())])).unwrap();
    assert_eq!(left(&outcome), [("lucky".to_owned(), "ot=th:ffbe77".to_owned())]);
}

#[test]
fn a_service_has_its_own_strategy() {
    let config = r#"{"strategies": {
        "service_strategies": [
            {"service": "bank", "type": "probabilistic", "param": 1},
            {"service": "noise", "type": "probabilistic", "param": 0}],
        "default_strategy": {"type": "probabilistic", "param": 0.4}}}"#;
    for (service, expected) in [("bank", 3), ("noise", 0), ("shop", 1), ("", 1)] {
        assert_eq!(kept(config, &[(service, three())]).len(), expected, "{service}");
    }
    // All of them in one request.
    let all = [("noise", three()), ("bank", three()), ("shop", three())];
    assert_eq!(kept(config, &all), ["half", "lucky", "unlucky", "lucky"]);
}

/// The file of Jaeger's documentation: `foo` has operations of its own, and those of the default
/// strategy hold for every service that does not name them itself.
#[test]
fn operations_have_strategies_of_their_service_or_of_all() {
    let config = r#"{"strategies": {
        "service_strategies": [
            {"service": "foo", "type": "probabilistic", "param": 0.8, "operation_strategies": [
                {"operation": "op1", "type": "probabilistic", "param": 0.2},
                {"operation": "op2", "type": "probabilistic", "param": 0.4}]},
            {"service": "bar", "type": "ratelimiting", "param": 5},
            {"service": "baz", "type": "const", "param": 1, "operation_strategies": [
                {"operation": "/health", "type": "const", "param": 1}]}],
        "default_strategy": {"type": "probabilistic", "param": 0.5, "operation_strategies": [
            {"operation": "/health", "type": "probabilistic", "param": 0.0},
            {"operation": "/metrics", "type": "probabilistic", "param": 0.0}]}}}"#;
    let states = |service, operation| {
        let spans = vec![span(LUCKY, operation)];
        left(&stage(config).process(&request(&[(service, spans)])).unwrap()).pop().map(|(_, state)| state)
    };
    // 0.8, 0.2 and 0.4 with four digits: 0.2 * 16^4 = 13107.2, 0.8 * 16^4 = 52428.8, 0.6 * 16^4 = 39321.6.
    let cases = [
        ("foo", "op1", Some("ot=th:cccd")),
        ("foo", "op2", Some("ot=th:999a")),
        ("foo", "op3", Some("ot=th:3333")),
        ("foo", "/health", None),
        ("bar", "op1", Some("")),
        ("bar", "/metrics", None),
        ("baz", "/health", Some("ot=th:0")),
        ("baz", "/metrics", None),
        ("qux", "op1", Some("ot=th:8")),
        ("qux", "/health", None),
    ];
    for (service, operation, expected) in cases {
        assert_eq!(states(service, operation).as_deref(), expected, "{service} {operation}");
    }
}

#[test]
fn the_precision_of_thresholds_can_be_set() {
    let config = r#"{"sampling_precision": 3,
        "strategies": {"default_strategy": {"type": "probabilistic", "param": 0.01}}}"#;
    let outcome = stage(config).process(&request(&[("shop", three())])).unwrap();
    // OTEP 235: 1 % is fd70a with four digits after the leading f, fd71 with three.
    assert_eq!(left(&outcome), [("lucky".to_owned(), "ot=th:fd71".to_owned())]);
}

#[test]
fn a_threshold_that_arrives_is_kept_or_raised() {
    let config = r#"{"strategies": {"default_strategy": {"type": "probabilistic", "param": 0.5}}}"#;
    let cases = [("ot=th:c", Some("ot=th:c")), ("ot=th:4", Some("ot=th:8")), ("ot=rv:70000000000000", None)];
    for (arriving, expected) in cases {
        let mut lucky = span(LUCKY, "lucky");
        arriving.clone_into(&mut lucky.trace_state);
        let outcome = stage(config).process(&request(&[("shop", vec![lucky])])).unwrap();
        assert_eq!(left(&outcome).pop().map(|(_, state)| state).as_deref(), expected, "{arriving}");
    }
}

#[test]
fn what_cannot_be_judged_is_dropped_or_kept_as_configured() {
    let strategies = [("probabilistic", 1), ("ratelimiting", 5)];
    for (kind, param) in strategies {
        for (fail_closed, expected) in [(true, 0), (false, 1)] {
            let config = format!(
                r#"{{"fail_closed": {fail_closed},
                    "strategies": {{"default_strategy": {{"type": "{kind}", "param": {param}}}}}}}"#
            );
            assert_eq!(kept(&config, &[("shop", vec![span(0, "none")])]).len(), expected, "{kind} {fail_closed}");
        }
    }
}

#[test]
fn bad_configurations_are_refused_with_their_path() {
    let default = |strategy: &str| format!(r#"{{"strategies": {{"default_strategy": {strategy}}}}}"#);
    let service = |strategies: &str| format!(r#"{{"strategies": {{"service_strategies": [{strategies}]}}}}"#);
    let in_default = "strategies.default_strategy";
    let in_first = "strategies.service_strategies[0]";
    let cases = [
        ("{}".to_owned(), String::new(), "missing field `strategies`"),
        (default(r#"{"type": "const", "param": 0.5}"#), format!("{in_default}.param"), "must be 1"),
        (default(r#"{"type": "probabilistic", "param": 1.5}"#), format!("{in_default}.param"), "between 0 and 1"),
        (default(r#"{"type": "probabilistic", "param": -1}"#), format!("{in_default}.param"), "between 0 and 1"),
        (default(r#"{"type": "ratelimiting", "param": -1}"#), format!("{in_default}.param"), "traces a second"),
        (default(r#"{"type": "adaptive", "param": 1}"#), format!("{in_default}.type"), "`ratelimiting`"),
        (default(r#"{"type": "const"}"#), in_default.to_owned(), "missing field `param`"),
        (default(r#"{"type": "const", "param": 1, "max": 2}"#), format!("{in_default}.max"), "unknown field `max`"),
        (
            default(
                r#"{"type": "const", "param": 1,
                    "operation_strategies": [{"operation": "a", "type": "ratelimiting", "param": 1}]}"#,
            ),
            format!("{in_default}.operation_strategies[0].type"),
            "is for services",
        ),
        (
            default(
                r#"{"type": "const", "param": 1, "operation_strategies": [
                    {"operation": "a", "type": "const", "param": 1},
                    {"operation": "a", "type": "const", "param": 0}]}"#,
            ),
            format!("{in_default}.operation_strategies[1].operation"),
            "one an operation",
        ),
        (
            service(r#"{"service": "a", "type": "const", "param": 1}, {"service": "a", "type": "const", "param": 0}"#),
            "strategies.service_strategies[1].service".to_owned(),
            "one a service",
        ),
        (service(r#"{"service": "", "type": "const", "param": 1}"#), format!("{in_first}.service"), "1 to 512 bytes"),
        (r#"{"strategies": {}, "decision_ttl": "soon"}"#.to_owned(), "decision_ttl".to_owned(), "a duration"),
        (
            r#"{"strategies": {}, "sampling_precision": 0}"#.to_owned(),
            "sampling_precision".to_owned(),
            "between 1 and 14",
        ),
        (r#"{"strategies": {}, "file": "x"}"#.to_owned(), "file".to_owned(), "unknown field `file`"),
    ];
    for (config, path, message) in cases {
        let found = problems(&config);
        assert_eq!(found[0].0, path, "{config}");
        assert!(found[0].1.contains(message), "{config}: {found:?}");
    }
    // All of it in one go.
    let both = r#"{"decision_ttl": "x", "strategies": {"default_strategy": {"type": "x", "param": 1}}}"#;
    assert_eq!(problems(both).len(), 2);
}

//! The Collector's own cases (`tracesprocessor_test.go`), through the plugin.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use probabilistic_sampler::ProbabilisticSampler;
use prost::Message;
use sluice_sdk::testing::{Problem, run};

const HALF: &str = "fefefefefefefefefe80000000000000";
const LUCKY: &str = "111111111111111111ffffffffffffff";

fn id(hex: &str) -> Vec<u8> {
    u128::from_str_radix(hex, 16).unwrap().to_be_bytes().to_vec()
}

fn span(trace_id: &str, trace_state: &str) -> Span {
    Span { trace_id: id(trace_id), span_id: vec![1; 8], trace_state: trace_state.to_owned(), ..Span::default() }
}

fn request(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// The tracestate of each span that is kept.
fn kept(config: &str, spans: Vec<Span>) -> Vec<String> {
    let outcome = run::<ProbabilisticSampler>(config, &request(spans)).expect("it samples");
    let request = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).map(|span| span.trace_state).collect()
}

fn config(mode: &str, percentage: f64, rest: &str) -> String {
    format!(r#"{{"sampling_percentage": {percentage}, "mode": "{mode}"{rest}}}"#)
}

/// Percentage, precision, trace id, arriving tracestate; what leaves in the equalizing and in the
/// proportional mode. The Collector's tests run these with `fail_closed: false`.
type Case = (f64, usize, &'static str, &'static str, Option<&'static str>, Option<&'static str>);

const BOTH: [Case; 24] = [
    (100.0, 14, HALF, "", Some("ot=th:0"), Some("ot=th:0")),
    (50.0, 14, HALF, "", Some("ot=th:8"), Some("ot=th:8")),
    (25.0, 14, "ddddddddddddddddddc0000000000000", "", Some("ot=th:c"), Some("ot=th:c")),
    (25.0, 14, "ddddddddddddddddddb0000000000000", "", None, None),
    (
        1.0,
        14,
        HALF,
        "ot=rv:FD70A3D70A3D71",
        Some("ot=rv:FD70A3D70A3D71;th:fd70a3d70a3d71"),
        Some("ot=rv:FD70A3D70A3D71;th:fd70a3d70a3d71"),
    ),
    (
        1.0,
        4,
        HALF,
        "ot=rv:FD70A3D70A3D71",
        Some("ot=rv:FD70A3D70A3D71;th:fd70a"),
        Some("ot=rv:FD70A3D70A3D71;th:fd70a"),
    ),
    (1.0, 3, HALF, "ot=rv:FD70A3D70A3D71", None, None),
    (1.0, 14, HALF, "ot=rv:FD70A3D70A3D70", None, None),
    (49.0, 14, HALF, "", None, None),
    (1.0, 4, "a0a0a0a0a0a0a0a0a0fe000000000000", "", Some("ot=th:fd70a"), Some("ot=th:fd70a")),
    (50.0, 14, HALF, "ot=rv:90000000000000;th:80000000000000", Some("ot=rv:90000000000000;th:8"), None),
    (25.0, 14, HALF, "ot=th:8", None, None),
    (25.0, 14, "ffffffffffffffffffffffffffffffff", "ot=th:8", Some("ot=th:c"), Some("ot=th:e")),
    (50.0, 14, HALF, "ot=rv:c0000000000000;th:8", Some("ot=rv:c0000000000000;th:8"), Some("ot=rv:c0000000000000;th:c")),
    (
        100.0,
        14,
        HALF,
        "ot=rv:40000000000000;th:8",
        Some("ot=rv:40000000000000;th:0"),
        Some("ot=rv:40000000000000;th:0"),
    ),
    (40.0, 3, HALF, "ot=rv:a0000000000000", Some("ot=rv:a0000000000000;th:99a"), Some("ot=rv:a0000000000000;th:99a")),
    (40.0, 6, "a0a0a0a0a0a0a0a0a0d0000000000000", "ot=th:8", Some("ot=th:99999a"), Some("ot=th:cccccd")),
    (40.0, 3, "a0a0a0a0a0a0a0a0a0b0000000000000", "ot=th:8", Some("ot=th:99a"), None),
    (40.0, 3, "a0a0a0a0a0a0a0a0a080000000000000", "ot=th:8", None, None),
    (200.0, 14, HALF, "", Some("ot=th:0"), Some("ot=th:0")),
    (100.0 / 16384.0, 14, LUCKY, "ot=th:fffc", Some("ot=th:fffc"), Some("ot=th:fffffff")),
    (99.99992, 10, LUCKY, "", Some("ot=th:00000cccccccd"), Some("ot=th:00000cccccccd")),
    (0.0625, 14, LUCKY, "ot=th:fffffffffffff8", Some("ot=th:fffffffffffff8"), None),
    (50.0, 14, HALF, "vendor=x:y, ot=zz:1", Some("ot=th:8;zz:1,vendor=x:y"), Some("ot=th:8;zz:1,vendor=x:y")),
];

#[test]
fn thresholds_and_decisions_are_the_collectors() {
    for (percentage, precision, trace_id, state, equalizing, proportional) in BOTH {
        for (mode, expected) in [("equalizing", equalizing), ("proportional", proportional)] {
            let rest = format!(r#", "sampling_precision": {precision}, "fail_closed": false"#);
            let got = kept(&config(mode, percentage, &rest), vec![span(trace_id, state)]);
            assert_eq!(got.first().map(String::as_str), expected, "{mode} {percentage}% of {state} at {precision}");
        }
    }
}

#[test]
fn what_cannot_be_judged_is_dropped_or_kept_as_configured() {
    let cases = [
        ("0", ""),
        (HALF, "ot=rv:abababababababab"),
        (HALF, "ot=th:abababababababab"),
        (HALF, "ot=th:-1"),
        (HALF, "not a tracestate"),
        ("ffffffffffffffffff70000000000000", "ot=th:8"),
        (HALF, "ot=th:8;rv:70000000000000"),
    ];
    for mode in ["equalizing", "proportional"] {
        for (trace_id, state) in cases {
            let spans = || vec![span(trace_id, state)];
            assert_eq!(kept(&config(mode, 100.0, ""), spans()), [""; 0], "{mode} {state}");
            assert_eq!(kept(&config(mode, 100.0, r#", "fail_closed": false"#), spans()).len(), 1, "{mode} {state}");
        }
    }
    let invalid = vec![span(HALF, "not a tracestate")];
    assert_eq!(kept(&config("equalizing", 100.0, r#", "fail_closed": false"#), invalid), ["not a tracestate"]);
}

#[test]
fn a_priority_overrides_every_mode() {
    let with = |value: Value| {
        let value = Some(AnyValue { value: Some(value) });
        let attribute = KeyValue { key: "sampling.priority".to_owned(), value, ..KeyValue::default() };
        vec![Span { attributes: vec![attribute], ..span(HALF, "") }]
    };
    for mode in ["hash_seed", "equalizing", "proportional"] {
        for keep in [Value::IntValue(2), Value::DoubleValue(1.0), Value::StringValue("1".to_owned())] {
            assert_eq!(kept(&config(mode, 0.0, ""), with(keep)).len(), 1, "{mode}");
        }
        for drop in [Value::IntValue(0), Value::DoubleValue(0.0), Value::StringValue("0".to_owned())] {
            assert_eq!(kept(&config(mode, 100.0, ""), with(drop)).len(), 0, "{mode}");
        }
        assert_eq!(kept(&config(mode, 0.0, ""), with(Value::IntValue(-1))).len(), 0, "{mode}");
    }
    assert_eq!(kept(&config("equalizing", 1.0, ""), with(Value::IntValue(2))), ["ot=th:0"]);
}

/// FNV-1a worked out here once more, in 64-bit arithmetic, and the Collector's comparison.
#[test]
fn hash_seed_keeps_the_buckets_below_the_share() {
    let percentage = 30.0;
    let share = (percentage * 16384.0 / 100.0) as u64;
    for seed in [0u32, 22, 4312] {
        for n in 1..400u128 {
            let trace = n * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835 % (1 << 127) + 1;
            let mut hash = 2_166_136_261_u64;
            for byte in seed.to_le_bytes().into_iter().chain(trace.to_be_bytes()) {
                hash = (hash ^ u64::from(byte)) * 16_777_619 % (1 << 32);
            }
            let rest = format!(r#", "hash_seed": {seed}"#);
            let got = kept(&config("hash_seed", percentage, &rest), vec![span(&format!("{trace:032x}"), "a=b")]);
            let expected = hash % 16384 < share;
            assert_eq!(got.len(), usize::from(expected), "trace {trace:x} seed {seed}");
            // 30 % of 16384 is 4915.2: the threshold is 16384 - 4915 = 11469 of 16384, 0xb334 of 0x10000.
            for state in got {
                assert!(state.starts_with("ot=rv:") && state.ends_with(";th:b334,a=b"), "{state}");
                let rv = u64::from_str_radix(&state["ot=rv:".len()..][..14], 16).unwrap();
                assert!(rv >= 0xb334 << 40, "the randomness that is written agrees with the decision");
            }
        }
    }
}

#[test]
fn hash_seed_leaves_spans_that_say_how_they_were_sampled_to_fail_closed() {
    for state in ["ot=th:8", "ot=rv:ffffffffffffff"] {
        assert_eq!(kept(&config("hash_seed", 100.0, ""), vec![span(LUCKY, state)]), [""; 0]);
        let open = config("hash_seed", 100.0, r#", "fail_closed": false"#);
        assert_eq!(kept(&open, vec![span(LUCKY, state)]), [state]);
    }
}

#[test]
fn a_batch_is_judged_span_by_span() {
    let spans = vec![span(HALF, ""), span(LUCKY, "a=b"), span("1", ""), span(LUCKY, "")];
    assert_eq!(kept(&config("proportional", 10.0, ""), spans), ["ot=th:e666,a=b", "ot=th:e666"]);
}

/// 75 % is the threshold `4`: of the 256 ids whose highest byte of randomness is their number, the lowest 64 go; of those
/// just below a threshold and at it, the upper one stays.
#[test]
fn a_batch_of_spans_without_tracestate_loses_those_below_the_threshold_and_no_others() {
    let many = || (0..256).map(|n| span(&format!("{n:02x}000000000000"), "")).collect::<Vec<_>>();
    // Id 0 is none at all, and `fail_closed` has it go.
    assert_eq!(kept(&config("proportional", 75.0, ""), many()), vec!["ot=th:4"; 192]);
    assert_eq!(kept(&config("equalizing", 25.0, ""), many()), vec!["ot=th:c"; 64]);
    assert_eq!(kept(&config("proportional", 100.0, ""), many()), vec!["ot=th:0"; 255]);
    let around = || vec![span("ff3fffffffffffff", ""), span("0040000000000000", ""), span("ff40000000000001", "")];
    assert_eq!(kept(&config("proportional", 75.0, ""), around()), vec!["ot=th:4"; 2]);
    assert!(kept(&config("proportional", 0.0, ""), many()).is_empty());
}

#[test]
fn bad_configurations_are_refused_with_their_path() {
    let cases = [
        ("{}", "", "missing field `sampling_percentage`"),
        (r#"{"sampling_percentage": -1}"#, "sampling_percentage", "must be between"),
        (r#"{"sampling_percentage": 1, "mode": "random"}"#, "mode", "unknown variant `random`"),
        (r#"{"sampling_percentage": 1, "sampling_precision": 15}"#, "sampling_precision", "between 1 and 14"),
        (r#"{"sampling_percentage": 1, "attribute_source": "span"}"#, "attribute_source", "unknown variant `span`"),
        (r#"{"sampling_percentage": 1, "from_attribute": 7}"#, "from_attribute", "expected a string"),
        (r#"{"sampling_percentage": 1, "seed": 4}"#, "seed", "unknown field `seed`"),
    ];
    for (config, path, message) in cases {
        let Err(Problem::Config(errors)) = run::<ProbabilisticSampler>(config, b"") else {
            unreachable!("{config} is refused")
        };
        assert_eq!(errors[0].path, path, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
}

/// The Collector looks at them when it samples logs.
#[test]
fn keys_of_logs_change_nothing() {
    let spans = || vec![span(HALF, ""), span(LUCKY, "a=b"), span("1", "")];
    let plain = kept(&config("proportional", 10.0, ""), spans());
    for key in [r#""attribute_source": "record""#, r#""from_attribute": "id""#, r#""sampling_priority": "priority""#] {
        assert_eq!(kept(&config("proportional", 10.0, &format!(", {key}")), spans()), plain, "{key}");
    }
    // What Go writes for "not set".
    assert_eq!(kept(&config("", 100.0, r#", "attribute_source": """#), spans()).len(), 3);
}

//! Places where two are to listen.

use super::{config, load, text, told};

fn yaml(grpc: &str, http: &str, health: &str) -> String {
    format!(
        "\
receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{grpc}' }},
  http: {{ endpoint: '{http}' }} }} }} }}
exporters: {{ debug: }}
extensions: {{ health_check: {{ {health} }} }}
service: {{ extensions: [health_check], pipelines: {{ traces: {{ receivers: [otlp], exporters: [debug] }} }} }}
"
    )
}

#[test]
fn a_place_that_is_only_a_default_is_given_up_with_a_warning() {
    let yaml = yaml("127.0.0.1:8888", "0.0.0.0:13133", "");
    let read = config(&[text(&yaml)]);
    assert!(read.service.telemetry.metrics.readers.is_empty());
    assert!(read.service.extensions.is_empty());
    let told = told(&yaml);
    assert_eq!(told.len(), 2, "{told:?}");
    for (line, told, loser, winner) in
        [(1, &told[0], "`/metrics`", "grpc"), (2, &told[1], "extension `health_check`", "http")]
    {
        let begins = format!("c.yaml:{line}:");
        assert!(told.starts_with(&begins) && told.contains("warning"), "{told}");
        assert!(told.contains(&format!("{loser} is not served: receiver `otlp` ({winner}) has")), "{told}");
    }
}

#[test]
fn two_that_are_named_exclude_each_other_and_both_lines_are_told() {
    for (grpc, http, health) in [
        ("127.0.0.1:5", "127.0.0.1:5", ""),
        ("0.0.0.0:5", "localhost:5", ""),
        ("127.0.0.1:5", "127.0.0.1:6", "endpoint: '127.0.0.1:6'"),
    ] {
        let problems = load(&[text(&yaml(grpc, http, health))]).unwrap_err().to_string();
        assert_eq!(problems.lines().count(), 1, "{problems}");
        let lines = if health.is_empty() { ["c.yaml:1:", "c.yaml:2:"] } else { ["c.yaml:2:", "c.yaml:4:"] };
        assert!(problems.contains("error: ") && lines.iter().all(|line| problems.contains(line)), "{problems}");
    }
    let good = yaml("127.0.0.1:0", "127.0.0.1:0", "endpoint: '127.0.0.1:0'");
    assert!(told(&good).is_empty(), "{:?}", told(&good));
}

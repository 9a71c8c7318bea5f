//! What a `failover` may name.

use super::{load, text};

fn told(exporters: &str, used: &str) -> Vec<String> {
    let yaml = format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}\nexporters:\n  otlp/a: {{ endpoint: 'a:1' }}\n  \
         otlphttp/b: {{ endpoint: 'http://b:1', retry_on_failure: {{ initial_interval: 1s }} }}\n  debug:\n{exporters}\n\
         service: {{ pipelines: {{ traces: {{ receivers: [otlp], exporters: [{used}] }} }} }}\n"
    );
    let problems = match load(&[text(&yaml)]) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn its_upstreams_are_exporters_that_leave_queue_and_retries_to_it() {
    assert_eq!(told("  failover: { exporters: [otlp/a, otlphttp/b] }", "failover, otlphttp/b, debug"), [""; 0]);
    assert_eq!(
        told("  failover: { exporters: [otlp/a, otlphttp/b] }", "failover, debug"),
        ["c.yaml:6:35: error: exporter `failover`: `sending_queue` and `retry_on_failure` of `otlphttp/b` would do \
          nothing, since it is in no pipeline: those of the failover hold, move them there"]
    );
    assert_eq!(
        told(
            "  failover: { exporters: [otlp/a, otlphttp/c, failover/x, debug] }\n  failover/x: { exporters: [otlp/a] }",
            "failover, failover/x, otlphttp/b, debug"
        ),
        [
            "c.yaml:6:35: error: exporter `failover`: exporter `otlphttp/c` is not defined in `exporters`; did you mean `otlphttp/b`?",
            "c.yaml:6:47: error: exporter `failover`: `failover/x` cannot be an upstream: exporters of type `otlp_grpc` and `otlp_http` can",
            "c.yaml:6:59: error: exporter `failover`: `debug` cannot be an upstream: exporters of type `otlp_grpc` and `otlp_http` can",
            "c.yaml:7:17: error: a failover needs two `exporters` at least, the best first",
        ]
    );
}

#[test]
fn an_upstream_that_changes_is_a_change_of_the_failover() {
    let config = |address: &str| {
        super::config(&[text(&format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}\n\
             exporters: {{ otlp/a: {{ endpoint: '{address}' }}, otlp/b: {{ endpoint: 'b:1' }}, failover: {{ exporters: [otlp/a, otlp/b] }} }}\n\
             service: {{ pipelines: {{ traces: {{ receivers: [otlp], exporters: [failover] }} }} }}\n"
        ))])
    };
    let settings = |address| config(address).used_exporters().next().unwrap().settings.clone();
    assert_eq!(settings("a:1"), settings("a:1"));
    assert_ne!(settings("a:1"), settings("a:2"));
}

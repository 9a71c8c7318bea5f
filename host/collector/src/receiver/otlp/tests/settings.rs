//! The settings.

use crate::config::section::read_text;
use crate::receiver::otlp::Settings;

fn read(yaml: &str) -> (Settings, Vec<String>) {
    let (settings, problems) = read_text("r.yaml", yaml, Settings::read);
    (settings, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_protocol_is_off_unless_it_is_named_and_has_the_collectors_defaults() {
    let (settings, problems) = read("protocols: { grpc: }");
    assert!(problems.is_empty(), "{problems:?}");
    let grpc = settings.grpc.unwrap();
    assert_eq!((grpc.endpoint.text.as_str(), grpc.max_request_bytes), ("localhost:4317", 64 << 20));
    assert_eq!(settings.http, None);
    let (settings, problems) = read("protocols: { http: { traces_url_path: /t, max_request_body_size: 5 } }");
    assert!(problems.is_empty(), "{problems:?}");
    let http = settings.http.unwrap();
    assert_eq!(
        (http.endpoint.text.as_str(), http.traces_path.as_str(), http.max_request_bytes),
        ("localhost:4318", "/t", 5)
    );
}

#[test]
fn zero_is_the_default_as_in_grpc_and_the_collector() {
    let zeros = "\
protocols:
  grpc:
    max_recv_msg_size_mib: 0
    max_concurrent_streams: 0
    keepalive: { server_parameters: { time: 0s, timeout: 0, max_connection_age: 0s } }
  http: { max_request_body_size: 0 }
";
    assert_eq!(read(zeros), read("protocols: { grpc: , http: }"));
}

#[test]
fn a_receiver_may_have_a_part_of_the_budget() {
    // By hand: 10 MiB less 4.
    let (settings, problems) =
        read("{ protocols: { grpc: }, memory_limiter: { limit_mib: 10, spike_limit_mib: 4, check_interval: 1s } }");
    assert_eq!((settings.max_bytes_on_their_way, problems), (Some(6 << 20), Vec::new()));
    assert_eq!(read("protocols: { grpc: }").0.max_bytes_on_their_way, None);
}

#[test]
fn what_is_not_supported_is_told() {
    for (yaml, told) in [
        ("protocols:", "name at least one of `grpc` and `http`"),
        ("protocols: { grpc: { tls: { cert_file: a } } }", "the certificate's key is needed as well"),
        ("protocols: { http: { auth: {} } }", "an `authenticator` is needed"),
        ("protocols: { grpc: { transport: unix } }", "`transport` must be `tcp`"),
        ("{ protocols: { grpc: }, memory_limiter: {} }", "`limit_mib` or `limit_percentage` is needed"),
        ("protocols: { grpc: { endpont: a } }", "did you mean `endpoint`"),
    ] {
        let (_, problems) = read(yaml);
        assert!(problems.len() == 1 && problems[0].contains(told), "{yaml}: {problems:?}");
    }
}

#[test]
fn the_same_settings_elsewhere_in_the_file_are_the_same() {
    assert_eq!(
        read("protocols: { grpc: { endpoint: 'a:1' } }").0,
        read("\n\nprotocols:\n  grpc:\n    endpoint: a:1").0
    );
}

//! The start: fast, on ports that are said, and with a clear no when it cannot be.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use sluice_tests::collector::{Config, Folder, Sluice, run};
use sluice_tests::send;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;

use crate::guests;

#[test]
fn a_port_in_use_is_named_with_its_config_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let receiver = format!("protocols:\n  grpc:\n    endpoint: '{address}'");
    let yaml = Config::to(&Sink::start()).receiver("otlp", &receiver).yaml();
    let line = yaml.lines().position(|line| line.contains(&address.to_string())).unwrap() + 1;
    let folder = Folder::new(&yaml);
    let output = run(&["run"], Some(&folder.config()));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains(&address.port().to_string()), "{output:?}");
    assert!(output.stderr.contains(&format!("config.yaml:{line}")), "line {line} is not named: {output:?}");
}

#[test]
fn a_second_collector_on_the_same_ports_fails_at_once() {
    let upstream = Sink::start();
    let first = Sluice::start(&Config::to(&upstream));
    let receiver = format!("protocols: {{ grpc: {{ endpoint: '{}' }} }}", first.grpc());
    let folder = Folder::new(&Config::to(&upstream).receiver("otlp", &receiver).yaml());
    let started = Instant::now();
    let output = run(&["run"], Some(&folder.config()));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains(&first.grpc().port().to_string()), "{output:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "it took {:?} to say so", started.elapsed());
    assert_eq!(first.terminate().code, 0);
}

#[test]
fn it_is_ready_within_three_seconds_with_an_empty_code_cache() {
    let upstream = Sink::start();
    let four = Config::to(&upstream)
        .processor("filter", "traces: { span: ['name == \"GET /health\"'] }")
        .processor("redaction", "allow_all_keys: true\ndetectors: [payment_card, email]")
        .processor("attributes", "actions: [{ key: team, value: deliveries, action: upsert }]")
        .processor("probabilistic_sampler", "sampling_percentage: 50");
    let cache = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let sluice = Sluice::spawn(Folder::new(&four.yaml()), &[("SLUICE_CACHE_DIR", cache.path().into())]);
    sluice.wait_ready();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(3), "ready after {took:?}");
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn without_a_place_for_a_code_cache_it_runs_all_the_same() {
    let upstream = Sink::start();
    let config = Config::to(&upstream).processor("filter", "traces: { span: ['name == \"GET /health\"'] }");
    let sluice = Sluice::spawn(Folder::new(&config.yaml()), &[("SLUICE_CACHE_DIR", "/proc/nowhere".into())]);
    sluice.wait_ready();
    send::all(sluice.grpc(), &Exporter::new(91).requests(3, 20)).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn without_a_config_the_embedded_one_serves_on_the_usual_ports() {
    let ports = [4317, 4318];
    if ports.iter().any(|port| TcpListener::bind(("127.0.0.1", *port)).is_err()) {
        println!("SKIPPED the embedded default: port 4317 or 4318 is in use");
        return;
    }
    let sluice = Sluice::spawn_default();
    let grpc = std::net::SocketAddr::from(([127, 0, 0, 1], 4317));
    let answered = sluice_tests::wait::within(sluice_tests::wait::PATIENCE, || {
        send::Grpc::new(grpc).unwrap().send(&Exporter::new(92).request(20)).ok()
    });
    assert!(answered.is_some(), "{}", sluice.log().text());
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn pieces_of_config_are_merged() {
    let upstream = Sink::start();
    let folder = Folder::new(&Config::to(&upstream).yaml());
    folder.write(
        "more.yaml",
        "processors:\n  attributes:\n    actions: [{ key: merged, value: 'yes', action: insert }]\n\
                               service:\n  pipelines:\n    traces: { processors: [attributes] }\n",
    );
    let more = folder.path("more.yaml");
    let sluice = Sluice::spawn_with(folder, &["--config", &more.display().to_string()], &[]);
    sluice.wait_ready();
    send::all(sluice.grpc(), &Exporter::new(93).requests(1, 20)).unwrap();
    assert_eq!(sluice.terminate().code, 0);
    assert!(upstream.decoded_spans().iter().all(|span| span.attributes.iter().any(|pair| pair.key == "merged")));
}

#[test]
fn a_plugin_of_ones_own_is_compiled_once() {
    let upstream = Sink::start();
    let settings = "module: tester.wasm\nconfig: { does: stamp }";
    let yaml = Config::to(&upstream).processor("wasm/tester", settings).yaml();
    let (cache, component) = (tempfile::tempdir().unwrap(), guests::tester("one"));
    // The promises: 3 s with an empty code cache, 300 ms with a warm one.
    for at_most in [Duration::from_secs(3), Duration::from_millis(300)] {
        let folder = Folder::new(&yaml);
        folder.write("tester.wasm", &component);
        let started = Instant::now();
        let sluice = Sluice::spawn(folder, &[("SLUICE_CACHE_DIR", cache.path().into())]);
        sluice.wait_ready();
        let took = started.elapsed();
        assert!(took < at_most, "ready after {took:?}, not {at_most:?}");
        assert_eq!(sluice.terminate().code, 0);
    }
}

#[test]
fn localhost_is_every_address_that_it_is() {
    let upstream = Sink::start();
    let receiver = "protocols: { grpc: { endpoint: 'localhost:0' } }";
    let sluice = Sluice::start(&Config::to(&upstream).receiver("otlp", receiver));
    let listening = sluice.log().events("listening");
    let bound: Vec<&str> = listening
        .iter()
        .filter(|event| event["component"] == "otlp")
        .filter_map(|event| event["address"].as_str())
        .collect();
    assert!(bound.iter().any(|address| address.starts_with("127.0.0.1:")), "{bound:?}");
    if TcpListener::bind("[::1]:0").is_ok()
        && std::fs::read_to_string("/etc/hosts").unwrap_or_default().contains("::1\tlocalhost")
    {
        assert!(bound.iter().any(|address| address.starts_with("[::1]:")), "{bound:?}");
    }
}

#[test]
fn a_default_metrics_port_that_is_taken_is_only_a_warning() {
    // Ours, or somebody else's: taken in any case.
    let _taken = TcpListener::bind("127.0.0.1:8888");
    let upstream = Sink::start();
    let yaml = Config::to(&upstream).yaml();
    let metrics = yaml.lines().find(|line| line.contains("readers")).unwrap();
    let sluice = Sluice::start_in(Folder::new(&yaml.replace(metrics, "")));
    let text = sluice.log().text();
    assert!(text.contains("8888") && text.contains("warn"), "{text}");
    assert_eq!(sluice.terminate().code, 0);
}

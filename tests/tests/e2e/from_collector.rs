//! Configurations of the Collector, whole and as people publish them, do here what they do there.
//!
//! Each `examples/from-collector/NAME.yaml` is run by the real binary as it stands; a second file moves its
//! endpoints to ports of the system's choice, as the Collector's users would, and its database to where the test has
//! one. `NAME.in.json` goes in as OTLP over HTTP, and `NAME.out.json` must come out. Where there is a
//! `NAME.out.prom`, it is what Prometheus must be shown.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use sluice_test_mmdb::{Database, map};
use sluice_tests::collector::{Folder, Metrics, Sample, Sluice};
use sluice_tests::process;
use sluice_tests::send::http::{self, Post};
use sluice_tests::sink::Sink;

/// How many there are; a file that is lost is a test that is lost.
const CONFIGS: usize = 16;

#[test]
fn every_configuration_does_what_it_does_in_the_collector() {
    let folder = process::workspace().join("examples/from-collector");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut configs: Vec<PathBuf> = files.filter(|file| file.extension() == Some(OsStr::new("yaml"))).collect();
    configs.sort();
    assert_eq!(configs.len(), CONFIGS, "{configs:?}");
    for config in configs {
        run(&config);
    }
}

fn run(config: &Path) {
    let name = config.file_stem().unwrap().to_str().unwrap();
    println!("{name}");
    let text = fs::read_to_string(config).unwrap();
    let upstream = Sink::start();
    let sluice = start(&text, &upstream);
    let sent = fs::read(config.with_extension("in.json")).unwrap();
    let reply = Post::json(sent).to(sluice.http()).unwrap();
    assert_eq!(reply.status, 200, "{name}: {}", String::from_utf8_lossy(&reply.body));
    if let Ok(expected) = fs::read_to_string(config.with_extension("out.prom")) {
        let page = http::get(sluice.address("prometheus", ""), "/metrics").unwrap();
        assert_eq!(samples(str::from_utf8(&page.body).unwrap()), samples(&expected), "{name}");
    }
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{name}: {}", end.stderr);

    let expected = fs::read_to_string(config.with_extension("out.json")).unwrap();
    let expected = expected.replace("$HOSTNAME", fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end());
    let expected: ExportTraceServiceRequest = serde_json::from_str(&expected).unwrap();
    let arrived = upstream.decoded();
    assert_eq!(arrived.len(), 1, "{name}: one request went in, and no batch is so small");
    for (arrived, expected) in arrived.into_iter().zip([expected]) {
        assert_eq!(sorted(arrived), sorted(expected), "{name}");
    }
}

/// The order of attributes means nothing.
fn sorted(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    let sort = |attributes: &mut Vec<KeyValue>| attributes.sort_by(|left, right| left.key.cmp(&right.key));
    for resource in &mut request.resource_spans {
        resource.resource.iter_mut().for_each(|resource| sort(&mut resource.attributes));
        for scope in &mut resource.scope_spans {
            scope.spans.iter_mut().for_each(|span| sort(&mut span.attributes));
        }
    }
    request
}

/// The samples of a page, in an order that does not depend on that of lines and labels.
fn samples(page: &str) -> Vec<String> {
    let metrics = Metrics::parse(page);
    let told = |sample: &Sample| {
        let mut labels = sample.labels.clone();
        labels.sort();
        format!("{} {labels:?} {}", sample.name, sample.value)
    };
    let mut samples: Vec<String> = metrics.samples().iter().map(told).collect();
    samples.sort();
    samples
}

/// A database in which two networks for documentation (RFC 5737, RFC 3849) are in Switzerland.
fn places() -> Vec<u8> {
    let place = |city: &str, latitude: f64, longitude: f64| {
        let named = |name: &str| ("names", map([("en", name.into())]));
        map([
            ("city", map([named(city)])),
            ("country", map([named("Switzerland"), ("iso_code", "CH".into())])),
            ("location", map([("latitude", latitude.into()), ("longitude", longitude.into())])),
        ])
    };
    let database = Database::new("GeoLite2-City").network("192.0.2.0/24", place("Geneva", 46.25, 6.125));
    database.network("2001:db8::/32", place("Lausanne", 46.5, 6.625)).bytes()
}

/// The configuration with its endpoints and its database moved.
fn start(text: &str, upstream: &Sink) -> Sluice {
    let has = |key: &str| text.lines().any(|line| line.trim_end() == format!("  {key}:"));
    // The receiver is called `otlp` in all of them.
    let exporter = ["otlp/backend", "otlphttp", "otlp"].into_iter().find(|id| has(id)).unwrap();
    let scheme = if exporter == "otlphttp" { "http://" } else { "" };
    let scraped = if has("prometheus") { ", prometheus: { endpoint: '127.0.0.1:0' }" } else { "" };
    let mut moved = format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '127.0.0.1:0' }}, http: {{ endpoint: '127.0.0.1:0' }} }} }} }}\n\
         exporters: {{ {exporter}: {{ endpoint: '{scheme}{}' }}{scraped} }}\n\
         service:\n  telemetry:\n    logs: {{ encoding: json }}\n    \
         metrics: {{ readers: [{{ pull: {{ exporter: {{ prometheus: {{ host: 127.0.0.1, port: 0 }} }} }} }}] }}\n",
        upstream.address()
    );
    if has("health_check") {
        moved.push_str("extensions: { health_check: { endpoint: '127.0.0.1:0' } }\n");
    }
    let folder = Folder::new(text);
    if has("geoip") {
        moved.push_str("processors: { geoip: { providers: { maxmind: { database_path: City.mmdb } } } }\n");
        folder.write("City.mmdb", places());
    }
    folder.write("moved.yaml", moved);
    let second = folder.path("moved.yaml");
    // What `resourcedetection` finds.
    let environment = [("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging".into())];
    let sluice = Sluice::spawn_with(folder, &["--config", second.to_str().unwrap()], &environment);
    sluice.wait_ready();
    sluice
}

//! The exporters that need no network: files that hold what was sent, and a debug output.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use sluice_tests::collector::{Config, Sluice};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::{send, wire};

#[test]
fn a_file_of_json_lines_holds_every_span() {
    let sluice = Sluice::start(&Config::new().exporter("file", "path: out.jsonl"));
    let requests = Exporter::new(151).requests(5, 20);
    send::all(sluice.grpc(), &requests).unwrap();
    let file = sluice.folder().path("out.jsonl");
    let kept = tempfile::NamedTempFile::new().unwrap();
    // The folder goes with the collector; a second name keeps the file.
    std::fs::remove_file(kept.path()).unwrap();
    std::fs::hard_link(&file, kept.path()).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    let text = std::fs::read_to_string(kept.path()).unwrap();
    let read = |line: &str| serde_json::from_str::<ExportTraceServiceRequest>(line).unwrap().encode_to_vec().into();
    let lines: Vec<Bytes> = text.lines().map(read).collect();
    let normal = |wire: &Bytes| Bytes::from(ExportTraceServiceRequest::decode(wire.clone()).unwrap().encode_to_vec());
    let sent: Vec<Bytes> = requests.iter().map(normal).collect();
    assert_eq!(wire::difference(&sent, &lines).unwrap(), None);
}

#[test]
fn debug_takes_everything() {
    let sluice = Sluice::start(&Config::new().exporter("debug", "verbosity: detailed"));
    let requests = Exporter::new(152).requests(5, 20);
    let sent: u64 = requests.iter().map(|request| wire::count(request).unwrap()).sum();
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("destination", "delivered"), sent as i64);
}

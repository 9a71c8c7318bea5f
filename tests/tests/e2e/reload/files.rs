//! The `file` exporter: what is there already stays whole, whichever generation has written it.

use std::path::Path;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::{send, wait, wire};

/// A file, and how many write to it at a time.
fn to(file: &str, append: bool, consumers: u8) -> Config {
    let settings = format!("path: '{file}'\nappend: {append}\nsending_queue: {{ num_consumers: {consumers} }}");
    Config::new().exporter("file", &settings)
}

/// Requests in the only form that JSON keeps.
fn normal(requests: &[Bytes]) -> Vec<Bytes> {
    let decode = |wire: &Bytes| ExportTraceServiceRequest::decode(wire.clone()).unwrap();
    requests.iter().map(|wire| decode(wire).encode_to_vec().into()).collect()
}

fn lines(file: &Path) -> Vec<Bytes> {
    let read = |line: &str| serde_json::from_str::<ExportTraceServiceRequest>(line).map(|read| read.encode_to_vec());
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| read(line).unwrap_or_else(|error| panic!("{error}: {line:.200}")).into()).collect()
}

#[test]
fn every_delivered_span_is_in_the_file_once_after_reloads_under_traffic() {
    for append in [true, false] {
        let sluice = Sluice::start(&to("out.jsonl", append, 1));
        let mut exporter = Exporter::new(171);
        let mut sent = Vec::new();
        for consumers in [2, 1] {
            // So much that it is not yet written when the next generation begins.
            let requests = exporter.requests(40, 500);
            send::all(sluice.grpc(), &requests).unwrap();
            sent.extend(requests);
            let seen = sluice.log().events("reload").len();
            sluice.rewrite(&to("out.jsonl", append, consumers));
            sluice.signal(libc::SIGHUP);
            let told = wait::until("the reload", || sluice.log().events("reload").into_iter().nth(seen));
            assert_eq!(told["outcome"], "applied", "{told}");
            let requests = exporter.requests(5, 500);
            send::all(sluice.grpc(), &requests).unwrap();
            sent.extend(requests);
        }
        let (end, folder) = sluice.terminate_in();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
        let spans: u64 = sent.iter().map(|request| wire::count(request).unwrap()).sum();
        assert_eq!(end.account.sum("destination", "delivered"), spans as i64);
        let difference = wire::difference(&normal(&sent), &lines(&folder.path("out.jsonl"))).unwrap();
        assert_eq!(difference, None, "append: {append}");
    }
}

#[test]
fn a_process_that_starts_keeps_what_is_in_the_file_only_if_it_is_to_append() {
    let (mut folder, mut exporter, mut kept) = (Folder::new(""), Exporter::new(172), Vec::new());
    for append in [true, true, false] {
        folder.write("config.yaml", to("out.jsonl", append, 1).yaml());
        let sluice = Sluice::start_in(folder);
        let requests = exporter.requests(2, 20);
        send::all(sluice.grpc(), &requests).unwrap();
        folder = sluice.terminate_in().1;
        if !append {
            kept.clear();
        }
        kept.extend(requests);
        let difference = wire::difference(&normal(&kept), &lines(&folder.path("out.jsonl"))).unwrap();
        assert_eq!(difference, None, "append: {append}");
    }
}

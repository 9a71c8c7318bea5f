//! One process follows the other: sockets, queue and senders go over, and who could not start changes
//! nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span;
use sluice_tests::collector::{Config, Folder, Sluice, config, run};
use sluice_tests::send::{Grpc, http::Post};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::{send, wait, wire};

use crate::guest::{Guest, takes_minutes};
use crate::while_compiling::{MINUTES, SECONDS, SOON, is_compiling, with_slow};

/// What has to change for the ports of a running process to be named.
fn at(config: Config, running: &Sluice) -> Config {
    let (grpc, http) = (running.grpc(), running.http());
    config.receiver("otlp", &format!("protocols: {{ grpc: {{ endpoint: '{grpc}' }}, http: {{ endpoint: '{http}' }} }}"))
}

fn durable(upstream: &Sink, disk: &Path) -> Config {
    Config::new()
        .extension("file_storage", &format!("directory: '{}'", disk.join("queues").display()))
        .extension("sluice", &format!("state_dir: '{}'", disk.join("state").display()))
        .exporter("otlp_grpc", &config::grpc(upstream, "sending_queue: { storage: file_storage }"))
}

fn follow(config: &Config) -> Sluice {
    Sluice::spawn_with(Folder::new(&config.yaml()), &["--take-over"], &[])
}

fn count(requests: &[Bytes]) -> i64 {
    requests.iter().map(|request| wire::count(request).unwrap() as i64).sum()
}

#[test]
fn a_follower_gets_the_ports_and_what_waits_on_disk() {
    let (upstream, disk) = (Sink::start(), tempfile::tempdir().unwrap());
    upstream.always(Answer::UNAVAILABLE);
    let first = Sluice::start(&durable(&upstream, disk.path()));
    let (grpc, config) = (first.grpc(), at(durable(&upstream, disk.path()), &first));
    let requests = Exporter::new(401).requests(20, 40);
    send::all(grpc, &requests).unwrap();
    let second = follow(&config);
    second.wait_ready();
    let end = first.wait_end();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("destination", "held"), count(&requests), "{}", end.stderr);
    assert_eq!(second.grpc(), grpc);
    upstream.always(Answer::Ok);
    let more = Exporter::new(402).requests(5, 40);
    send::all(grpc, &more).unwrap();
    let end = second.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("destination", "restored"), count(&requests), "{}", end.stderr);
    assert_eq!(wire::difference(&[requests, more].concat(), &upstream.wires()).unwrap(), None);
}

#[test]
fn a_follower_that_cannot_start_leaves_the_running_process_alone() {
    let (upstream, disk) = (Sink::start(), tempfile::tempdir().unwrap());
    let first = Sluice::start(&durable(&upstream, disk.path()));
    let good = at(durable(&upstream, disk.path()), &first);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap();
    let no_ca = config::grpc(&upstream, "").replace("insecure: true", "ca_file: /nowhere/ca.pem");
    for (bad, told) in [
        (good.clone().extension("health_check", "endpoit: x"), "did you mean `endpoint`?"),
        (good.clone().extension("health_check", &format!("endpoint: '{port}'")), "is in use"),
        (good.clone().processor("wasm/none", "module: none.wasm"), "none.wasm"),
        (good.clone().exporter("otlp_grpc/tls", &no_ca), "/nowhere/ca.pem"),
        (good.clone().exporter("file", "path: /nowhere/spans.json"), "cannot open /nowhere/spans.json"),
    ] {
        let end = follow(&bad).wait_end();
        assert_eq!(end.code, 1, "{}", end.stderr);
        assert!(end.stderr.contains(told), "`{told}` is not in:\n{}", end.stderr);
        Grpc::new(first.grpc()).unwrap().send(&Exporter::new(403).request(20)).unwrap();
    }
    assert!(first.log().find("draining").is_none(), "{}", first.log().text());
    let second = follow(&good);
    second.wait_ready();
    assert_eq!(first.wait_end().code, 0);
    assert_eq!(second.terminate().code, 0);
}

/// A follower while it compiles a plugin, which takes seconds at least.
fn follow_slowly(config: &Config, loops: usize) -> Sluice {
    let folder = Folder::new(&with_slow(config.clone()).yaml());
    folder.write("slow.wasm", Guest::new().module(&takes_minutes(loops)).component());
    let cache = folder.path("cache").into_os_string();
    let follower = Sluice::spawn_with(folder, &["--take-over"], &[("SLUICE_CACHE_DIR", cache)]);
    wait::until("the compiler to run", || is_compiling(&follower).then_some(()));
    follower
}

#[test]
fn a_follower_that_is_told_to_stop_while_it_compiles_leaves_the_running_process_alone() {
    let (upstream, disk) = (Sink::start(), tempfile::tempdir().unwrap());
    let first = Sluice::start(&durable(&upstream, disk.path()));
    let follower = follow_slowly(&at(durable(&upstream, disk.path()), &first), MINUTES);
    let told = Instant::now();
    let end = follower.terminate();
    assert!(told.elapsed() < SOON, "{:?}", told.elapsed());
    assert_eq!(end.code, 0, "nothing was accepted: {}", end.stderr);
    assert!(!end.stderr.contains("handover"), "{}", end.stderr);
    Grpc::new(first.grpc()).unwrap().send(&Exporter::new(406).request(20)).unwrap();
    assert!(first.log().find("draining").is_none(), "{}", first.log().text());
    assert_eq!(first.terminate().code, 0);
}

#[test]
fn what_changes_while_a_follower_compiles_is_in_place_soon() {
    let (upstream, disk) = (Sink::start(), tempfile::tempdir().unwrap());
    let first = Sluice::start(&durable(&upstream, disk.path()));
    let actions = "actions: [{ key: team, value: before, action: upsert }]";
    let config = at(durable(&upstream, disk.path()), &first).processor("attributes", actions);
    let follower = follow_slowly(&config, SECONDS);
    let file = follower.folder().config();
    let written = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, written.replace("before", "after")).unwrap();
    assert!(is_compiling(&follower), "it is written before the follower serves");
    follower.wait_ready();
    let applied = || follower.log().events("reload").into_iter().find(|told| told["outcome"] == "applied");
    wait::until("the change", applied);
    send::all(follower.grpc(), &Exporter::new(407).requests(1, 20)).unwrap();
    upstream.wait_for_spans(20);
    let after = |span: &Span| format!("{span:?}").contains("after");
    assert!(upstream.decoded_spans().iter().all(after));
    assert_eq!(first.wait_end().code, 0);
    assert_eq!(follower.terminate().code, 0);
}

#[test]
fn with_nobody_to_follow_it_starts_and_without_a_state_dir_it_says_what_is_missing() {
    let (upstream, disk) = (Sink::start(), tempfile::tempdir().unwrap());
    let alone = follow(&durable(&upstream, disk.path()));
    alone.wait_ready();
    send::all(alone.grpc(), &Exporter::new(404).requests(2, 20)).unwrap();
    assert_eq!(alone.terminate().code, 0);
    let folder = Folder::new(&Config::to(&upstream).yaml());
    let output = run(&["run", "--take-over"], Some(&folder.config()));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("`--take-over` needs `state_dir`"), "{output:?}");
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    stream
}

fn post(stream: &mut TcpStream, body: &[u8]) {
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n";
    stream.write_all(format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes()).unwrap();
    stream.write_all(body).unwrap();
}

/// The status line and the headers of an answer, in lower case.
fn answer(stream: &mut TcpStream) -> String {
    let (mut answer, mut reader) = (String::new(), BufReader::new(stream));
    while !answer.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut answer).unwrap() > 0, "the answer ends early: {answer}");
    }
    answer.to_lowercase()
}

#[test]
fn who_is_connected_when_the_process_stops_may_still_send_one_request_and_is_told_that_it_is_the_last() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream));
    let (mut kept, mut silent) = (connect(sluice.http()), connect(sluice.http()));
    let request = Exporter::new(405).request(20);
    post(&mut kept, &request);
    let first = answer(&mut kept);
    assert!(first.starts_with("http/1.1 200") && !first.contains("connection: close"), "{first}");
    sluice.signal(libc::SIGTERM);
    wait::until("the drain to begin", || sluice.log().find("draining"));
    for stream in [&mut kept, &mut silent] {
        post(stream, &request);
        let last = answer(stream);
        assert!(last.starts_with("http/1.1 200") && last.contains("connection: close"), "{last}");
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the connection goes on");
    }
    let end = sluice.wait_end();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(upstream.spans() as i64, 3 * count(&[request]));
}

fn passed(address: SocketAddr, upstream: &Sink) -> Folder {
    let receiver = format!("protocols: {{ http: {{ endpoint: '{address}' }} }}");
    Folder::new(&Config::to(upstream).receiver("otlp", &receiver).yaml())
}

#[test]
fn who_connects_while_a_supervisor_restarts_the_process_waits_and_is_served() {
    let upstream = Sink::start();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let request = Exporter::new(406).request(20);
    let first = Sluice::spawn_passed(passed(address, &upstream), std::slice::from_ref(&socket));
    first.wait_ready();
    assert_eq!(Post::protobuf(request.clone()).to(address).unwrap().status, 200);
    assert_eq!(first.terminate().code, 0);
    let mut waiting = connect(address);
    post(&mut waiting, &request);
    let second = Sluice::spawn_passed(passed(address, &upstream), std::slice::from_ref(&socket));
    let answer = answer(&mut waiting);
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    let end = second.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(upstream.spans() as i64, 2 * count(&[request]));
}

#[test]
fn a_socket_that_was_passed_and_that_nobody_wants_is_told() {
    let upstream = Sink::start();
    let (wanted, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (address, unused) = (wanted.local_addr().unwrap(), other.local_addr().unwrap());
    let sluice = Sluice::spawn_passed(passed(address, &upstream), &[wanted, other]);
    sluice.wait_ready();
    let event = sluice.log().find("socket.unused").expect("it is not told");
    assert_eq!(event["address"], unused.to_string());
    assert_eq!(sluice.terminate().code, 0);
}

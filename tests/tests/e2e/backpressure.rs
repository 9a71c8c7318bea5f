//! A full queue pushes back: the sender is told to come again, and nothing that was accepted is
//! lost.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_tests::collector::{Config, Sluice, config};
use sluice_tests::send::Grpc;
use sluice_tests::send::http::Post;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::{rpc, send, wait, wire};
use tonic::Code;

use crate::odd;

/// Room for some tens of requests.
const SMALL: &str = "sending_queue: { sizer: bytes, queue_size: 400000, batch: { flush_timeout: 20ms } }";

fn small_queue(upstream: &Sink) -> Config {
    Config::new().exporter("otlp_grpc", &config::grpc(upstream, SMALL))
}

#[test]
fn a_full_queue_asks_the_sender_to_come_again_and_loses_nothing() {
    let upstream = Sink::start();
    upstream.always(Answer::UNAVAILABLE);
    let sluice = Sluice::start(&small_queue(&upstream));
    let client = Grpc::new(sluice.grpc()).unwrap();
    let requests = Exporter::new(51).requests(120, 40);
    let refusal = requests.iter().find_map(|request| client.send(request).err()).expect("the queue never filled up");
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
    assert!(rpc::retry_delay(&refusal).is_some(), "no RetryInfo: {refusal:?}");

    let reply = Post::protobuf(requests[0].clone()).to(sluice.http()).unwrap();
    assert!([429, 503].contains(&reply.status.as_u16()), "{reply:?}");
    assert!(reply.header("retry-after").parse::<u64>().is_ok(), "{reply:?}");

    upstream.always(Answer::Ok);
    let more = Exporter::new(52).requests(40, 40);
    send::all(sluice.grpc(), &more).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "accepted"), upstream.spans() as i64);
    assert!(end.account.sum("receiver", "refused") > 0);
}

#[test]
fn answers_come_later_the_fuller_the_queue_is() {
    let upstream = Sink::start();
    upstream.always(Answer::UNAVAILABLE);
    let sluice = Sluice::start(&small_queue(&upstream));
    let client = Grpc::new(sluice.grpc()).unwrap();
    let began = Instant::now();
    let requests = Exporter::new(54).requests(120, 40);
    let taken = requests.iter().take_while(|request| client.send(request).is_ok());
    let bytes: u64 = taken.map(|request| request.len() as u64).sum();
    assert!(bytes > 350_000, "the queue was full after {bytes} of 400,000 bytes");
    // From 50,000 bytes on up to 100 ms each: 50 in the mean, but for the last ones.
    let most = requests.iter().map(|request| request.len() as u64).max().unwrap();
    let paused = (bytes - 50_000) / most * 40;
    assert!(began.elapsed() >= Duration::from_millis(paused), "{:?} for {bytes} bytes", began.elapsed());
    upstream.always(Answer::Ok);
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn senders_that_come_again_get_everything_through_a_slow_upstream() {
    let upstream = Sink::start();
    upstream.script(std::iter::repeat_n(Answer::UNAVAILABLE, 20));
    let requests = Exporter::new(53).requests(200, 40);
    let sluice = Sluice::start(&small_queue(&upstream));
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();
    assert_eq!(wire::difference(&requests, &upstream.wires()).unwrap(), None);
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

/// Nobody charges for what a request holds whose sender has gone, and its sender may have sent it elsewhere.
#[test]
fn a_request_that_waits_for_room_goes_with_its_sender() {
    let upstream = Sink::start();
    let queue = "sending_queue: { queue_size: 1, on_full: block, batch: { flush_timeout: 1ms } }";
    let config = Config::new()
        .exporter("otlp_grpc", &config::grpc(&upstream, queue))
        .processor("attributes", "actions: [{ key: a, value: b, action: upsert }]")
        .processor(
            "redaction",
            "allow_all_keys: true
blocked_values: ['4[0-9]{12}']",
        );
    let sluice = Sluice::start(&config);
    let (client, mut exporter) = (Grpc::new(sluice.grpc()).unwrap(), Exporter::new(59));
    let count = |requests: &[Bytes]| requests.iter().map(|request| wire::count(request).unwrap()).sum::<u64>();
    // From these it knows that the chain costs something.
    let mut taken = exporter.requests(10, 300);
    for request in &taken {
        client.send(request).unwrap();
    }
    upstream.wait_for_spans(count(&taken));
    upstream.always(Answer::UNAVAILABLE);
    taken.push(exporter.request(300));
    client.send(&taken[10]).unwrap();

    let abandoned = exporter.requests(20, 300);
    let send = |request: &Bytes| {
        let (client, request) = (client.clone(), request.clone());
        wait::runtime().spawn(async move { client.export(request).await })
    };
    let waiting: Vec<_> = abandoned.iter().map(send).collect();
    let held = [("level", "receiver"), ("outcome", "held")];
    let held = || sluice.metrics().sum("sluice_account_spans", &held) as u64;
    wait::until("all to wait for room", || (held() == count(&abandoned)).then_some(()));
    for sender in waiting {
        sender.abort();
    }
    wait::until("none to be held any more", || (held() == 0).then_some(()));
    upstream.always(Answer::Ok);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "refused") as u64, count(&abandoned));
    assert_eq!(upstream.spans(), count(&taken));
}

/// Resident memory in KiB: as it is now (`VmRSS`), or the most that it has been (`VmHWM`).
fn resident_kib(sluice: &Sluice, which: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sluice.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// The most memory that the process has had resident, in MiB.
fn peak_mib(sluice: &Sluice) -> u64 {
    resident_kib(sluice, "VmHWM") / 1024
}

#[test]
fn a_queue_of_small_requests_takes_little_more_memory_than_they_are() {
    const REQUESTS: u64 = 4_000;
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let exporter =
        format!("endpoint: '{gone}'\ntls: {{ insecure: true }}\nretry_on_failure: {{ max_elapsed_time: 0s }}");
    let passes = Config::new().exporter("otlp_grpc", &exporter);
    let edits = passes.clone().processor("attributes", "actions: [{ key: a, value: b, action: upsert }]");
    let request = odd::request(&[odd::span(1, 1, &[odd::field(5, &[b'n'; 230])])]);
    let post = Post::protobuf(request.clone());
    for (what, config) in [("passed", passes), ("edited", edits)] {
        let sluice = Sluice::start(&config);
        let client = Grpc::new(sluice.grpc()).unwrap();
        let ways: [(&str, &dyn Fn()); 2] = [
            ("HTTP", &|| assert_eq!(post.clone().to(sluice.http()).unwrap().status, 200)),
            ("gRPC", &|| drop(client.send(&request).unwrap())),
        ];
        for (by, send) in ways {
            (0..200).for_each(|_| send());
            let before = resident_kib(&sluice, "VmRSS");
            (0..REQUESTS).for_each(|_| send());
            let grown = resident_kib(&sluice, "VmRSS").saturating_sub(before) * 1024 / REQUESTS;
            let most = 3 * request.len() as u64 + 512;
            assert!(grown < most, "{what}, by {by}: {grown} bytes for each of {}", request.len());
        }
    }
}

#[test]
fn many_bombs_at_once_stay_within_the_budget() {
    let upstream = Sink::start();
    // 40 MiB less a fifth: 32 MiB may be on their way in.
    let sluice = Sluice::start(&Config::to(&upstream).processor("memory_limiter", "check_interval: 1s\nlimit_mib: 40"));
    // Each of them alone is within the limit of one request.
    let bomb = Bytes::from(zstd::encode_all(&vec![0; 60 << 20][..], 1).unwrap());
    assert!(bomb.len() < 20_000);
    let address = sluice.http();
    let senders: Vec<_> = (0..16)
        .map(|_| {
            let post = Post::protobuf(bomb.clone()).header("content-encoding", "zstd");
            thread::spawn(move || post.to(address).unwrap())
        })
        .collect();
    for reply in senders.into_iter().map(|sender| sender.join().unwrap()) {
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"), "{reply:?}");
    }
    let peak = peak_mib(&sluice);
    assert!(peak < 60 + 32, "{peak} MiB at its highest");
    let requests = Exporter::new(54).requests(5, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(wire::difference(&requests, &upstream.wires()).unwrap(), None);
}

/// Small on the wire, and within the limit when they come out of decompression, but a few bytes in them are a value
/// of JSON, an attribute or an event, of which much more is known.
#[test]
fn many_bombs_of_tiny_things_stay_within_the_budget() {
    const BYTES: usize = 4 << 20;
    let upstream = Sink::start();
    let config = Config::to(&upstream)
        .processor("memory_limiter", "check_interval: 1s\nlimit_mib: 40")
        .processor("attributes", "actions: [{ key: a, value: b, action: upsert }]");
    let many = |unit: &[u8]| unit.repeat(BYTES / unit.len());
    let json = |key: &str, item: &str| Post::json(format!("{{\"{key}\":[{}{{}}]}}", item.repeat(BYTES / item.len())));
    let in_span = |number| Post::protobuf(odd::request(&[odd::span(1, 1, &[many(&odd::field(number, &[]))])]));
    let resources = [&odd::request(&[odd::span(1, 1, &[])])[..], &many(&odd::field(1, &[]))].concat();
    for (what, bomb, taken) in [
        ("lists that nobody knows", json("a", "[0],"), true),
        ("resources in JSON", json("resourceSpans", "{},"), true),
        ("attributes", in_span(9), false),
        ("events", in_span(11), false),
        ("resources", Post::protobuf(resources), false),
    ] {
        let sluice = Sluice::start(&config);
        let (bomb, address) = (bomb.gzip().unwrap(), sluice.http());
        let senders: Vec<_> =
            (0..8).map(|_| bomb.clone()).map(|bomb| thread::spawn(move || bomb.to(address))).collect();
        for reply in senders.into_iter().map(|sender| sender.join().unwrap().unwrap()) {
            let is_told = (reply.status.as_u16(), reply.header("retry-after")) == (503, "1");
            assert!(is_told || taken && reply.status == 200, "{what}: {reply:?}");
        }
        let peak = peak_mib(&sluice);
        assert!(peak < 60 + 32, "{what}: {peak} MiB at its highest");
        // As many bytes of what is usual are taken.
        let large = Exporter::new(58).request(BYTES / 512);
        send::all(sluice.grpc(), &[large]).unwrap();
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{what}: {}", end.stderr);
    }
}

#[test]
fn senders_that_never_finish_cost_little_and_disturb_nobody() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream));
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 60000000\r\n\r\n";
    let slow: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(sluice.http()).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            // A byte now; there is always another one to come.
            stream.write_all(b"\n").unwrap();
            stream
        })
        .collect();
    let requests = Exporter::new(55).requests(50, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    for request in Exporter::new(56).requests(20, 40) {
        assert_eq!(Post::protobuf(request).to(sluice.http()).unwrap().status, 200);
    }
    for mut stream in &slow {
        stream.write_all(b"\n").unwrap();
    }
    let peak = peak_mib(&sluice);
    assert!(peak < 60, "{peak} MiB at its highest");
    drop(slow);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_receiver_over_its_own_budget_refuses_retryably_while_the_other_serves() {
    let upstream = Sink::start();
    let protocols = "protocols: { grpc: { endpoint: '127.0.0.1:0' }, http: { endpoint: '127.0.0.1:0' } }";
    // 2 MiB less 1: 1 MiB may be on its way in.
    let limited = format!("{protocols}\nmemory_limiter: {{ limit_mib: 2, spike_limit_mib: 1 }}");
    let config = Config::to(&upstream).receiver("otlp", &limited).receiver("otlp/other", protocols);
    let sluice = Sluice::start(&config);
    // A request of 900,000 bytes that does not end.
    let mut slow = TcpStream::connect(sluice.http()).unwrap();
    let head =
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 900001\r\n\r\n";
    slow.write_all(head.as_bytes()).unwrap();
    slow.write_all(&vec![0; 900_000]).unwrap();
    let (large, requests) = (Bytes::from(vec![0; 200_000]), Exporter::new(57).requests(3, 40));
    // What has arrived of the first one is charged a moment after it was written.
    let refused = wait::until("its budget to be spent", || {
        let reply = Post::protobuf(large.clone()).to(sluice.http()).unwrap();
        (reply.status != 400).then_some(reply)
    });
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"), "{refused:?}");
    let refusal = Grpc::new(sluice.grpc()).unwrap().send(&large).unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
    assert!(rpc::retry_delay(&refusal).is_some(), "no RetryInfo: {refusal:?}");
    send::all(sluice.address("otlp/other", "grpc"), &requests).unwrap();
    // What is no request is told so: there was room for it.
    assert_eq!(Post::protobuf(large.clone()).to(sluice.address("otlp/other", "http")).unwrap().status, 400);
    drop(slow);
    wait::until("the room to be given back", || {
        (Post::protobuf(large.clone()).to(sluice.http()).unwrap().status == 400).then_some(())
    });
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(wire::difference(&requests, &upstream.wires()).unwrap(), None);
}

/// It takes the minute that such a connection is given.
#[test]
fn a_connection_that_never_finishes_the_preface_of_http2_is_closed() {
    let sluice = Sluice::start(&Config::to(&Sink::start()));
    let connections = [sluice.grpc(), sluice.http()].map(|address| {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(100))).unwrap();
        connection
    });
    for mut connection in connections {
        // Nothing but the settings that a server may send first.
        connection.read_to_end(&mut Vec::new()).unwrap();
    }
    assert_eq!(sluice.terminate().code, 0);
}

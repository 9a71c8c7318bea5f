//! The account closes: every span that came in left, was dropped by a named component, or failed
//! for a named reason.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use sluice_tests::collector::{Config, Sluice};
use sluice_tests::send::http::Post;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::{corpus, send, wire};

/// The four bundled plugins, the filter dropping the shop's health checks.
fn four_plugins(upstream: &Sink, percentage: u32) -> Config {
    Config::to(upstream)
        .processor("filter", r#"traces: { span: ['attributes["http.route"] == "/health"'] }"#)
        .processor("redaction", "allow_all_keys: true\ndetectors: [payment_card, email]")
        .processor(
            "attributes",
            "actions: [{ key: team, value: deliveries, action: upsert }, { key: site, value: 7, action: insert }]",
        )
        .processor("probabilistic_sampler", &format!("sampling_percentage: {percentage}"))
}

#[test]
fn the_account_closes_with_four_plugins() {
    let mut exporter = Exporter::new(21);
    let requests = exporter.requests(80, 50);
    let sent: u64 = requests.iter().map(|request| wire::count(request).unwrap()).sum();
    let upstream = Sink::start();
    let sluice = Sluice::start(&four_plugins(&upstream, 60));
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();

    let account = &end.account;
    assert_eq!((end.code, account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(account.sum("receiver", "received"), sent as i64);
    assert_eq!(account.dropped_by("filter"), exporter.shop().checks());
    assert_eq!(account.sum("destination", "delivered"), upstream.spans() as i64);
    let sampled_out = account.dropped_by("probabilistic_sampler");
    assert_eq!(sampled_out, sent as i64 - exporter.shop().checks() - upstream.spans() as i64);
    assert!((sent as i64 / 4..sent as i64 / 2).contains(&sampled_out), "{sampled_out} of {sent} sampled out");
}

#[test]
fn every_span_that_passes_carries_what_the_plugins_set() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&four_plugins(&upstream, 100));
    send::all(sluice.grpc(), &Exporter::new(22).requests(10, 50)).unwrap();
    sluice.terminate();
    let spans = upstream.decoded_spans();
    assert!(!spans.is_empty());
    for span in spans {
        assert!(span.attributes.iter().any(|attribute| attribute.key == "team"), "{span:?}");
        assert!(span.attributes.iter().any(|attribute| attribute.key == "site"), "{span:?}");
        assert_ne!(span.name, "GET /health");
    }
}

#[test]
fn the_account_closes_on_the_corpus() {
    let files = corpus::files().unwrap();
    if files.is_empty() {
        println!("SKIPPED the account on real traces: {} is not set", corpus::VARIABLE);
    }
    for file in files {
        let requests = corpus::read(&file).unwrap();
        let sent: u64 = requests.iter().map(|request| wire::count(request).unwrap()).sum();
        let upstream = Sink::start();
        let sluice = Sluice::start(&four_plugins(&upstream, 50));
        send::all(sluice.grpc(), &requests).unwrap();
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{}", file.display());
        assert_eq!(end.account.sum("receiver", "received"), sent as i64, "{}", file.display());
        assert_eq!(end.account.sum("destination", "delivered"), upstream.spans() as i64, "{}", file.display());
    }
}

/// Upstream at its worst, a rule that changes all the time, senders over both protocols: the books
/// balance all the same, and what was accepted arrives or is named.
#[test]
fn the_account_closes_in_bad_weather() {
    let upstream = Sink::start();
    let weather = [
        Answer::UNAVAILABLE,
        Answer::Ok,
        Answer::Disconnect,
        Answer::Late(Duration::from_millis(30)),
        Answer::Partial { rejected: 5, message: "five too many" },
        Answer::unavailable_for(Duration::from_millis(40)),
    ];
    upstream.script(weather.into_iter().cycle().take(60));
    let sluice = Sluice::start(&four_plugins(&upstream, 80));
    let (grpc, http) = (sluice.grpc(), sluice.http());
    let over_grpc = thread::spawn(move || {
        let requests = Exporter::new(24).requests(150, 40);
        send::all(grpc, &requests).unwrap();
        requests
    });
    let over_http = thread::spawn(move || {
        let requests = Exporter::new(25).requests(60, 40);
        for request in &requests {
            assert_eq!(Post::protobuf(request.clone()).gzip().unwrap().to(http).unwrap().status, 200);
        }
        requests
    });
    for percentage in [70, 60, 90, 50] {
        let seen = sluice.swaps("probabilistic_sampler").len();
        sluice.rewrite(&four_plugins(&upstream, percentage));
        sluice.wait_swap("probabilistic_sampler", seen);
    }
    let requests = [over_grpc.join().unwrap(), over_http.join().unwrap()].concat();
    let sent: u64 = requests.iter().map(|request| wire::count(request).unwrap()).sum();
    let end = sluice.terminate();
    let account = &end.account;
    assert_eq!((end.code, account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(account.sum("receiver", "received"), sent as i64);
    // A connection that breaks off before the answer may deliver twice upstream, never less.
    let delivered = account.sum("destination", "delivered") as u64;
    assert!(upstream.spans() >= delivered, "{} arrived, {delivered} counted", upstream.spans());
    let ids: HashSet<_> = upstream.decoded_spans().into_iter().map(|span| span.span_id).collect();
    let failed = account.sum("destination", "failed") as usize;
    assert_eq!(ids.len(), delivered as usize + failed, "distinct spans upstream");
}

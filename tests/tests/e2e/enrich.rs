//! What is added to spans: where an address is, by a database that is replaced while spans flow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use sluice_test_mmdb::{Database, map};
use sluice_tests::collector::{Config, Folder, Sluice, run};
use sluice_tests::send::Grpc;
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait};

use crate::sampling::{attribute, request, span};
use crate::swap::text;

const GEOIP: &str = "providers: { maxmind: { database_path: places/City.mmdb } }\ncontext: record";

/// A database in which these networks are these cities.
fn places(kind: &str, cities: &[(&str, &str)]) -> Vec<u8> {
    let city = |name: &str| {
        let location = map([("latitude", 46.5.into()), ("longitude", 6.25.into())]);
        map([("city", map([("names", map([("en", name.into())]))])), ("location", location)])
    };
    cities.iter().fold(Database::new(kind), |all, (network, name)| all.network(network, city(name))).bytes()
}

/// A folder with a configuration, and with a database in a folder beside it.
fn folder(config: &Config, database: &[u8]) -> Folder {
    let folder = Folder::new(&config.yaml());
    std::fs::create_dir(folder.path("places")).unwrap();
    replace(&folder, database);
    folder
}

/// Puts a database in the place of the one before, as `geoipupdate` does.
fn replace(folder: &Folder, database: &[u8]) {
    let new = folder.path("places/new");
    std::fs::write(&new, database).unwrap();
    std::fs::rename(new, folder.path("places/City.mmdb")).unwrap();
}

fn from(address: &str) -> Span {
    span(1, "call", vec![attribute("client.address", address)])
}

/// The city of an address as the next span shows it.
fn city(sluice: &Sluice, upstream: &Sink, address: &str) -> Option<String> {
    let before = upstream.spans();
    send::all(sluice.grpc(), &[request("shop", vec![from(address)])]).unwrap();
    upstream.wait_for_spans(before + 1);
    text(upstream.decoded_spans().last().unwrap(), "geo.city_name").map(str::to_owned)
}

#[test]
fn addresses_of_both_families_get_a_place() {
    let upstream = Sink::start();
    let config = Config::to(&upstream).processor("geoip", GEOIP);
    let database = places("GeoLite2-City", &[("192.0.2.0/24", "Geneva"), ("2001:db8::/32", "Lausanne")]);
    let sluice = Sluice::start_in(folder(&config, &database));
    for (address, expected) in
        [("192.0.2.7", Some("Geneva")), ("2001:db8::7", Some("Lausanne")), ("198.51.100.7", None)]
    {
        assert_eq!(city(&sluice, &upstream, address).as_deref(), expected, "{address}");
    }
    let first = &upstream.decoded_spans()[0];
    let degrees = |key: &str| {
        let found = first.attributes.iter().find(|attribute| attribute.key == key).unwrap();
        found.value.clone().unwrap().value.unwrap()
    };
    assert_eq!(degrees("geo.location.lat"), Value::DoubleValue(46.5));
    assert_eq!(degrees("geo.location.lon"), Value::DoubleValue(6.25));
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

/// Each look-up costs something, and a call has its time.
#[test]
fn a_request_of_different_addresses_is_no_more_than_a_call_may_take() {
    let upstream = Sink::start();
    let config = Config::to(&upstream).processor("geoip", GEOIP);
    let networks: Vec<_> = (0..=255).map(|i| format!("10.0.{i}.0/24")).collect();
    let cities: Vec<_> = networks.iter().map(|network| (network.as_str(), network.as_str())).collect();
    let sluice = Sluice::start_in(folder(&config, &places("GeoLite2-City", &cities)));
    let spans = (0..1024).map(|i| from(&format!("10.0.{}.{}", i % 256, i / 256 + 1))).collect();
    send::all(sluice.grpc(), &[request("shop", spans)]).unwrap();
    upstream.wait_for_spans(1024);
    for (i, span) in upstream.decoded_spans().iter().enumerate() {
        assert_eq!(text(span, "geo.city_name"), Some(format!("10.0.{}.0/24", i % 256).as_str()));
    }
    assert_eq!(sluice.metrics().sum("sluice_plugin_failures_total", &[]), 0.0);
    assert_eq!(sluice.terminate().account.missing(), 0);
}

#[test]
fn a_database_is_replaced_under_traffic_and_no_span_is_lost() {
    let upstream = Sink::start();
    let config = Config::to(&upstream).processor("geoip", GEOIP);
    let version = |number: usize| places("GeoLite2-City", &[("192.0.2.0/24", &format!("v{number}"))]);
    let sluice = Sluice::start_in(folder(&config, &version(0)));
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let event = |times: usize| {
        wait::until("the database to be noticed", || sluice.log().events("plugin.table").into_iter().nth(times))
    };
    thread::scope(|scope| {
        for connection in 0..2 {
            let (stop, sent, address) = (&stop, &sent, sluice.grpc());
            scope.spawn(move || {
                let client = Grpc::new(address).unwrap();
                let spans = (0..20).map(|i| from(&format!("192.0.2.{}", connection * 20 + i))).collect();
                let wire = request("shop", spans);
                while !stop.load(Ordering::Relaxed) {
                    client.send(&wire).unwrap();
                    sent.fetch_add(20, Ordering::Relaxed);
                }
            });
        }
        for number in 1..=3 {
            replace(sluice.folder(), &version(number));
            assert_eq!(event(number - 1)["outcome"], "loaded");
        }
        // What is no database, and what is another kind of one, leaves what is there.
        replace(sluice.folder(), b"not a database");
        assert_eq!(event(3)["outcome"], "failed");
        replace(sluice.folder(), &places("GeoLite2-ASN", &[("192.0.2.0/24", "x")]));
        let told = event(4);
        assert!(told["reason"].as_str().unwrap().contains("GeoLite2-City"), "{told}");
        let seen = upstream.spans();
        upstream.wait_for_spans(seen + 200);
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(city(&sluice, &upstream, "192.0.2.1").as_deref(), Some("v3"));
    assert_eq!(sluice.swaps("geoip").len(), 1, "no plugin was touched for it");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "refused"), 0);
    let spans = upstream.decoded_spans();
    assert_eq!(spans.len() as u64, sent.load(Ordering::Relaxed) + 1);
    let known = ["v0", "v1", "v2", "v3"];
    assert!(spans.iter().all(|span| text(span, "geo.city_name").is_some_and(|name| known.contains(&name))));
}

#[test]
fn a_database_that_is_not_there_is_told_before_anything_starts() {
    let upstream = Sink::start();
    for (settings, expected) in [
        (GEOIP, "places/City.mmdb: No such file"),
        ("providers: { maxmind: { path: x } }", "unknown field `path`"),
        ("providers: { maxmind: { database_path: config.yaml } }", "config.yaml: "),
    ] {
        let config = Config::to(&upstream).processor("geoip", settings);
        let folder = Folder::new(&config.yaml());
        let output = run(&["validate"], Some(&folder.config()));
        assert_eq!(output.code, 1);
        assert!(output.stderr.contains(expected), "{settings}: {}", output.stderr);
    }
}

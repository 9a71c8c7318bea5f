//! What is added to spans: where an address is, by a database that is replaced while spans flow; where Sluice runs, as
//! its environment and files tell; what follows from what spans have.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use opentelemetry_proto::tonic::common::v1::KeyValue;
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
    fs::create_dir(folder.path("places")).unwrap();
    replace(&folder, database);
    folder
}

/// Puts a database in the place of the one before, as `geoipupdate` does.
fn replace(folder: &Folder, database: &[u8]) {
    let new = folder.path("places/new");
    fs::write(&new, database).unwrap();
    fs::rename(new, folder.path("places/City.mmdb")).unwrap();
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

/// The attributes of the resource that arrived last.
fn resource(upstream: &Sink) -> BTreeMap<String, String> {
    let last = upstream.decoded().pop().unwrap().resource_spans.pop().unwrap();
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        other => format!("{other:?}"),
    };
    let pair = |attribute: KeyValue| (attribute.key, text(attribute.value.unwrap().value.unwrap()));
    last.resource.unwrap().attributes.into_iter().map(pair).collect()
}

/// Sends a span, and gives the attributes that its resource has upstream.
fn detected(sluice: &Sluice, upstream: &Sink) -> BTreeMap<String, String> {
    let before = upstream.spans();
    send::all(sluice.grpc(), &[request("shop", vec![span(1, "call", vec![])])]).unwrap();
    upstream.wait_for_spans(before + 1);
    resource(upstream)
}

#[test]
fn resources_tell_where_they_come_from_and_follow_the_pod_s_labels() {
    let upstream = Sink::start();
    let settings = "detectors: [env, system, k8s_downward_api]\ntimeout: 2s\noverride: false\n\
        k8s_downward_api: { env: { k8s.node.name: TEST_NODE }, files: { k8s.pod.name: pod }, pod_labels: labels, labels: [app] }";
    // The older name of the type.
    let config = Config::to(&upstream).processor("resourcedetection/edge", settings);
    let folder = Folder::new(&config.yaml());
    folder.write("pod", "shop-x1\n");
    folder.write("labels", "app=\"shop\"\nsecret=\"x\"\n");
    let variables = [
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=pro%20duction,service.name=other"),
        ("OTEL_SERVICE_NAME", "other"),
        ("TEST_NODE", "node-7"),
    ];
    let sluice = Sluice::spawn(folder, &variables.map(|(name, value)| (name, OsString::from(value))));
    sluice.wait_ready();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mut expected: BTreeMap<_, _> = [
        ("service.name", "shop"),
        ("deployment.environment.name", "pro duction"),
        ("host.name", host.trim()),
        ("os.type", "linux"),
        ("k8s.node.name", "node-7"),
        ("k8s.pod.name", "shop-x1"),
        ("k8s.pod.label.app", "shop"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    assert_eq!(detected(&sluice, &upstream), expected);
    sluice.folder().write("labels", "app=\"store\"\n");
    let event = wait::until("the labels to be read", || sluice.log().find("plugin.table"));
    assert_eq!((&event["outcome"], &event["table"]), (&"loaded".into(), &"host".into()), "{event}");
    expected.insert("k8s.pod.label.app".to_owned(), "store".to_owned());
    assert_eq!(detected(&sluice, &upstream), expected);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_variable_that_cannot_be_read_costs_no_span_and_is_told() {
    for (value, why) in [(&b"a=1,nonsense"[..], "`nonsense` has no `=`"), (b"a=\xff", "it is not UTF-8")] {
        let upstream = Sink::start();
        let folder = Folder::new(&Config::to(&upstream).processor("resource_detection", "detectors: [env]").yaml());
        let sluice = Sluice::spawn(folder, &[("OTEL_RESOURCE_ATTRIBUTES", OsString::from_vec(value.to_vec()))]);
        sluice.wait_ready();
        let found: Vec<_> = detected(&sluice, &upstream).into_iter().collect();
        assert_eq!(found, [("service.name".into(), "shop".into())], "{why}");
        let told = format!("OTEL_RESOURCE_ATTRIBUTES cannot be read and is left out: {why}");
        wait::until("the log to tell", || sluice.log().text().contains(&told).then_some(()));
        assert_eq!(sluice.terminate().account.missing(), 0);
    }
}

#[test]
fn a_detector_that_is_not_there_is_refused_where_it_stands() {
    let config = Config::to(&Sink::start()).processor("resource_detection", "detectors:\n  - env\n  - ec2");
    let folder = Folder::new(&config.yaml());
    let output = run(&["validate"], Some(&folder.config()));
    let line = 1 + config.yaml().lines().position(|line| line.trim() == "- ec2").unwrap();
    let told = "`detectors[1]`: the detector `ec2` is not supported yet";
    let place = format!("config.yaml:{line}:");
    assert!(output.code == 1 && output.stderr.contains(told) && output.stderr.contains(&place), "{}", output.stderr);
}

#[test]
fn spans_get_what_follows_from_what_they_have() {
    let upstream = Sink::start();
    let settings = "\
lookups:
  - { table: stations, key: station.id, set: { station.city: city } }
envoy: {}
url:
user_agent: {}
span_name: {}
sluice: { tables: { stations: { file: stations.jsonl, key: id } } }";
    let folder = Folder::new(&Config::to(&upstream).processor("enrich", settings).yaml());
    folder.write("stations.jsonl", "{\"id\": \"GVA\", \"city\": \"Geneva\"}\n");
    let sluice = Sluice::start_in(folder);
    let sent = [
        ("component", "proxy"),
        ("guid:x-request-id", "2c6eb8de-5d0f-ab1a-8f43-0c7d4c8fcd3a"),
        ("http.status_code", "404"),
        ("http.url", "https://shop.example/orders/17"),
        ("user_agent", "curl/8.5.0"),
        ("station.id", "GVA"),
    ];
    let envoys = span(1, "GET /orders/17", sent.map(|(key, value)| attribute(key, value)).to_vec());
    let city = |expected: &str| {
        let before = upstream.spans();
        send::all(sluice.grpc(), &[request("shop", vec![envoys.clone(), span(1, "call", vec![])])]).unwrap();
        upstream.wait_for_spans(before + 2);
        let spans = upstream.decoded_spans();
        let [.., got, other] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!(text(got, "station.city"), Some(expected));
        assert_eq!((other.name.as_str(), other.attributes.len()), ("call", 0));
        got.clone()
    };
    let got = city("Geneva");
    assert_eq!(got.name, "GET /orders/{id}");
    let code = got.attributes.iter().find(|one| one.key == "http.response.status_code").unwrap();
    assert_eq!(code.value.clone().unwrap().value, Some(Value::IntValue(404)));
    for (key, value) in [
        ("envoy.trace_reason", "service_forced"),
        ("url.full", "https://shop.example/orders/17"),
        ("url.domain", "shop.example"),
        ("url.path", "/orders/17"),
        ("user_agent.original", "curl/8.5.0"),
        ("user_agent.name", "curl"),
        ("user_agent.version", "8.5.0"),
    ] {
        assert_eq!(text(&got, key), Some(value), "{key}");
    }
    for gone in ["http.url", "http.status_code", "user_agent"] {
        assert_eq!(text(&got, gone), None);
    }
    sluice.folder().write("stations.jsonl", "{\"id\": \"GVA\", \"city\": \"Genf\"}\n");
    wait::until("the table to be read", || sluice.log().find("plugin.table"));
    city("Genf");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_table_that_is_not_given_is_told_before_anything_starts() {
    let settings = "lookups: [{ table: stations, key: id, set: { city: city } }]";
    let folder = Folder::new(&Config::to(&Sink::start()).processor("enrich", settings).yaml());
    let output = run(&["validate"], Some(&folder.config()));
    let told = "the plugin needs the look-up table `stations`";
    assert!(output.code == 1 && output.stderr.contains(told), "{}", output.stderr);
}

/// The plugin itself sees its tables only when spans come.
#[test]
fn a_column_that_a_table_does_not_have_is_told_by_validate() {
    let enrich = "lookups:\n  - table: stations\n    key: station.id\n    set:\n      station.city: city\n      station.town: town\n\
                  sluice: { tables: { stations: { file: stations.csv, key: id } } }";
    let yaml = Config::to(&Sink::start()).processor("enrich", enrich).yaml();
    let folder = Folder::new(&yaml);
    folder.write("stations.csv", "id,city\nGVA,Geneva\n");
    let output = run(&["validate"], Some(&folder.config()));
    assert_eq!(output.code, 1, "{output:?}");
    let line = yaml.lines().position(|line| line.contains("station.town")).unwrap() + 1;
    let told = "the table `stations` has no column `town`; it has `city`, `id`";
    assert!(output.stderr.contains(&format!("config.yaml:{line}:")), "{}", output.stderr);
    assert!(output.stderr.contains(told) && !output.stderr.contains("no column `city`"), "{}", output.stderr);
    folder.write("stations.csv", "id,city,town\nGVA,Geneva,Carouge\n");
    let output = run(&["validate"], Some(&folder.config()));
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
}

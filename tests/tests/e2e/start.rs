//! The start: fast, on ports that are said, and with a clear no when it cannot be.

use std::fs::File;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use sluice_tests::collector::{Config, Folder, Sluice, run};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{process, send, wait};
use tempfile::TempDir;

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
    // It does not wait for the port: `run` would not wait so long.
    let output = run(&["run"], Some(&folder.config()));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains(&first.grpc().port().to_string()), "{output:?}");
    assert_eq!(first.terminate().code, 0);
}

/// The promises: 3 s with an empty code cache, 300 ms with a warm one.
const COLD: Duration = Duration::from_secs(3);
const WARM: Duration = Duration::from_millis(300);

/// The rule for a machine that does much else: what it keeps the process from running does not count; of the
/// processes that compile that is not known, but it is not much each time.
const TRIES: usize = 5;

/// Starts the collector until it is ready in time once; gives that one.
#[track_caller]
fn ready_within(at_most: Duration, mut spawn: impl FnMut() -> Sluice) -> Sluice {
    let in_time = (1..=TRIES).find_map(|attempt| {
        let (started, own) = (Instant::now(), process::kept_from_running(None));
        let sluice = spawn();
        sluice.wait_ready();
        let took = started.elapsed();
        let kept = process::kept_from_running(Some(sluice.pid())).saturating_sub(own);
        println!("ready after {took:?}, kept from running for {kept:?}, attempt {attempt} of {TRIES}");
        (took.saturating_sub(kept) < at_most).then_some(sluice)
    });
    in_time.unwrap_or_else(|| panic!("it was never ready within {at_most:?}"))
}

/// The CPU time of those of a process's children that have ended, in the system's ticks.
fn ticks_of_children(sluice: &Sluice) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", sluice.pid())).unwrap();
    // The name, in parentheses, may hold anything; the times are the 16th and the 17th field.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(13).take(2);
    fields.map(|field| field.parse::<u64>().unwrap()).sum()
}

#[test]
fn it_is_ready_within_three_seconds_with_an_empty_code_cache() {
    let upstream = Sink::start();
    let four = Config::to(&upstream)
        .processor("filter", "traces: { span: ['name == \"GET /health\"'] }")
        .processor("redaction", "allow_all_keys: true\ndetectors: [payment_card, email]")
        .processor("attributes", "actions: [{ key: team, value: deliveries, action: upsert }]")
        .processor("probabilistic_sampler", "sampling_percentage: 50");
    let mut caches = Vec::new();
    let sluice = ready_within(COLD, || {
        let cache = tempfile::tempdir().unwrap();
        let sluice = Sluice::spawn(Folder::new(&four.yaml()), &[("SLUICE_CACHE_DIR", cache.path().into())]);
        caches.push(cache);
        sluice
    });
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
fn that_no_place_for_a_code_cache_is_named_is_told() {
    let upstream = Sink::start();
    let sluice = Sluice::spawn(Folder::new(&Config::to(&upstream).yaml()), &[("SLUICE_CACHE_DIR", "".into())]);
    sluice.wait_ready();
    let told = sluice.log().find("cache").expect("a warning");
    assert_eq!(told["level"], "warn", "{told}");
    assert!(told["reason"].as_str().unwrap().contains("SLUICE_CACHE_DIR"), "{told}");
}

#[test]
fn an_address_of_ours_gives_way_to_one_that_the_configuration_names() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Where nothing is said of `/metrics`, it is at port 8888.
    let receiver = "protocols: { http: { endpoint: '127.0.0.1:8888' } }";
    let yaml = Config::to(&Sink::start()).receiver("otlp", receiver).yaml();
    let without = yaml.lines().filter(|line| !line.contains("readers:")).collect::<Vec<_>>().join("\n");
    let output = run(&["validate"], Some(&Folder::new(&without).config()));
    assert_eq!(output.code, 0, "{output:?}");
    let told = "warning: `/metrics` is not served: receiver `otlp` (http) has its default place `localhost:8888`";
    assert!(output.stderr.contains(told), "{output:?}");
    // Two that are named exclude each other.
    let receiver = format!("protocols:\n  grpc: {{ endpoint: '{port}' }}\n  http: {{ endpoint: '{port}' }}");
    let yaml = Config::to(&Sink::start()).receiver("otlp", &receiver).yaml();
    let line =
        |what: &str| yaml.lines().position(|line| line.contains(what) && line.contains(&port.to_string())).unwrap() + 1;
    let output = run(&["validate"], Some(&Folder::new(&yaml).config()));
    assert_eq!(output.code, 1, "{output:?}");
    for place in [format!("config.yaml:{}:", line("http:")), format!("config.yaml:{}:", line("grpc:"))] {
        assert!(output.stderr.contains(&place), "{place}: {output:?}");
    }
}

#[test]
fn commands_tell_what_there_is_and_what_is_not_there() {
    let listed = run(&["components"], None);
    for line in ["connectors:\n  - spanmetrics\n", "  - resourcedetection\n"] {
        assert!(listed.stdout.contains(line), "{listed:?}");
    }
    let output = run(&["quarantine", "list", "--state-dir", "/nonexistent/here"], None);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    assert!(output.stderr.contains("there is no folder /nonexistent/here"), "{output:?}");
}

/// OTLP's own ports, for as long as the file is kept: others of these tests, and other runs of them on this machine,
/// wait for their turn. `None` if somebody else has one of them.
pub fn usual_ports() -> Option<File> {
    let turn = File::create(std::env::temp_dir().join("sluice-tests-usual-ports.lock")).unwrap();
    turn.lock().unwrap();
    let ports = [4317, 4318];
    ports.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).then_some(turn)
}

#[test]
fn without_a_config_the_embedded_one_serves_on_the_usual_ports() {
    let Some(_turn) = usual_ports() else {
        println!("SKIPPED the embedded default: port 4317 or 4318 is in use");
        return;
    };
    let sluice = Sluice::spawn_default();
    let grpc = std::net::SocketAddr::from(([127, 0, 0, 1], 4317));
    let answered =
        wait::within(wait::PATIENCE, || send::Grpc::new(grpc).unwrap().send(&Exporter::new(92).request(20)).ok());
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
    let component = guests::tester("one");
    let spawn = |cache: &TempDir| {
        let folder = Folder::new(&yaml);
        folder.write("tester.wasm", &component);
        Sluice::spawn(folder, &[("SLUICE_CACHE_DIR", cache.path().into())])
    };
    let mut caches = Vec::new();
    let cold = ready_within(COLD, || {
        caches.push(tempfile::tempdir().unwrap());
        spawn(caches.last().unwrap())
    });
    assert!(ticks_of_children(&cold) > 0, "it is compiled in a child");
    assert_eq!(cold.terminate().code, 0);
    let warm = ready_within(WARM, || spawn(caches.last().unwrap()));
    assert_eq!(ticks_of_children(&warm), 0, "it is not compiled again");
    assert_eq!(warm.terminate().code, 0);
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
    // Another test may have it for a moment. If somebody else has it for longer, it is taken as well.
    let _taken = wait::within(Duration::from_secs(5), || TcpListener::bind("127.0.0.1:8888").ok());
    let upstream = Sink::start();
    let yaml = Config::to(&upstream).yaml();
    let metrics = yaml.lines().find(|line| line.contains("readers")).unwrap();
    let sluice = Sluice::start_in(Folder::new(&yaml.replace(metrics, "")));
    let text = sluice.log().text();
    assert!(text.contains("8888") && text.contains("warn"), "{text}");
    assert_eq!(sluice.terminate().code, 0);
}

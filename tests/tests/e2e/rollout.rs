//! A new version is tried before it serves all, and goes by itself if it is bad.

mod back;
mod canary;
mod fair;
mod meanwhile;
mod pinned;
mod proved;
mod restart;
mod shadow;
mod standby;
mod turns;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sluice_tests::collector::{Config, End, Folder, Output, Sluice, config, run};
use sluice_tests::sink::Sink;
use sluice_tests::soak::Arrived;
use sluice_tests::{process, send, wait};

use crate::guests::{self, Fails, Version};
use crate::odd;
use crate::swap::text;

pub const PLUGIN: &str = "wasm/rollout";

/// What serves first.
pub const ONE: Version = Version::new("one");
pub const TWO: Version = Version::new("two");

/// A collector in which version one serves.
pub fn start(upstream: &Sink, rollout: &str) -> Sluice {
    start_limited(upstream, rollout, "100ms")
}

/// The same with this limit of time for each call.
fn start_limited(upstream: &Sink, rollout: &str, timeout: &str) -> Sluice {
    start_with(ONE, upstream, rollout, timeout)
}

/// The same with this version.
fn start_with(version: Version, upstream: &Sink, rollout: &str, timeout: &str) -> Sluice {
    let settings = format!("module: rollout.wasm\nrollout: {{ {rollout} }}\nlimits: {{ timeout: {timeout} }}");
    // What upstream does not answer in time is sent again, and arrives twice: on a machine in full use, too.
    let patient = "timeout: 60s\nsending_queue: { batch: { flush_timeout: 20ms } }";
    let config = Config::new()
        .exporter("otlp_grpc", &config::grpc(upstream, patient))
        .extension("sluice", "admin: { endpoint: '127.0.0.1:0', token_file: token }")
        .processor(PLUGIN, &settings);
    let folder = Folder::new(&config.yaml());
    folder.write("token", "a token of this test\n");
    folder.write("rollout.wasm", guests::rollout(version));
    Sluice::start_in(folder)
}

/// Replaces the module, and gives the event of what becomes of it first.
#[track_caller]
pub fn replace(sluice: &Sluice, version: Version) -> Value {
    let seen = sluice.swaps(PLUGIN).len();
    sluice.folder().write("rollout.wasm", guests::rollout(version));
    sluice.wait_swap(PLUGIN, seen)
}

/// What the command line says of the plugin, or does with it.
pub fn order(sluice: &Sluice, what: &str) -> Output {
    order_of(sluice, PLUGIN, what)
}

/// The same of any plugin.
pub fn order_of(sluice: &Sluice, plugin: &str, what: &str) -> Output {
    let (endpoint, token) = (sluice.address("sluice", "http").to_string(), sluice.folder().path("token"));
    let token = ["--token-file", token.to_str().unwrap()];
    let token = if what == "show" { &[][..] } else { &token[..] };
    run(&[&["plugin", what, plugin, "--endpoint", &endpoint, "--json"], token].concat(), None)
}

pub fn shown(sluice: &Sluice) -> Value {
    let output = order(sluice, "show");
    assert_eq!(output.code, 0, "{output:?}");
    serde_json::from_str(&output.stdout).unwrap()
}

/// The versions that `/metrics` shows as those that serve.
pub fn serving(sluice: &Sluice) -> Vec<(String, f64)> {
    let metrics = sluice.metrics();
    let ours = metrics.all("sluice_plugin_info").filter(|sample| sample.label("plugin") == PLUGIN);
    ours.map(|sample| (sample.label("version").to_owned(), sample.value)).collect()
}

/// A span of a trace.
pub fn span(trace: &[u8; 16], id: u64, name: &str) -> Vec<u8> {
    let id = (id + 1).to_be_bytes();
    [odd::field(1, trace), odd::field(2, &id), odd::field(5, name.as_bytes())].concat()
}

/// A sender of requests of 20 spans of new traces that goes on until told to stop.
pub struct Flow {
    name: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Flow {
    pub fn start(sluice: &Sluice, seed: u64) -> Self {
        let (name, stop, address) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default(), sluice.grpc());
        let (bad, stopped) = (Arc::clone(&name), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let (mut chance, mut sent) = (StdRng::seed_from_u64(seed), 0);
            while !stopped.load(Ordering::Relaxed) {
                let name = if bad.load(Ordering::Relaxed) { "bad" } else { "good" };
                let requests: Vec<Bytes> = (0..8)
                    .map(|_| odd::request(&(0..20).map(|id| span(&chance.random(), id, name)).collect::<Vec<_>>()))
                    .collect();
                send::all(address, &requests).unwrap();
                sent += 160;
            }
            sent
        });
        Self { name, stop, thread }
    }

    /// From now on spans are named `bad`.
    pub fn turn_bad(&self) {
        self.name.store(true, Ordering::Relaxed);
    }

    /// Stops, and gives how many spans were sent.
    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Waits until so many more spans have arrived.
pub fn flows(upstream: &Sink, spans: u64) {
    upstream.wait_for_spans(upstream.spans() + spans);
}

/// How many different spans have arrived. What upstream does not answer in time is sent again and arrives twice, on a
/// machine that stands still for longer than that; the account has to tell of it.
#[track_caller]
pub fn arrived(upstream: &Sink, end: &End) -> u64 {
    let mut arrived = Arrived::default();
    for wire in upstream.wires() {
        arrived.add(&wire).unwrap();
    }
    let (twice, told) = (arrived.duplicates(), end.account.sum("destination", "redelivered") as u64);
    assert!(twice <= told, "{twice} spans came again, the account knows of {told}: {}", end.stderr);
    arrived.distinct()
}

/// The marks of all spans that arrived, with how many bear them.
pub fn marks(spans: &[Span]) -> HashMap<String, usize> {
    let mut marks = HashMap::new();
    for span in spans {
        *marks.entry(text(span, "mark").unwrap_or("none").to_owned()).or_default() += 1;
    }
    marks
}

/// The bad versions, and what says which bound they are beyond.
const BAD: [(Version, &str); 4] = [
    (Version { fails: Fails::Traps, ..TWO }, "max_failure_ratio"),
    (Version { fails: Fails::Spins, ..TWO }, "max_failure_ratio"),
    (Version { burns: 5, ..TWO }, "max_latency_ratio"),
    (Version { drops: 60, ..TWO }, "max_drop_ratio"),
];

/// How long a bad version may be there, by the collector's own clock: from its first call that fails, or from
/// its coming in if all of its calls are bad, to its going. What the machine keeps the collector from running
/// does not count.
const GONE: Duration = Duration::from_secs(2);

/// The rule for a machine that does much else: what it keeps threads from running that have ended is not known, so
/// that a version may seem to go late, but not each time.
const TRIES: usize = 3;

/// Has bad versions come in under a strategy, and sees them go in time.
fn bad_versions_go(strategy: &str, trigger: &str) {
    for (number, (version, bound)) in BAD.into_iter().enumerate() {
        let in_time = (1..=TRIES).any(|attempt| {
            let took = goes(strategy, trigger, version, bound, number as u64);
            println!("{version:?} under {strategy}: gone after {took:?}, attempt {attempt} of {TRIES}");
            took <= GONE
        });
        assert!(in_time, "{version:?} under {strategy} was never gone within {GONE:?}");
    }
}

/// The time from one event of the log to another, which came within a day.
pub fn between(from: &Value, to: &Value) -> Duration {
    const DAY: u64 = 86_400_000;
    // `2026-11-21T12:34:56.789Z`
    let millis = |event: &Value| {
        let clock = event["time"].as_str().and_then(|time| time.get(11..23)).expect("an event has its time");
        let parts: Vec<u64> = clock.split([':', '.']).map(|part| part.parse().unwrap()).collect();
        ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1_000 + parts[3]
    };
    Duration::from_millis((millis(to) + DAY - millis(from)) % DAY)
}

/// Waits until it is known what calls usually take: of at least eight, of which one is looked at in 100 ms. So there
/// have to be twice as many such times in which spans came: in any two that follow each other one was looked at.
fn until_usual(upstream: &Sink) {
    const SLOTS: usize = 16;
    let (mut slots, mut looked, mut arrived) = (0, Instant::now(), upstream.spans());
    wait::until("traffic for a while", || {
        let now = upstream.spans();
        if looked.elapsed() >= Duration::from_millis(100) && now > arrived {
            (slots, looked, arrived) = (slots + 1, Instant::now(), now);
        }
        (slots >= SLOTS).then_some(())
    });
}

/// Has a bad version come in; gives how long it was there.
fn goes(strategy: &str, trigger: &str, version: Version, bound: &str, seed: u64) -> Duration {
    let upstream = Sink::start();
    // Far above what a call takes that comes back.
    let sluice = start_limited(&upstream, &format!("{strategy}, max_drop_ratio: 0.5"), "20ms");
    let flow = Flow::start(&sluice, seed);
    until_usual(&upstream);
    let kept = process::kept_from_running(Some(sluice.pid()));
    let came = replace(&sluice, version);
    flow.turn_bad();
    let gone = wait::until("it to go", || sluice.swaps(PLUGIN).into_iter().nth(2));
    let kept = process::kept_from_running(Some(sluice.pid())).saturating_sub(kept);
    let failure = sluice.log().events("plugin.failure").into_iter().find(|event| event["version"] == TWO.mark);
    let kind = failure.as_ref().map_or("none", |event| event["kind"].as_str().unwrap());
    let expected = match version.fails {
        Fails::Never | Fails::Slows => "none",
        Fails::Traps => "trap",
        Fails::Spins => "timeout",
    };
    assert_eq!(kind, expected, "{failure:?}");
    let took = between(failure.as_ref().unwrap_or(&came), &gone).saturating_sub(kept);
    assert_eq!((&gone["outcome"], &gone["trigger"]), (&"rolled_back".into(), &trigger.into()), "{gone}");
    assert_eq!((&gone["from"], &gone["to"]), (&came["to"], &came["from"]));
    assert!(gone["reason"].as_str().is_some_and(|reason| reason.contains(bound)), "{gone}");
    flows(&upstream, 100);
    let sent = flow.end();
    let shown = shown(&sluice);
    assert_eq!((&shown["version"], &shown["rolled_back"], shown.get("candidate")), (&"one".into(), &came["to"], None));
    assert_eq!(shown["last_swap"]["reason"], gone["reason"], "{shown}");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(arrived(&upstream, &end) as i64, sent as i64 - end.account.dropped_by(PLUGIN));
    if version.drops == 0 {
        assert_eq!(end.account.dropped_by(PLUGIN), 0, "nobody pays for its failures");
    }
    took
}

#[test]
fn a_bad_version_goes_by_itself_while_it_is_on_probation() {
    // Its own failures refuse requests until it is gone; then they come again.
    bad_versions_go("strategy: immediate", "probation");
}

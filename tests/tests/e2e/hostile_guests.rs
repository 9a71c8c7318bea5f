//! Guests below the SDK that do their worst, in a running collector with a neighbour under traffic.
//!
//! A guest is a file in `guests/hostile`: a few sections of WebAssembly text around which the
//! sandbox's own tests build a component. What must come of it stands in [`expectations`].

use std::collections::BTreeMap;
use std::path::Path;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use sluice_test_mmdb::{Database, map};
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::send::{self, Grpc};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{wait, wire};

use crate::odd;
use crate::poison::request;
use guest::{Guest, little_endian};

#[path = "../../../host/sandbox/tests/sandbox/guest.rs"]
#[allow(dead_code, reason = "the sandbox's tests need more of it")]
pub mod guest;

#[path = "../../../host/sandbox/tests/sandbox/wasi.rs"]
pub mod wasi;

mod compiling;
mod hoards;
mod replaced;

mod expectations {
    /// What a guest comes to.
    pub enum Expected {
        /// It is not put in place, for a reason with this text, and is counted under this word; the version before
        /// serves on.
        Refused(&'static str, &'static str),
        /// It fails on requests of several spans; this kind of failure is counted, and no other.
        Fails(&'static str),
        /// It serves, and this kind is counted.
        Goes(&'static str),
        /// It fails on one span, which is found and dropped; the others go on, and this kind is counted.
        Isolated(&'static str),
    }

    use Expected::{Fails, Goes, Isolated, Refused};

    pub const ALLOCATES_IN_A_HOST_CALL: Expected = Fails("trap");
    pub const COLUMNS_OF_UNEQUAL_LENGTH: Expected = Fails("host_refused");
    pub const COMPILES_FOR_MINUTES: Expected = Refused("(limits.compile_timeout)", "compile_timeout");
    pub const DESCRIBES_ITSELF_IN_MEGABYTES: Expected = Refused("with a version of 8388608 bytes", "description");
    pub const DESCRIBES_ITSELF_OVER_LINES: Expected = Refused("which has control characters", "description");
    pub const EDITS_AN_UNDECLARED_KEY: Expected = Fails("host_refused");
    pub const ENDS_THAT_LIE: Expected = Fails("host_refused");
    pub const FLOODS_EDITS: Expected = Fails("output");
    pub const FLOODS_LOGS: Expected = Goes("log");
    pub const FLOODS_METRICS: Expected = Goes("metrics");
    pub const FLOODS_THE_HOST_WITH_CALLS: Expected = Fails("host_calls");
    pub const FLOODS_THE_STORE: Expected = Goes("store");
    pub const FORGES_A_HANDLE: Expected = Fails("trap");
    pub const GIVES_UP_IN_MEGABYTES: Expected = Fails("trap");
    pub const GROWS_MEMORY: Expected = Fails("memory");
    pub const GROWS_TABLES: Expected = Fails("memory");
    pub const IMPORTS_WASI: Expected = Refused("it imports `wasi:clocks/monotonic-clock@0.2.0`", "imports");
    pub const IS_100_MB: Expected = Refused("has 100000000 bytes, more than the limit", "size");
    pub const IS_A_CORE_MODULE: Expected = Refused("cargo xtask componentize", "not_a_component");
    pub const IS_TRUNCATED: Expected = Refused("it is not a WebAssembly component", "not_a_component");
    pub const KEEPS_THE_HANDLE_AFTER_THE_CALL: Expected = Fails("trap");
    pub const LARGE_FROM_THE_START: Expected = Refused("set up: memory", "memory");
    pub const LEAKS_A_BORROW: Expected = Fails("trap");
    pub const LISTS_OUT_OF_MEMORY: Expected = Fails("trap");
    pub const LOOKS_UP_A_COLUMN_OF_DOTS: Expected = Fails("host_refused");
    pub const READS_AN_UNDECLARED_KEY: Expected = Fails("host_refused");
    pub const RECURSES: Expected = Fails("trap");
    pub const REPLACED_FOR_MORE_SERIES: Expected = Goes("metrics");
    pub const ROWS_OUT_OF_RANGE: Expected = Fails("host_refused");
    pub const SPEAKS_ANOTHER_CONTRACT: Expected = Refused("this version of Sluice speaks 0.1.0", "contract");
    pub const SPINS_AT_START: Expected = Refused("set up: timeout", "timeout");
    pub const SPINS_IN_CONFIGURE: Expected = Refused("set up: timeout", "timeout");
    pub const SPINS_IN_DESCRIBE: Expected = Refused("set up: timeout", "timeout");
    pub const SPINS_IN_HOST_CALLS: Expected = Fails("timeout");
    pub const SPINS_IN_PROCESS: Expected = Fails("timeout");
    pub const TEXT_THAT_IS_NOT_UTF8: Expected = Fails("host_refused");
    pub const TRAPS_ALWAYS: Expected = Fails("trap");
    pub const TRAPS_ON_SPAN_N: Expected = Isolated("trap");
}

use expectations::Expected;

include!(concat!(env!("OUT_DIR"), "/hostile_guests.rs"));

/// Turns a guest's file into the bytes of the plugin's file.
fn component(text: &'static str) -> Vec<u8> {
    let mut guest = Guest::new();
    let mut version = None;
    for section in format!("\n{text}").split("\n@").skip(1) {
        let (head, body) = section.split_once('\n').unwrap_or((section, ""));
        let mut words = head.split_whitespace();
        let kind = words.next().unwrap();
        let words: Vec<&'static str> = words.map(|word| &*word.to_owned().leak()).collect();
        guest = match kind {
            "process" => guest.with_many(body),
            "whole-process" => guest.whole_process(body),
            "describe" => guest.before_describe(body),
            "configure" => guest.configure(body),
            "start" => guest.start(body),
            "module" => guest.module(body),
            "imports" => guest.imports(body),
            "pages" => guest.pages(words[0].parse().unwrap()),
            "capabilities" => guest.capabilities(&words),
            "access" => guest.access(&words[1..2], &words[3..4]),
            "text" => guest.data(words[0].parse().unwrap(), words[1]),
            "u32" => {
                let numbers: Vec<u32> = words[1..].iter().map(|word| word.parse().unwrap()).collect();
                guest.data(words[0].parse().unwrap(), little_endian(&numbers))
            }
            "bomb" => guest.module(&bomb(3_000)),
            "version" => {
                version = Some(format!("@{}", words[0]));
                guest
            }
            "bytes" => return bytes(words[0]),
            other => panic!("no section is called {other}"),
        };
    }
    match version {
        Some(version) => guest.component_for(|text, _| text.replace("@0.1.0", &version)),
        None => guest.component(),
    }
}

/// Files that are no component of ours.
fn bytes(what: &str) -> Vec<u8> {
    match what {
        "core" => wat::parse_str("(module)").unwrap(),
        "wasi" => wat::parse_str("(component (import \"wasi:clocks/monotonic-clock@0.2.0\" (instance)))").unwrap(),
        "half" => {
            let mut whole = Guest::new().component();
            whole.truncate(whole.len() / 2);
            whole
        }
        size => vec![0; size.parse().unwrap()],
    }
}

/// A function that takes a compiler long, with 3,000 loops minutes: every one of them hands on every local.
pub fn bomb(loops: usize) -> String {
    let step =
        |n: usize| format!("loop local.get {} local.get {} i64.add local.set {} ", n % 400, n * 7 % 400, n * 13 % 400);
    let body: String = (0..loops).map(step).collect();
    let ends = "local.get 0 i64.eqz br_if 0 end ".repeat(loops);
    format!("(func $bomb (local {}) {body} {ends})", "i64 ".repeat(400))
}

/// What is counted of the guest, and the label that says why.
const COUNTERS: [(&str, &str); 2] =
    [("sluice_plugin_failures_total", "kind"), ("sluice_plugin_refusals_total", "reason")];

/// Failures of the guest and refusals of it by counter and kind, summed over its versions.
fn counted(sluice: &Sluice) -> BTreeMap<(&'static str, String), f64> {
    let (metrics, mut sums) = (sluice.metrics(), BTreeMap::new());
    for (counter, label) in COUNTERS {
        for sample in metrics.all(counter).filter(|sample| sample.label("plugin") == "wasm/guest") {
            *sums.entry((counter, sample.label(label).to_owned())).or_default() += sample.value;
        }
    }
    sums
}

/// Counters and kinds whose count has risen.
fn risen<K: Ord + Clone>(before: &BTreeMap<K, f64>, after: &BTreeMap<K, f64>) -> Vec<K> {
    after.iter().filter(|(kind, now)| before.get(kind) != Some(now)).map(|(kind, _)| kind.clone()).collect()
}

/// Spans that were dropped because the guest fails on them.
fn poison(sluice: &Sluice) -> f64 {
    let labels = [("level", "pipeline"), ("outcome", "dropped"), ("by", "wasm/guest"), ("reason", "poison")];
    sluice.metrics().sum("sluice_account_spans", &labels)
}

/// Puts a file in the plugin's place and waits for a swap that is like this.
#[track_caller]
fn swap(sluice: &Sluice, component: &[u8], is_it: impl Fn(&Value) -> bool) {
    let seen = sluice.swaps("wasm/guest").len();
    sluice.folder().write("guest.wasm", component);
    wait::until("the swap", || sluice.swaps("wasm/guest").into_iter().skip(seen).find(&is_it));
}

/// A sender of 2,000 spans a second to the neighbour, which notes how long each request took while a
/// guest was at work (`true`), and between.
struct Neighbour {
    at_work: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(u64, [Vec<Duration>; 2])>,
}

/// The memory that a guest may have unless configured, and what a process may need beside.
const LIMIT_MIB: u64 = 32;
const MARGIN_MIB: u64 = 10;

/// Lines of the log are shorter, whatever guests say.
const LINE: usize = 16 << 10;

const SPANS: usize = 50;
const EVERY: Duration = Duration::from_millis(25);

impl Neighbour {
    fn start(sluice: &Sluice) -> Self {
        let (at_work, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (working, stopped) = (Arc::clone(&at_work), Arc::clone(&stop));
        let client = Grpc::new(sluice.address("otlp/neighbour", "grpc")).unwrap();
        let thread = thread::spawn(move || {
            let (mut sent, mut took) = (0, [Vec::new(), Vec::new()]);
            let mut exporter = Exporter::new(141);
            while !stopped.load(Ordering::Relaxed) {
                let (request, before) = (exporter.request(SPANS), working.load(Ordering::Relaxed));
                let began = Instant::now();
                client.send(&request).expect("the neighbour is served");
                let lasted = began.elapsed();
                sent += wire::count(&request).unwrap();
                if before == working.load(Ordering::Relaxed) {
                    took[usize::from(before)].push(lasted);
                }
                // What is paced has to wait.
                thread::sleep(EVERY.saturating_sub(lasted));
            }
            (sent, took)
        });
        Self { at_work, stop, thread }
    }

    fn end(self) -> (u64, [Vec<Duration>; 2]) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// What this part of them took at most, in percent.
fn share(took: &mut [Duration], percent: usize) -> Duration {
    took.sort_unstable();
    took[took.len() * percent / 100]
}

/// Resident memory in MiB: as it is now (`VmRSS`), or the most since the last reset (`VmHWM`).
fn resident_mib(sluice: &Sluice, which: &str) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(sluice.pid().to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() >> 10
}

/// From now on the system notes anew how much memory was resident at most.
fn reset_peak(sluice: &Sluice) {
    std::fs::write(format!("/proc/{}/clear_refs", sluice.pid()), "5").unwrap();
}

/// A compiler that has been killed uses no more time: the collector has no child left.
fn has_children(sluice: &Sluice) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", sluice.pid())).unwrap().flatten();
    let children = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks.map(children).any(|children| !children.trim().is_empty())
}

/// A request of several spans, on which guests do their worst. It is larger than what is kept for trying new
/// versions: guests pass that trial, as they harm nobody with one span.
fn many() -> Bytes {
    let large = odd::field(9, &odd::text("large", &"-".repeat(1 << 20)));
    let spans = (0..20).map(|span| odd::span(1, span, if span == 0 { slice::from_ref(&large) } else { &[] }));
    odd::request(&spans.collect::<Vec<_>>())
}

/// What a guest may cost the neighbour on a machine on which half of its requests take no longer than this
/// without a guest. On one that is slower by whatever else it does it may cost as much more.
const NOTICED: Duration = Duration::from_millis(20);
const USUAL: Duration = Duration::from_millis(4);

/// The rule for a machine that does much else: what else it does may come with guests more than without, but
/// not each time. All the rest has to hold each time.
const TRIES: usize = 3;

#[test]
fn every_guest_is_contained_and_counted_under_its_own_name_and_the_neighbour_does_not_notice() {
    let unnoticed = (1..=TRIES).any(|attempt| {
        let [mut without, mut with] = all_guests();
        let (half, p99) = (share(&mut without, 50), share(&mut without, 99));
        let (slower, with) = (half.as_secs_f64() / USUAL.as_secs_f64(), share(&mut with, 99));
        println!("the neighbour's p99: {with:?} with guests, {p99:?} without; half take {half:?}, attempt {attempt}");
        with <= p99 + NOTICED.mul_f64(slower.max(1.0))
    });
    assert!(unnoticed, "the neighbour's p99 was more than {NOTICED:?} above that without guests each time");
}

/// Has all guests come one after the other. Gives what the neighbour waited for without and with them.
fn all_guests() -> [Vec<Duration>; 2] {
    let (upstream, neighbours) = (Sink::start(), Sink::start());
    let receiver = "protocols: { grpc: { endpoint: '127.0.0.1:0' } }";
    // Nobody stands by on whom what a guest fails on could fall.
    let limits = "module: guest.wasm\nrollout: { probation: 0s }\ntables: { places: { file: places.mmdb } }\n\
        limits: { store_mib: 1, metric_series: 10, compile_timeout: 1s }";
    let batch = "sending_queue: { batch: { flush_timeout: 20ms } }";
    let config = Config::to(&upstream)
        .receiver("otlp/neighbour", receiver)
        .exporter("otlp_grpc/neighbour", &sluice_tests::collector::config::grpc(&neighbours, batch))
        .processor("wasm/guest", limits)
        .processor("attributes", "actions: [{ key: team, value: deliveries, action: upsert }]")
        .pipeline("traces/guest", &["otlp"], &["wasm/guest"], &["otlp_grpc"])
        .pipeline("traces/neighbour", &["otlp/neighbour"], &["attributes"], &["otlp_grpc/neighbour"]);
    let folder = Folder::new(&config.yaml());
    folder.write(
        "places.mmdb",
        Database::new("Places").network("81.2.69.0/24", map([("city", "London".into())])).bytes(),
    );
    let harmless = Guest::new().component();
    folder.write("guest.wasm", &harmless);
    let sluice = Sluice::start_in(folder);
    let client = Grpc::new(sluice.grpc()).unwrap();
    let neighbour = Neighbour::start(&sluice);
    neighbours.wait_for_spans(2_000);
    let resident = resident_mib(&sluice, "VmRSS");
    let (mut most_grown, mut left) = ((0, ""), None::<&str>);
    assert!(GUESTS.len() >= 30, "the folder of guests is where it was");

    let many = many();
    client.send(&request(1, &[])).expect("one span harms nobody");
    for (name, text, expected) in GUESTS {
        println!("{name}");
        let (component, before, poisoned) = (component(text), counted(&sluice), poison(&sluice));
        // A late look may have found the file of the guest before once more, if that was refused.
        let again = left.take().map(|word| (COUNTERS[1].0, word.to_owned()));
        let assert_rose = |counter: usize, kind: &str| {
            let expected = (COUNTERS[counter].0, kind.to_owned());
            let mut rose = risen(&before, &counted(&sluice));
            rose.retain(|one| *one == expected || again.as_ref() != Some(one));
            assert_eq!(rose, [expected], "{name}");
        };
        reset_peak(&sluice);
        let resident = resident_mib(&sluice, "VmRSS");
        neighbour.at_work.store(true, Ordering::Relaxed);
        match expected {
            Expected::Refused(reason, word) => {
                swap(&sluice, &component, |event| {
                    event["outcome"] == "failed" && event["reason"].as_str().is_some_and(|told| told.contains(reason))
                });
                // That it uses no more time two seconds later is shown in `compiling`.
                wait::until("the compiler to be gone", || (!has_children(&sluice)).then_some(()));
                client.send(&many).expect("the version before serves");
                assert_rose(1, word);
                left = Some(*word);
            }
            Expected::Fails(kind) | Expected::Goes(kind) | Expected::Isolated(kind) => {
                swap(&sluice, &component, |event| event["outcome"] == "swapped");
                let served = client.send(&many).is_ok();
                assert_eq!(served, !matches!(expected, Expected::Fails(_)), "{name}");
                assert_rose(0, kind);
                let spans = if matches!(expected, Expected::Isolated(_)) { 1.0 } else { 0.0 };
                assert_eq!(poison(&sluice) - poisoned, spans, "{name}");
                swap(&sluice, &harmless, |event| event["outcome"] == "swapped");
                send::all(sluice.grpc(), slice::from_ref(&many)).unwrap();
            }
        }
        neighbour.at_work.store(false, Ordering::Relaxed);
        let grown = resident_mib(&sluice, "VmHWM").saturating_sub(resident);
        most_grown = most_grown.max((grown, *name));
        assert!(grown <= LIMIT_MIB + MARGIN_MIB, "{name}: {grown} MiB more at its peak than before it");
        // As much time without a guest, for comparison.
        let so_far = neighbours.spans();
        neighbours.wait_for_spans(so_far + 1_000);
    }
    let grown = resident_mib(&sluice, "VmRSS").saturating_sub(resident);
    let longest = sluice.log().lines().iter().map(String::len).max();
    assert!(longest.is_some_and(|longest| longest < LINE), "a line of {longest:?} bytes in the log");
    let (sent, waits) = neighbour.end();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), neighbours.spans()), (0, 0, sent), "{}", end.stderr);
    println!("{grown} MiB grown, {most_grown:?} at most");
    assert!(grown <= LIMIT_MIB + MARGIN_MIB, "{grown} MiB more than before the guests");
    waits
}

//! A collector with a guest, and what is looked at when another one takes its place.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use sluice_test_mmdb::{Database, map};
use sluice_tests::collector::{Config, Folder, Sluice, config};
use sluice_tests::send::Grpc;
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use super::attack::{self, Answers, Attack};
use super::expectations::Expected;
use super::guest::Guest;
use super::machine::{has_children, reset_peak, resident_mib};
use super::neighbour::Neighbour;
use super::stretch::Stretch;

/// What is counted of the guest, and the label that says why.
const COUNTERS: [(&str, &str); 2] = [(FAILURES, "kind"), (REFUSALS, "reason")];
const FAILURES: &str = "sluice_plugin_failures_total";
const REFUSALS: &str = "sluice_plugin_refusals_total";

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

/// Spans of the neighbour that come while a guest is there, and between two guests: a second, and a half.
const BESIDE_A_GUEST: u64 = 2_000;
const BETWEEN: u64 = 1_000;

/// Lines of the log are shorter, whatever guests say.
const LINE: usize = 16 << 10;

/// Starts a collector that compiles what it is given itself: no code is there that was compiled before.
pub fn start(folder: Folder) -> Sluice {
    let cache = folder.path("cache");
    let sluice = Sluice::spawn(folder, &[("SLUICE_CACHE_DIR", cache.into_os_string())]);
    sluice.wait_ready();
    sluice
}

/// A collector with a guest, a neighbour beside it, and senders to both.
pub struct Stage {
    pub sluice: Sluice,
    upstream: Sink,
    neighbours: Sink,
    attack: Attack,
    pub neighbour: Neighbour,
    harmless: Vec<u8>,
    /// What a late look at the file may count once more, as the guest before was refused for it.
    again: Option<(&'static str, String)>,
}

impl Stage {
    pub fn set() -> Self {
        let (upstream, neighbours) = (Sink::start(), Sink::start());
        let receiver = "protocols: { grpc: { endpoint: '127.0.0.1:0' } }";
        // Nobody stands by on whom what a guest fails on could fall.
        let guest = "module: guest.wasm\nrollout: { probation: 0s }\n\
            tables: { places: { file: places.mmdb } }\nlimits: { store_mib: 1, metric_series: 10, compile_timeout: 10s }";
        let batch = "batch: { flush_timeout: 20ms }";
        // However slow upstream is, only what is on its way is in memory.
        let waits = format!("compression: none\nsending_queue: {{ wait_for_result: true, {batch} }}");
        let config = Config::new()
            .receiver("otlp/neighbour", receiver)
            .exporter("otlp_grpc", &config::grpc(&upstream, &waits))
            .exporter("otlp_grpc/neighbour", &config::grpc(&neighbours, &format!("sending_queue: {{ {batch} }}")))
            .processor("wasm/guest", guest)
            .processor("attributes", "actions: [{ key: team, value: deliveries, action: upsert }]")
            .pipeline("traces/guest", &["otlp"], &["wasm/guest"], &["otlp_grpc"])
            .pipeline("traces/neighbour", &["otlp/neighbour"], &["attributes"], &["otlp_grpc/neighbour"]);
        let (folder, harmless) = (Folder::new(&config.yaml()), Guest::new().component());
        folder.write("guest.wasm", &harmless);
        let place = Database::new("Places").network("81.2.69.0/24", map([("city", "London".into())]));
        folder.write("places.mmdb", place.bytes());
        let sluice = start(folder);
        // What new versions are tried with from now on.
        Grpc::new(sluice.grpc()).unwrap().send(&attack::request(1)).expect("one span harms nobody");
        let neighbour = Neighbour::start(&sluice);
        let attack = Attack::start(sluice.grpc());
        let stage = Self { sluice, upstream, neighbours, attack, neighbour, harmless, again: None };
        stage.pass(BESIDE_A_GUEST);
        stage
    }

    /// Waits until the neighbour's upstream has so many spans more.
    fn pass(&self, spans: u64) {
        let so_far = self.neighbours.spans();
        self.neighbours.wait_for_spans(so_far + spans);
        // What has been counted need not be kept.
        drop((self.upstream.take(), self.neighbours.take()));
    }

    /// What has been since then.
    fn since(&self, from: Instant) -> Stretch {
        Stretch { from, to: Instant::now(), peak_mib: resident_mib(&self.sluice, "VmHWM") }
    }

    /// The same when requests have come and were answered, which on a machine in full use takes its time.
    fn answered_since(&self, from: Instant) -> (Stretch, Answers) {
        wait::until("answers", || {
            let stretch = self.since(from);
            let answers = self.attack.within(&stretch);
            (answers != Answers::default()).then_some((stretch, answers))
        })
    }

    /// The harmless guest is at work, and takes everything.
    pub fn without(&self) -> Stretch {
        reset_peak(&self.sluice);
        let from = Instant::now();
        self.pass(BETWEEN);
        let (stretch, answers) = self.answered_since(from);
        assert_eq!(answers.refused, 0);
        stretch
    }

    /// The guest is put in place and goes again. Gives how requests were answered that came while it was there.
    pub fn with(&mut self, name: &str, component: &[u8], expected: &Expected) -> (Stretch, Answers) {
        let (before, poisoned) = (counted(&self.sluice), poison(&self.sluice));
        reset_peak(&self.sluice);
        let from = Instant::now();
        let there = if let Expected::Refused(reason, _) = expected {
            swap(&self.sluice, component, |event| {
                event["outcome"] == "failed" && event["reason"].as_str().is_some_and(|told| told.contains(reason))
            });
            // That it uses no more time two seconds later is shown in `compiling`.
            wait::until("the compiler to be gone", || (!has_children(&self.sluice)).then_some(()));
            // All the time the version before was there.
            from
        } else {
            swap(&self.sluice, component, |event| event["outcome"] == "swapped");
            Instant::now()
        };
        self.pass(BESIDE_A_GUEST);
        let (_, answers) = self.answered_since(there);
        if !matches!(expected, Expected::Refused(..)) {
            swap(&self.sluice, &self.harmless, |event| event["outcome"] == "swapped");
        }
        let stretch = self.since(from);

        let (some_taken, some_refused) = (answers.taken > 0, answers.refused > 0);
        let as_expected = match expected {
            Expected::Fails(_) => some_refused && !some_taken,
            // Others are refused while it is left alone, as it fails again and again.
            Expected::Isolated(_) => some_taken,
            Expected::Refused(..) | Expected::Goes(_) | Expected::Serves => some_taken && !some_refused,
        };
        assert!(as_expected, "{name}: {answers:?}");

        // One span of each request that was taken, perhaps also of those on their way while it came or went.
        let isolates = matches!(expected, Expected::Isolated(_));
        let (least, most) = if isolates { (answers.taken, self.attack.around(&stretch).taken) } else { (0, 0) };
        let dropped = (poison(&self.sluice) - poisoned) as u64;
        assert!((least..=most).contains(&dropped), "{name}: {dropped} spans, and {answers:?}");

        let rises = match expected {
            Expected::Refused(_, word) => Some((REFUSALS, (*word).to_owned())),
            Expected::Fails(kind) | Expected::Goes(kind) | Expected::Isolated(kind) => {
                Some((FAILURES, (*kind).to_owned()))
            }
            Expected::Serves => None,
        };
        let mut rose = risen(&before, &counted(&self.sluice));
        rose.retain(|one| Some(one) == rises.as_ref() || self.again.as_ref() != Some(one));
        assert_eq!(rose, Vec::from_iter(rises.clone()), "{name}");
        self.again = rises.filter(|(counter, _)| *counter == REFUSALS);
        (stretch, answers)
    }

    /// Everything adds up: what both pipelines were sent has arrived, but for what was isolated.
    pub fn end(self) {
        let (answers, sent) = (self.attack.end(), self.neighbour.end());
        let dropped = poison(&self.sluice) as u64;
        let longest = self.sluice.log().lines().iter().map(String::len).max();
        assert!(longest.is_some_and(|longest| longest < LINE), "a line of {longest:?} bytes in the log");
        let end = self.sluice.terminate();
        assert_eq!((end.code, end.account.missing(), self.neighbours.spans()), (0, 0, sent), "{}", end.stderr);
        let taken = 1 + answers.taken * u64::from(attack::SPANS);
        assert_eq!(self.upstream.spans(), taken - dropped, "{}", end.stderr);
    }
}

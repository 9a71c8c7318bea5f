//! `swaps`: two plugins of a chain and the configuration are changed again and again under load, for
//! good and for bad. Nothing may be lost or come twice, every span is processed by exactly one version
//! of each plugin, all spans of a request by the same under one configuration; what is bad never serves, and
//! what was replaced serves no more.

mod beside;
mod history;
mod load;
mod marks;
mod stage;
mod version;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde::Serialize;

use super::resident;
use crate::process;
use crate::sink::Sink;
use crate::wait;
use beside::Beside;
use load::{Load, Sent};
use stage::Stage;
use version::Template;

/// The places of the plugins in the chain, which are a part of their marks.
const FIRST: &str = "first";
const SECOND: &str = "second";

/// How many kinds of change there are: so many changes do each once.
pub const KINDS: u32 = Change::ALL.len() as u32;

/// What is done to the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Another version, renamed into its place.
    Renamed,
    /// Another file of the same version string.
    SameVersion,
    /// Another version, written in place in pieces.
    WrittenSlowly,
    /// Another version, by a flip of the link of a `ConfigMap` mount.
    ConfigMap,
    /// Both plugins and the configuration.
    AllAtOnce,
    /// Half of a file.
    Broken,
    /// A version that traps.
    Traps,
    /// A version that does not come back.
    Spins,
    /// A version that does not come back either, but only after its self-test.
    TimesOutLive,
}

impl Change {
    const ALL: [Self; 9] = [
        Self::Renamed,
        Self::SameVersion,
        Self::WrittenSlowly,
        Self::ConfigMap,
        Self::AllAtOnce,
        Self::Broken,
        Self::Traps,
        Self::Spins,
        Self::TimesOutLive,
    ];
}

/// Between two changes, at least; then until spans have come that each version has worked on.
const REST: Duration = Duration::from_millis(150);
/// What a change takes, about.
const CHANGE: Duration = Duration::from_millis(600);
/// The run without swaps, at least and by change.
const BEFORE: Duration = Duration::from_secs(2);
const BEFORE_EACH: Duration = Duration::from_millis(60);
/// After so many changes memory has to be flat but for [`GROWTH`].
const WARM: u32 = 20;
const GROWTH: u64 = 15_000_000;
/// No sender is to wait for longer than this beyond the p99 without swaps.
const PAUSE: Duration = Duration::from_millis(5);
/// What a call of a plugin may take, unless configured.
const LIMIT: Duration = Duration::from_millis(10);
/// Within this a good file serves and a bad one is reported.
const PROMPT: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// `swaps`.
    pub soak: &'static str,
    /// For another run like it.
    pub seed: u64,
    /// How many changes were made.
    pub swaps: u32,
    /// What did not come to what it should within a minute. Anything but none is a failure.
    pub wrong_outcomes: Vec<String>,
    /// The longest from a good file being there to its version serving.
    pub slowest_good_milliseconds: u64,
    /// The longest from a bad file being there to its report.
    pub slowest_bad_milliseconds: u64,
    /// Spans of requests that were answered with success.
    pub acknowledged_spans: u64,
    /// Different spans that arrived upstream.
    pub arrived_spans: u64,
    /// Acknowledged and never arrived. Anything but 0 is a failure.
    pub lost_spans: u64,
    /// Arrived again. Anything but 0 is a failure.
    pub duplicate_spans: u64,
    /// Not processed exactly once by exactly one version of each plugin. Anything but 0 is a failure.
    pub wrongly_marked_spans: u64,
    /// Processed by a version that must not have served. Anything but 0 is a failure.
    pub foreign_spans: u64,
    /// Requests whose spans were not all processed by the same versions, of one configuration. Anything but 0 is a
    /// failure.
    pub mixed_requests: u64,
    /// Requests that began after another version or configuration was told to serve than those which processed them,
    /// but for what stands in for it. Anything but 0 is a failure.
    pub stale_requests: u64,
    /// Good versions and configurations that no span has seen. Anything but 0 is a failure.
    pub unseen_versions: u64,
    /// Spans that the account does not explain. Anything but 0 is a failure.
    pub missing_spans: i64,
    /// Refusals for the moment, after which senders sent again. Anything but 0 is a failure.
    pub refusals: u64,
    /// What no sender is to wait for longer than, in microseconds: 5 ms beyond the p99 without swaps.
    pub aim_us: u64,
    /// How long senders waited without swaps.
    pub without_swaps: Waits,
    /// How long they waited without swaps while another process compiled as many versions: beyond the aim, that is
    /// what the machine does to whatever runs on it when it has more to do.
    pub beside_a_compiler: Waits,
    /// How long they waited with swaps.
    pub with_swaps: Waits,
    /// How long they waited while a version served that times out. Their aim is one time limit of the plugin more:
    /// nobody knows of a call that it will not come back.
    pub with_timeouts: Waits,
    /// Resident memory after 20 changes, or after all if there were fewer.
    pub rss_warm_bytes: u64,
    /// Resident memory after all changes.
    pub rss_end_bytes: u64,
    /// How long it took.
    pub seconds: u64,
}

/// From the first attempt to send a request until it was taken, less the time in which its sender was ready to go
/// on and the machine let others run: nobody but the machine makes a sender wait that has its answer.
#[derive(Debug, Clone, Serialize)]
pub struct Waits {
    /// Of so many requests.
    pub requests: usize,
    /// In microseconds.
    pub p50_us: u64,
    /// In microseconds.
    pub p99_us: u64,
    /// In microseconds.
    pub longest_us: u64,
    /// The longest with the time in which its sender was not let run, in microseconds.
    pub longest_in_all_us: u64,
    /// How many requests waited for longer than the aim. Without swaps that is what the machine does to
    /// whatever runs on it.
    pub beyond_aim: usize,
}

impl Waits {
    /// With `aim_us`, or with what comes of these for the others.
    fn of<'s>(sent: impl Iterator<Item = &'s Sent>, aim_us: Option<u64>) -> Self {
        let (mut all, mut longest_in_all_us) = (Vec::new(), 0);
        for sent in sent {
            longest_in_all_us = longest_in_all_us.max(sent.lasted.as_micros() as u64);
            all.push(sent.lasted.saturating_sub(sent.held).as_micros() as u64);
        }
        all.sort_unstable();
        let at = |part: usize| all.get(all.len() * part / 100).copied().unwrap_or_default();
        let longest_us = all.last().copied().unwrap_or_default();
        let aim_us = aim_us.unwrap_or_else(|| Self::aim_us(at(99)));
        let beyond_aim = all.len() - all.partition_point(|wait| *wait <= aim_us);
        Self { requests: all.len(), p50_us: at(50), p99_us: at(99), longest_us, longest_in_all_us, beyond_aim }
    }

    /// The aim, if this is the p99 without swaps.
    fn aim_us(p99_us: u64) -> u64 {
        p99_us + PAUSE.as_micros() as u64
    }
}

impl Outcome {
    /// Whether nothing was lost, nothing came twice, each span was processed as it should be, and each
    /// change came to what it should. How long it took does not matter.
    pub fn is_lossless(&self) -> bool {
        let arrived = self.lost_spans == 0 && self.duplicate_spans == 0 && self.missing_spans == 0;
        let processed = self.wrongly_marked_spans == 0 && self.foreign_spans == 0 && self.mixed_requests == 0;
        let swapped = self.wrong_outcomes.is_empty() && self.unseen_versions == 0 && self.stale_requests == 0;
        arrived && processed && swapped && self.acknowledged_spans > 0
    }

    /// Whether all that was promised was kept: also in time, in memory, and with nobody turned away.
    pub fn is_good(&self) -> bool {
        let prompt = PROMPT.as_millis() as u64;
        let in_time = self.slowest_good_milliseconds <= prompt && self.slowest_bad_milliseconds <= prompt;
        let steady = self.refusals == 0 && self.pauses_nobody();
        self.is_lossless() && in_time && steady && self.rss_end_bytes <= self.rss_warm_bytes + GROWTH
    }

    /// Whether no sender waited for longer than the aim, or than the machine has whoever runs beside a compiler wait.
    fn pauses_nobody(&self) -> bool {
        let most = self.aim_us.max(self.beside_a_compiler.longest_us);
        self.with_swaps.longest_us <= most && self.with_timeouts.longest_us <= most + LIMIT.as_micros() as u64
    }
}

/// Where the plugin lies of which versions are made: `tests/guests/versions`, built.
pub fn plugin() -> PathBuf {
    process::target().join("test-guests/versions.wasm")
}

/// Makes so many changes with versions of this plugin.
///
/// # Errors
/// When the plugin is not there or the collector ends otherwise than it should.
pub fn run(swaps: u32, seed: u64, plugin: &Path) -> Result<Outcome> {
    let started = Instant::now();
    let mut chance = StdRng::seed_from_u64(seed);
    let calm = BEFORE.max(BEFORE_EACH * swaps);
    let (upstream, mut arrived) =
        (Sink::start(), marks::Arrived::with_room(load::most_spans(2 * calm + CHANGE * swaps)));
    let mut stage = Stage::start(Template::read(plugin)?, &upstream)?;
    let load = Load::start(stage.sluice.grpc(), &mut chance);
    process::yield_to_others();
    let take = |arrived: &mut marks::Arrived| {
        upstream.take().iter().try_for_each(|request| {
            // Who yields does so when the clock ticks, some milliseconds later, if not on its own.
            thread::yield_now();
            arrived.add(&request.wire)
        })
    };
    // With the same bookkeeping as later.
    let began = Instant::now();
    while began.elapsed() < calm {
        thread::sleep(REST);
        take(&mut arrived)?;
    }
    let (compiling, beside) = (Instant::now(), Beside::new(&upstream)?);
    while compiling.elapsed() < calm {
        beside.validate(&stage.spare()?)?;
        thread::sleep(REST);
        take(&mut arrived)?;
        thread::sleep(REST);
    }
    let (swapping, mut kinds, mut rss_warm) = (Instant::now(), Vec::new(), 0);
    for made in 0..swaps {
        if kinds.is_empty() {
            kinds.extend(Change::ALL);
            kinds.shuffle(&mut chance);
        }
        kinds.pop().map_or(Ok(()), |change| stage.make(change))?;
        thread::sleep(REST);
        let seen = || {
            let seen = take(&mut arrived).and_then(|()| arrived.has_seen(&stage.report.history));
            seen.map(|seen| seen.then_some(())).transpose()
        };
        // What is never seen is told in the end.
        wait::within(wait::PATIENCE, seen).transpose()?;
        if made < WARM {
            rss_warm = resident(stage.sluice.pid())?;
        }
    }
    let (rss_end, ended, sent) = (resident(stage.sluice.pid())?, Instant::now(), load.end()?);
    let (report, end) = stage.end();
    ensure!(end.code == 0, "the process ended with code {}:\n{}", end.code, end.stderr);
    take(&mut arrived)?;
    let wrong = arrived.judge(&sent, &report.history)?;
    let times_out = |sent: &&Sent| {
        let until = sent.began + sent.lasted;
        report.timing_out.iter().any(|(from, to)| sent.began <= *to && until >= *from)
    };
    let swapped = |sent: &&Sent| sent.began >= swapping && sent.began <= ended && !times_out(sent);
    let within = |from: Instant, to: Instant| {
        sent.iter().filter(move |sent| sent.began >= from && sent.began + sent.lasted < to)
    };
    let without_swaps = Waits::of(within(began, compiling), None);
    let aim_us = Waits::aim_us(without_swaps.p99_us);
    Ok(Outcome {
        soak: "swaps",
        seed,
        swaps,
        slowest_good_milliseconds: report.slowest_good.as_millis() as u64,
        slowest_bad_milliseconds: report.slowest_bad.as_millis() as u64,
        acknowledged_spans: sent.iter().map(|sent| sent.spans.len() as u64).sum(),
        arrived_spans: arrived.distinct(),
        lost_spans: wrong.lost,
        duplicate_spans: wrong.duplicates,
        wrongly_marked_spans: wrong.marked,
        foreign_spans: wrong.foreign,
        mixed_requests: wrong.mixed,
        stale_requests: wrong.stale,
        unseen_versions: wrong.unseen,
        missing_spans: end.account.missing(),
        refusals: sent.iter().map(|sent| sent.refused).sum(),
        aim_us,
        without_swaps,
        beside_a_compiler: Waits::of(within(compiling, swapping), Some(aim_us)),
        with_swaps: Waits::of(sent.iter().filter(swapped), Some(aim_us)),
        with_timeouts: Waits::of(sent.iter().filter(times_out), Some(aim_us + LIMIT.as_micros() as u64)),
        wrong_outcomes: report.wrong,
        rss_warm_bytes: rss_warm,
        rss_end_bytes: rss_end,
        seconds: started.elapsed().as_secs(),
    })
}

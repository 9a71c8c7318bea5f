//! The collector with its files, and the changes that are made to them.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

use super::history::History;
use super::version::{Deed, Template, Version};
use super::{Change, FIRST, SECOND};
use crate::collector::{Config, End, Folder, Sluice};
use crate::sink::Sink;
use crate::wait;

/// The files of the two plugins. That of the second lies in a `ConfigMap` mount: a link to `..data/second.wasm`,
/// where `..data` is a link to a folder.
const FILE: &str = "first.wasm";
const MOUNT: &str = "mount";

/// Between two pieces of a file that is written slowly: longer than the watch waits for quiet, so that
/// it is read in parts.
const PIECE: Duration = Duration::from_millis(150);

/// The plugin at a place in the chain.
fn plugin(place: &str) -> String {
    format!("wasm/{place}")
}

/// What came of the changes.
#[derive(Default)]
pub(super) struct Report {
    /// What did not come to what it should.
    pub(super) wrong: Vec<String>,
    /// The longest that a good version took to serve.
    pub(super) slowest_good: Duration,
    /// The longest that a bad one took to be reported.
    pub(super) slowest_bad: Duration,
    /// When versions served that time out.
    pub(super) timing_out: Vec<(Instant, Instant)>,
    /// The versions that were to serve.
    pub(super) history: History,
}

/// See the module.
pub(super) struct Stage {
    pub(super) sluice: Sluice,
    pub(super) report: Report,
    /// With `NOTE` where the note goes.
    config: String,
    template: Template,
    first: Version,
    mounts: u32,
    _cache: TempDir,
}

impl Stage {
    /// Starts it with a good version at each place.
    pub(super) fn start(mut template: Template, upstream: &Sink) -> Result<Self> {
        let (first, second) = (template.make(Deed::Stamp)?, template.make(Deed::Stamp)?);
        let config = config(upstream);
        let folder = Folder::new(&config.replace("NOTE", "0"));
        folder.write(FILE, &first.file);
        mount(&folder, 0, &second)?;
        symlink("..data/second.wasm", folder.path(MOUNT).join("second.wasm"))?;
        // Of its own, so that everything is compiled and nothing is left.
        let cache = tempfile::tempdir()?;
        let sluice = Sluice::spawn(folder, &[("SLUICE_CACHE_DIR", cache.path().into())]);
        sluice.ready()?;
        let mut report = Report::default();
        for (place, version) in [(FIRST, &first), (SECOND, &second)] {
            report.history.put(place, version);
            report.history.serves(place, Instant::now());
        }
        Ok(Self { sluice, report, config, template, first, mounts: 0, _cache: cache })
    }

    /// A good version that is put nowhere.
    pub(super) fn spare(&mut self) -> Result<Version> {
        self.template.make(Deed::Stamp)
    }

    /// Makes a change and sees what comes of it. Spans have to have shown the last note.
    pub(super) fn make(&mut self, change: Change) -> Result<()> {
        self.report.history.is_shown();
        match change {
            Change::Renamed => {
                let next = self.template.make(Deed::Stamp)?;
                self.replace_first(next, change);
            }
            Change::SameVersion => {
                let next = self.template.make_of(Deed::Stamp, self.first.number)?;
                self.replace_first(next, change);
            }
            Change::WrittenSlowly => {
                let next = self.template.make(Deed::Stamp)?;
                let (mut file, seen) = (File::create(self.sluice.folder().path(FILE))?, self.sluice.log().count());
                for piece in next.file.chunks(next.file.len() / 4 + 1) {
                    thread::sleep(PIECE);
                    file.write_all(piece)?;
                }
                self.serves(change, seen, &[(FIRST, &next)]);
                self.first = next;
            }
            Change::ConfigMap => {
                let (next, seen) = (self.template.make(Deed::Stamp)?, self.sluice.log().count());
                self.mount(&next)?;
                self.serves(change, seen, &[(SECOND, &next)]);
            }
            Change::AllAtOnce => {
                let (first, second) = (self.template.make(Deed::Stamp)?, self.template.make(Deed::Stamp)?);
                let seen = self.sluice.log().count();
                self.report.history.note += 1;
                let note = self.report.history.note.to_string();
                self.sluice.folder().write(FILE, &first.file);
                self.mount(&second)?;
                self.sluice.folder().write("config.yaml", self.config.replace("NOTE", &note));
                self.serves(change, seen, &[(FIRST, &first), (SECOND, &second)]);
                self.first = first;
            }
            Change::Broken => {
                let whole = self.template.make(Deed::Stamp)?;
                let half = whole.file.get(..whole.file.len() / 2).context("half of a file")?;
                self.is_refused(change, half, "verify", "not a WebAssembly component");
            }
            Change::Traps => {
                let bad = self.template.make(Deed::Traps)?;
                self.is_refused(change, &bad.file, "self_test", "trap");
            }
            Change::Spins => {
                let bad = self.template.make(Deed::Spins)?;
                self.is_refused(change, &bad.file, "self_test", "timeout");
            }
            Change::TimesOutLive => self.times_out(change)?,
        }
        Ok(())
    }

    /// Puts a good version in the first place.
    fn replace_first(&mut self, next: Version, change: Change) {
        let seen = self.sluice.log().count();
        self.sluice.folder().write(FILE, &next.file);
        self.serves(change, seen, &[(FIRST, &next)]);
        self.first = next;
    }

    /// Has a version serve until it has timed out, and then the one before again.
    fn times_out(&mut self, change: Change) -> Result<()> {
        let late = self.template.make(Deed::Later)?;
        let (before, began) = (self.first.clone(), Instant::now());
        self.replace_first(late, change);
        let (plugin, called) = (plugin(FIRST), self.first.called());
        let labels = [("plugin", plugin.as_str()), ("version", &called), ("kind", "timeout")];
        let timed_out = || (self.sluice.metrics().sum("sluice_plugin_failures_total", &labels) > 0.0).then_some(());
        if wait::within(wait::PATIENCE, timed_out).is_none() {
            self.report.wrong.push(format!("{change:?}: version {called} never timed out"));
        }
        self.replace_first(before, change);
        self.report.timing_out.push((began, Instant::now()));
        Ok(())
    }

    fn mount(&mut self, version: &Version) -> Result<()> {
        self.mounts += 1;
        mount(self.sluice.folder(), self.mounts, version)
    }

    /// Waits until these serve.
    fn serves(&mut self, change: Change, seen: usize, wanted: &[(&'static str, &Version)]) {
        let (began, history) = (Instant::now(), &mut self.report.history);
        for (place, version) in wanted {
            history.put(place, version);
        }
        let swapped = |events: &[Value], (place, version): &(&str, &Version)| {
            let is_it = |event: &&Value| event["plugin"] == plugin(place) && event["to"] == version.digest.as_str();
            // A version that times out may be gone by itself before it is replaced.
            events.iter().filter(is_it).any(|event| event["outcome"] == "swapped" || event["outcome"] == "rolled_back")
        };
        let all = || {
            let events = self.sluice.log().events_after(seen, "plugin.swap");
            wanted.iter().all(|wanted| swapped(&events, wanted)).then_some(())
        };
        if wait::within(wait::PATIENCE, all).is_some() {
            let now = Instant::now();
            for (place, _) in wanted {
                self.report.history.serves(place, now);
            }
        } else {
            let events = self.sluice.log().events_after(seen, "plugin.swap");
            let wanted: Vec<_> = wanted.iter().map(|(place, version)| (place, &version.digest)).collect();
            self.report.wrong.push(format!("{change:?}: {wanted:?} did not come to serve: {events:?}"));
        }
        self.report.slowest_good = self.report.slowest_good.max(began.elapsed());
    }

    /// Ends the collector, when nobody sends any more; gives what came of the changes, and how it ended.
    pub(super) fn end(mut self) -> (Report, End) {
        for event in self.sluice.log().events("plugin.standby") {
            let called = event["version"].as_str().unwrap_or_default();
            let place = [FIRST, SECOND].into_iter().find(|place| event["plugin"] == plugin(place));
            self.report.history.stands_in(place.unwrap_or_default(), called);
        }
        (self.report, self.sluice.terminate())
    }

    /// Puts a bad file in the first place, waits for the report, and puts the good one back.
    fn is_refused(&mut self, change: Change, file: &[u8], step: &str, reason: &str) {
        let (began, seen) = (Instant::now(), self.sluice.log().count());
        self.sluice.folder().write(FILE, file);
        let refused = || {
            let mut events = self.sluice.log().events_after(seen, "plugin.swap").into_iter();
            events.find(|event| event["plugin"] == plugin(FIRST))
        };
        let told = wait::within(wait::PATIENCE, refused).unwrap_or_default();
        let says = told["reason"].as_str().is_some_and(|told| told.contains(reason));
        if !(told["outcome"] == "failed" && told["step"] == step && says) {
            self.report.wrong.push(format!("{change:?} was not refused at {step} for {reason}: {told}"));
        }
        self.report.slowest_bad = self.report.slowest_bad.max(began.elapsed());
        self.sluice.folder().write(FILE, &self.first.file);
    }
}

/// Puts a version into the mount as Kubernetes does: in a folder of its own, to which `..data` is
/// turned by a rename; then the folder before is removed.
fn mount(folder: &Folder, number: u32, version: &Version) -> Result<()> {
    let mount = folder.path(MOUNT);
    let (data, aside) = (mount.join("..data"), mount.join("..data_tmp"));
    let (next, before) = (format!("..{number}"), fs::read_link(&data).ok());
    fs::create_dir_all(mount.join(&next))?;
    fs::write(mount.join(&next).join("second.wasm"), &version.file)?;
    symlink(next, &aside)?;
    fs::rename(aside, data)?;
    before.map_or(Ok(()), |before| fs::remove_dir_all(mount.join(before))).context("the folder before")
}

/// The configuration, with `NOTE` where the note goes.
fn config(upstream: &Sink) -> String {
    // Whatever a version does, it serves until it is replaced: that is what the soak is about.
    let care = "on_poison: refuse\nrollout: { max_failure_ratio: 1, max_latency_ratio: 1000000 }\n\
        restart: { initial_interval: 10ms, max_interval: 50ms, budget: 1000 }";
    let settings =
        |module: &str, place: &str| format!("module: {module}\nconfig: {{ place: {place}, note: 'NOTE' }}\n{care}");
    Config::to(upstream)
        .processor(&plugin(FIRST), &settings(FILE, FIRST))
        .processor(&plugin(SECOND), &settings("mount/second.wasm", SECOND))
        .yaml()
}

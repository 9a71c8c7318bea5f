//! A disk that forgets: when the power fails it keeps any part of what was not synced, and nothing
//! that it keeps need be in the order in which it was written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use sluice_log::disk::{Disk, DiskLock, File};
use sluice_log::{Log, Options, Outcome, Ticket};

type Name = PathBuf;

/// What was done to a file since its last sync.
#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

/// What was done to the directory since its last sync.
#[derive(Debug, Clone)]
enum Entry {
    Create(Name, usize),
    Rename(Name, Name),
    Remove(Name),
}

#[derive(Debug, Default, Clone)]
struct Content {
    durable: Vec<u8>,
    now: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Debug, Default)]
struct Platter {
    files: Vec<Content>,
    durable_names: BTreeMap<Name, usize>,
    names: BTreeMap<Name, usize>,
    entries: Vec<Entry>,
    /// So many operations until the process ends.
    left: usize,
    dead: bool,
}

#[derive(Debug, Default, Clone)]
struct ForgetfulDisk {
    platter: Arc<Mutex<Platter>>,
    locked: Arc<AtomicBool>,
    /// Syncs say that they have worked and do nothing.
    lies: bool,
}

#[derive(Debug)]
struct ForgetfulFile {
    disk: ForgetfulDisk,
    index: usize,
}

struct Unlock(Arc<AtomicBool>);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                let (at, end) = (*at as usize, *at as usize + bytes.len());
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[at..end].copy_from_slice(bytes);
            }
            Self::Truncate(length) => to.resize(*length as usize, 0),
        }
    }
}

impl Entry {
    fn apply(&self, to: &mut BTreeMap<Name, usize>) {
        match self {
            Self::Create(name, index) => {
                to.insert(name.clone(), *index);
            }
            Self::Rename(from, into) => {
                if let Some(index) = to.remove(from) {
                    to.insert(into.clone(), index);
                }
            }
            Self::Remove(name) => {
                to.remove(name);
            }
        }
    }
}

/// Chance, from the bytes that proptest gives, so that a failure shrinks.
struct Chance<'a>(std::iter::Cycle<std::slice::Iter<'a, u8>>);

impl Chance<'_> {
    fn below(&mut self, n: usize) -> usize {
        let (a, b) = (*self.0.next().unwrap(), *self.0.next().unwrap());
        (usize::from(a) << 8 | usize::from(b)) % n.max(1)
    }
}

impl Platter {
    /// An operation that changes something; it fails once the process has ended.
    fn operate(&mut self) -> io::Result<()> {
        self.left = self.left.saturating_sub(1);
        self.dead |= self.left == 0;
        if self.dead { Err(io::Error::other("it is over")) } else { Ok(()) }
    }

    /// The power is back. What was not synced has been kept, torn, or forgotten.
    fn forget(&mut self, chance: &mut Chance<'_>) {
        for file in &mut self.files {
            let mut kept = file.durable.clone();
            for change in &file.changes {
                match (chance.below(4), change) {
                    (0, _) => {}
                    // Torn: some of its pages are there. The tests' pages are small.
                    (1, Change::Write(at, bytes)) => {
                        for (page, part) in bytes.chunks(64).enumerate() {
                            if chance.below(2) == 0 {
                                let part = part[..=chance.below(part.len())].to_vec();
                                Change::Write(at + page as u64 * 64, part).apply(&mut kept);
                            }
                        }
                    }
                    (_, change) => change.apply(&mut kept),
                }
            }
            (file.durable, file.now, file.changes) = (kept.clone(), kept, Vec::new());
        }
        let mut names = self.durable_names.clone();
        for entry in &self.entries {
            if chance.below(3) > 0 {
                entry.apply(&mut names);
            }
        }
        (self.durable_names, self.names, self.entries) = (names.clone(), names, Vec::new());
    }
}

impl ForgetfulDisk {
    fn file(&self, index: usize) -> Arc<dyn File> {
        Arc::new(ForgetfulFile { disk: self.clone(), index })
    }
}

impl Disk for ForgetfulDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<DiskLock> {
        assert!(!self.locked.swap(true, Ordering::SeqCst), "the log before was not closed");
        Ok(Box::new(Unlock(self.locked.clone())))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut platter = self.platter.lock().unwrap();
        platter.operate()?;
        let index = platter.files.len();
        platter.files.push(Content::default());
        let entry = Entry::Create(path.to_owned(), index);
        entry.apply(&mut platter.names);
        platter.entries.push(entry);
        Ok(self.file(index))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let platter = self.platter.lock().unwrap();
        Ok(self.file(*platter.names.get(path).ok_or(io::ErrorKind::NotFound)?))
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        let platter = self.platter.lock().unwrap();
        Ok(platter.names.keys().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut platter = self.platter.lock().unwrap();
        platter.operate()?;
        let entry = Entry::Rename(from.to_owned(), to.to_owned());
        entry.apply(&mut platter.names);
        platter.entries.push(entry);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.platter.lock().unwrap();
        platter.operate()?;
        let entry = Entry::Remove(path.to_owned());
        entry.apply(&mut platter.names);
        platter.entries.push(entry);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut platter = self.platter.lock().unwrap();
        platter.operate()?;
        if !self.lies {
            platter.durable_names = platter.names.clone();
            platter.entries.clear();
        }
        Ok(())
    }
}

impl ForgetfulFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut platter = self.disk.platter.lock().unwrap();
        let result = platter.operate();
        let file = &mut platter.files[self.index];
        // The operation during which it ends may have reached the disk.
        change.apply(&mut file.now);
        file.changes.push(change);
        result
    }
}

impl File for ForgetfulFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.change(Change::Write(offset, bytes.to_vec())).map(|()| bytes.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let platter = self.disk.platter.lock().unwrap();
        let rest = platter.files[self.index].now.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.platter.lock().unwrap().files[self.index].now.len() as u64)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.change(Change::Truncate(length))
    }

    fn sync(&self) -> io::Result<()> {
        let mut platter = self.disk.platter.lock().unwrap();
        platter.operate()?;
        if !self.disk.lies {
            let file = &mut platter.files[self.index];
            file.durable = file.now.clone();
            file.changes.clear();
        }
        Ok(())
    }
}

/// What a process does before it ends.
#[derive(Debug, Clone)]
struct Life {
    /// Records to append at once, and how many to take and acknowledge afterwards.
    steps: Vec<(u8, u8)>,
    ends_after: usize,
    /// The power fails. If not, only the process ends, and what it wrote is there, synced or not.
    power_fails: bool,
    chance: Vec<u8>,
}

fn life() -> impl Strategy<Value = Life> {
    let steps = prop::collection::vec((0..6_u8, 0..6_u8), 1..12);
    let chance = prop::collection::vec(any::<u8>(), 64);
    (steps, 1..60_usize, prop::bool::weighted(0.7), chance).prop_map(|(steps, ends_after, power_fails, chance)| Life {
        steps,
        ends_after,
        power_fails,
        chance,
    })
}

/// A payload that says which record it is, and looks like records besides.
fn payload(n: u32) -> Bytes {
    let mut payload = n.to_be_bytes().to_vec();
    payload.extend_from_slice(&b"SLR1".repeat(n as usize % 60));
    payload.extend_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
    payload.into()
}

fn number(bytes: &[u8]) -> Option<u32> {
    let n = u32::from_be_bytes(bytes.get(..4)?.try_into().unwrap());
    (payload(n) == bytes).then_some(n)
}

fn options() -> Options {
    Options {
        segment_bytes: Some(4096 + 1500),
        read_ahead_bytes: 600,
        sync_interval: Duration::ZERO,
        ack_interval: Duration::ZERO,
        ..Options::default()
    }
}

/// Everything that is still in the log.
fn drain(log: &Log, want: u64) -> Vec<u32> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut seen = Vec::new();
    for _ in 0..want {
        let delivery = runtime.block_on(log.take()).unwrap();
        seen.push(number(&delivery.payload().whole()).expect("a record that was never appended"));
        delivery.ack();
    }
    seen
}

/// Runs some lives on one disk. Says whether an acknowledged record is gone.
fn run(lives: &[Life], lies: bool) -> Result<(), TestCaseError> {
    let disk = ForgetfulDisk { lies, ..ForgetfulDisk::default() };
    let dir = Path::new("/queue");
    let (mut appended, mut safe, mut done) = (0, BTreeSet::new(), BTreeSet::new());
    for life in lives {
        disk.platter.lock().unwrap().left = life.ends_after;
        if let Ok(log) = Log::open_on(Arc::new(disk.clone()), dir, options()) {
            for (append, take) in &life.steps {
                let tickets: Vec<(u32, Ticket)> = (0..*append)
                    .filter_map(|_| {
                        appended += 1;
                        let payload = payload(appended);
                        Some((appended, log.reserve(payload.len()).ok()?.commit(payload.into(), appended)))
                    })
                    .collect();
                for (n, ticket) in tickets {
                    if let Ok(Outcome::Appended { .. }) = ticket.wait() {
                        safe.insert(n);
                    }
                }
                for delivery in (0..*take).map_while(|_| log.try_take()) {
                    done.insert(number(&delivery.payload().whole()).expect("a record that was never appended"));
                    delivery.ack();
                }
            }
            // What it says does not matter: the process may have ended before.
            let _ = log.close();
        }
        let mut platter = disk.platter.lock().unwrap();
        if life.power_fails {
            platter.forget(&mut Chance(life.chance.iter().cycle()));
        }
        (platter.dead, platter.left) = (false, usize::MAX);
    }
    disk.platter.lock().unwrap().left = usize::MAX;
    let log = Log::open_on(Arc::new(disk.clone()), dir, options()).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let left = drain(&log, log.recovered().records);
    prop_assert!(left.is_sorted(), "out of order: {left:?}");
    let left: BTreeSet<u32> = left.into_iter().collect();
    prop_assert!(left.iter().all(|n| *n <= appended));
    let gone: Vec<_> = safe.iter().filter(|n| !left.contains(n) && !done.contains(n)).collect();
    prop_assert!(gone.is_empty(), "acknowledged and gone: {gone:?}; {:?}", log.recovered());
    if lies {
        // All the rest may be wrong too; the loss is what is looked for.
        return Ok(());
    }
    prop_assert_eq!(log.figures().records, 0);
    prop_assert!(!log.recovered().cursor_damaged, "a power loss has cost the cursor");
    // Lost are at most records that nobody was told were safe.
    prop_assert!(log.recovered().lost.records <= u64::from(appended) - safe.len() as u64);
    Ok(())
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() })
}

#[test]
fn what_was_acknowledged_survives_a_power_loss() {
    runner(10_000).run(&prop::collection::vec(life(), 1..4), |lives| run(&lives, false)).unwrap();
}

#[test]
fn the_same_test_finds_a_loss_when_syncs_do_nothing() {
    let result = runner(500).run(&prop::collection::vec(life(), 1..4), |lives| run(&lives, true));
    let message = result.expect_err("no loss was found").to_string();
    assert!(message.contains("acknowledged and gone"), "{message}");
}

//! The queue on disk, on real files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod age;
mod rooms;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge, Registry};
use tempfile::TempDir;

use super::super::tests::{now, request, run};
use super::super::turns::Comes;
use super::super::{
    Batching, Disks, Figures, Folder, Full, Item, Lease, NoRoom, OnFull, Settings, Sizer, Taken, Weight, envelope,
};
use super::{Durable, Room};
use crate::account::{Account, Entry};

/// A process with one exporter and its queue.
struct Process {
    durable: Arc<Durable>,
    lease: Lease,
    account: Account,
    disks: Disks,
    folder: Folder,
}

fn folder(dir: &TempDir) -> Folder {
    Folder {
        directory: dir.path().join("queues"),
        create: true,
        permissions: 0o700,
        timeout: Duration::ZERO,
        fsync: true,
        zstd: false,
    }
}

fn settings(on_full: OnFull, requests: u64) -> Settings {
    Settings { on_full, size: Some((Sizer::Requests, requests)), ..Settings::one_by_one() }
}

impl Process {
    fn start(dir: &TempDir, settings: Settings) -> Self {
        let (disks, folder, account) = (Disks::default(), folder(dir), Account::new(&Registry::new()).unwrap());
        let (lease, recovered) = disks.lease(&folder, "otlp", settings.max_bytes).unwrap();
        let figures =
            Figures { size: IntGauge::new("a", "a").unwrap(), enqueue_failed: IntCounter::new("b", "b").unwrap() };
        let durable = Durable::new("otlp", settings, figures, lease.disk(), account.clone());
        durable.restore(lease.dir(), &recovered.unwrap());
        Self { durable, lease, account, disks, folder }
    }

    async fn put(&self, pipeline: &str, spans: u32) -> Result<(), Full> {
        let wire = request(spans);
        let mut room = self.room(pipeline, wire.len(), spans).await?;
        let account = self.account.destination(pipeline, "otlp");
        if let Some(landing) = room.commit(Item { wire, spans, account, owed: None }) {
            landing.landed().await.unwrap();
        }
        Ok(())
    }

    async fn room(&self, pipeline: &str, bytes: usize, spans: u32) -> Result<Room, Full> {
        self.durable.reserve(&[envelope::length(pipeline, bytes)], Weight::of(bytes, spans)).await
    }

    async fn take(&self) -> Vec<Taken> {
        let taken = tokio::time::timeout(Duration::from_secs(20), self.durable.take()).await;
        taken.expect("there is something to take")
    }

    /// passed, delivered, failed, dropped, held, restored, redelivered of a pipeline.
    fn account(&self, pipeline: &str) -> [i64; 7] {
        let ours = |entry: Entry| match entry {
            Entry::Destination {
                name,
                passed,
                delivered,
                failed,
                dropped,
                held,
                restored,
                redelivered,
                missing,
                ..
            } if name == pipeline => {
                assert_eq!(missing, 0);
                let (failed, dropped) = (failed.values().sum(), dropped.values().sum());
                Some([passed, delivered, failed, dropped, held, restored, redelivered])
            }
            _ => None,
        };
        self.account.report().into_iter().find_map(ours).unwrap_or_default()
    }

    fn end(self) {
        self.durable.close();
        self.lease.leave().unwrap();
    }
}

fn spans(batch: &[Taken]) -> Vec<u32> {
    batch.iter().map(Taken::spans).collect()
}

#[test]
fn what_is_left_is_there_after_a_restart_in_its_pipelines_account() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let process = Process::start(&dir, Settings::one_by_one());
        process.put("traces", 3).await.unwrap();
        process.put("traces/b", 50).await.unwrap();
        process.put("traces", 700).await.unwrap();
        let first = process.take().await.pop().unwrap();
        assert_eq!(first.wire(), &request(3));
        assert_eq!(first.delivered(0, None, false), 3);
        assert_eq!(process.account("traces"), [703, 3, 0, 0, 700, 0, 0]);
        assert_eq!(process.account("traces/b"), [50, 0, 0, 0, 50, 0, 0]);
        process.end();

        let process = Process::start(&dir, Settings::one_by_one());
        assert_eq!(process.account("traces"), [700, 0, 0, 0, 700, 700, 0]);
        assert_eq!(process.account("traces/b"), [50, 0, 0, 0, 50, 50, 0]);
        for expected in [50, 700] {
            assert_eq!(process.take().await.pop().unwrap().delivered(0, None, false), expected);
        }
        assert_eq!(process.account("traces"), [700, 700, 0, 0, 0, 700, 0]);
        assert_eq!(process.durable.held(), 0);
        process.end();
        let process = Process::start(&dir, Settings::one_by_one());
        assert_eq!(process.account("traces"), [0; 7]);
    });
}

#[test]
fn what_was_on_its_way_stays_and_its_delivery_counts_as_repeated() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let process = Process::start(&dir, Settings::one_by_one());
        process.put("traces", 3).await.unwrap();
        let taken = process.take().await.pop().unwrap();
        assert_eq!(taken.shut_out(), 0, "nothing is lost");
        assert_eq!(process.account("traces"), [3, 0, 0, 0, 3, 0, 0]);
        process.end();
        let process = Process::start(&dir, Settings::one_by_one());
        process.take().await.pop().unwrap().delivered(1, None, false);
        assert_eq!(process.account("traces"), [3, 2, 1, 0, 0, 3, 2]);
    });
}

#[test]
fn a_batch_is_taken_when_there_is_enough_of_it_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let batch = Batching { flush_timeout: Duration::from_hours(1), min_size: 100, max_size: 120, sizer: Sizer::Items };
    run(async {
        let process = Process::start(&dir, Settings { batch: Some(batch), ..Settings::default() });
        // More records than the log hands out at a time.
        for _ in 0..33 {
            process.put("traces", 3).await.unwrap();
        }
        assert!(now(process.durable.take()).is_none());
        assert_eq!(process.durable.disk.log.figures().in_flight, 0, "what waits has not been handed out");
        process.put("traces", 30).await.unwrap();
        let batch = process.take().await;
        assert_eq!(batch.len(), 33, "the one of 30 would make it larger than 120");
        for taken in batch {
            taken.delivered(0, None, false);
        }
        process.put("traces", 70).await.unwrap();
        assert_eq!(spans(&process.take().await), [30, 70]);
    });
}

#[test]
fn a_small_batch_goes_out_after_its_time_or_when_the_queue_drains() {
    let dir = tempfile::tempdir().unwrap();
    let batch = |flush_timeout| Settings {
        batch: Some(Batching { flush_timeout, ..Batching::default() }),
        ..Settings::default()
    };
    run(async {
        let process = Process::start(&dir, batch(Duration::from_millis(5)));
        process.put("traces", 1).await.unwrap();
        assert_eq!(spans(&process.take().await), [1]);
        process.end();
        let process = Process::start(&dir, batch(Duration::from_hours(1)));
        let taking = async {
            for taken in process.take().await {
                taken.delivered(0, None, false);
            }
        };
        tokio::join!(taking, process.durable.drained(|| true));
    });
}

#[test]
fn a_large_request_goes_out_in_parts_and_is_done_when_all_of_them_are() {
    let dir = tempfile::tempdir().unwrap();
    let batch = Batching { flush_timeout: Duration::ZERO, min_size: 1, max_size: 100, sizer: Sizer::Items };
    run(async {
        let process = Process::start(&dir, Settings { batch: Some(batch), ..Settings::default() });
        process.put("traces", 250).await.unwrap();
        let mut parts = Vec::new();
        while parts.iter().map(Taken::spans).sum::<u32>() < 250 {
            parts.append(&mut process.take().await);
        }
        assert_eq!(parts.len(), 3);
        for part in parts.drain(..2) {
            part.delivered(0, None, false);
        }
        assert_eq!(process.durable.disk.log.figures().records, 1, "a part is missing");
        parts.pop().unwrap().delivered(0, None, false);
        assert_eq!(process.durable.disk.log.figures().records, 0);
        assert_eq!(process.account("traces"), [250, 250, 0, 0, 0, 0, 0]);
    });
}

#[test]
fn a_full_queue_refuses_and_takes_again_when_something_has_left() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let process = Process::start(&dir, settings(OnFull::Refuse, 2));
        process.put("traces", 1).await.unwrap();
        process.put("traces", 1).await.unwrap();
        assert_eq!(process.put("traces", 1).await.unwrap_err().why, NoRoom::Full);
        process.take().await.pop().unwrap().delivered(0, None, false);
        process.put("traces", 1).await.unwrap();
        // What is put in by nobody leaves its room.
        process.take().await.pop().unwrap().delivered(0, None, false);
        drop(process.room("traces", 10, 1).await.unwrap());
        process.put("traces", 1).await.unwrap();
        assert_eq!(process.account("traces"), [4, 2, 0, 0, 2, 0, 0]);
    });
}

#[test]
fn blocked_ones_wait_until_something_has_left() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let process = Process::start(&dir, settings(OnFull::Block, 1));
        process.put("traces", 1).await.unwrap();
        let mut waits = std::pin::pin!(process.put("traces", 2));
        assert!(now(waits.as_mut()).is_none());
        let taken = process.take().await.pop().unwrap();
        assert!(now(waits.as_mut()).is_none());
        taken.delivered(0, None, false);
        let room = process.durable.try_reserve(&[10], Weight::of(10, 1), Comes::First);
        assert!(room.is_err(), "who waits comes first");
        waits.await.unwrap();
    });
}

#[test]
fn the_dropping_policies_drop_and_count_in_the_right_account() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let process = Process::start(&dir, settings(OnFull::DropNewest, 1));
        process.put("traces/a", 1).await.unwrap();
        process.put("traces/b", 20).await.unwrap();
        assert_eq!(process.account("traces/a"), [1, 0, 0, 0, 1, 0, 0]);
        assert_eq!(process.account("traces/b"), [20, 0, 0, 20, 0, 0, 0]);
        process.end();
        let process = Process::start(&dir, settings(OnFull::DropOldest, 1));
        process.put("traces/b", 20).await.unwrap();
        assert_eq!(process.account("traces/a"), [1, 0, 0, 1, 0, 1, 0]);
        assert_eq!(process.account("traces/b"), [20, 0, 0, 0, 20, 0, 0]);
        // What is being sent is not dropped: then the new one is.
        let taken = process.take().await.pop().unwrap();
        process.put("traces/c", 300).await.unwrap();
        assert_eq!(process.account("traces/c"), [300, 0, 0, 300, 0, 0, 0]);
        taken.delivered(0, None, false);
    });
}

const QUOTA: u64 = 256 << 10;

#[test]
fn the_quota_in_bytes_is_kept_by_dropping_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let settings = Settings { on_full: OnFull::DropOldest, max_bytes: QUOTA, ..Settings::one_by_one() };
        let process = Process::start(&dir, settings);
        // 2 bytes a span, by the encoding: 16 KiB each, four quotas in all.
        for _ in 0..64 {
            process.put("traces", 8 << 10).await.unwrap();
            assert!(process.durable.disk.log.figures().disk_bytes <= QUOTA);
        }
        let [passed, _, _, dropped, held, ..] = process.account("traces");
        assert_eq!((passed, dropped + held), (64 * 8192, 64 * 8192));
        assert!(held as u64 * 2 > QUOTA / 2, "it drops more than it needs to: {held} are left");
        assert_eq!(process.durable.held(), held as u64);
    });
}

#[test]
fn a_request_that_never_fits_is_told_from_one_that_does_not_fit_now() {
    let dir = tempfile::tempdir().unwrap();
    for on_full in [OnFull::Refuse, OnFull::Block, OnFull::DropNewest, OnFull::DropOldest] {
        run(async {
            let process = Process::start(&dir, Settings { max_bytes: 64 << 10, on_full, ..Settings::one_by_one() });
            assert_eq!(process.put("traces", 40_000).await.unwrap_err().why, NoRoom::TooLarge, "{on_full:?}");
        });
    }
}

#[test]
fn who_takes_over_has_the_same_log_and_the_last_one_closes_it() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let process = Process::start(&dir, Settings::one_by_one());
        process.put("traces", 1).await.unwrap();
        process.put("traces", 2).await.unwrap();
        let in_hand = process.take().await.pop().unwrap();
        let (lease, recovered) = process.disks.lease(&process.folder, "otlp", 64 << 20).unwrap();
        assert!(recovered.is_none() && !process.lease.is_last());
        // The old one waits only for what it has in hand, and takes no more.
        {
            let mut old = std::pin::pin!(process.durable.drained(|| process.lease.is_last()));
            assert!(now(old.as_mut()).is_none());
            in_hand.delivered(0, None, false);
            old.await;
        }
        assert!(now(process.durable.take()).is_none());
        process.lease.leave().unwrap();
        let figures =
            Figures { size: IntGauge::new("a", "a").unwrap(), enqueue_failed: IntCounter::new("b", "b").unwrap() };
        let new = Durable::new("otlp", Settings::one_by_one(), figures, lease.disk(), process.account.clone());
        assert_eq!(spans(&new.take().await), [2]);
        assert!(lease.is_last());
        drop(lease);
        // It is closed: another process can have it.
        Process::start(&dir, Settings::one_by_one());
    });
}

#[test]
fn a_folder_in_use_and_other_options_are_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir, Settings::one_by_one());
    let refused = |disks: &Disks, max_bytes| disks.lease(&process.folder, "otlp", max_bytes).err().unwrap().to_string();
    let in_use = refused(&Disks::default(), 64 << 20);
    assert!(in_use.contains("exporter_otlp is in use by another process; stop that one"), "{in_use}");
    let other = refused(&process.disks, 1 << 20);
    assert!(other.contains("another `fsync`, `compression` or size"), "{other}");
    let folder = Folder { zstd: true, ..process.folder.clone() };
    let other = process.disks.lease(&folder, "otlp", 64 << 20).err().unwrap().to_string();
    assert!(other.contains("another `fsync`, `compression` or size"), "{other}");
    let nowhere = Folder { directory: dir.path().join("nowhere"), create: false, ..process.folder.clone() };
    let missing = Disks::default().lease(&nowhere, "otlp", 64 << 20).err().unwrap().to_string();
    assert!(missing.contains("create it, or set `create_directory: true`"), "{missing}");
}

#[test]
fn a_disk_that_fails_refuses_and_leaves_nothing_in_the_account() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let process = Process::start(&dir, Settings::one_by_one());
        let wire = request(3);
        let mut room = process.room("traces", wire.len(), 3).await.unwrap();
        process.durable.disk.log.close().unwrap();
        let account = process.account.destination("traces", "otlp");
        let landing = room.commit(Item { wire, spans: 3, account, owed: None }).unwrap();
        let error = landing.landed().await.unwrap_err();
        assert_eq!(error.to_string(), "the queue of exporter otlp cannot be written");
        assert_eq!((process.account("traces"), process.durable.held()), ([0; 7], 0));
        assert_eq!(process.put("traces", 1).await.unwrap_err().why, NoRoom::Closed);
    });
}

//! A disk that is full: a real filesystem of 16 MB, smaller than the queue may be.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use sluice_tests::collector::{Sluice, run};
use sluice_tests::send::Grpc;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::{rpc, send, wait};
use tempfile::TempDir;
use tonic::Code;

use super::{QUEUE, closes, count, durable, wait_for_all};

/// A filesystem in memory, which goes when dropped.
struct Disk {
    folder: TempDir,
}

impl Disk {
    /// One of 16 MB, if this user may have one.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=16000000", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.path().display());
        }
    }
}

#[test]
fn a_full_disk_refuses_senders_damages_nothing_and_is_overcome_without_help() {
    let Some(disk) = Disk::mount() else {
        println!("SKIPPED a full disk: mounting a filesystem needs root");
        return;
    };
    let upstream = Sink::start();
    upstream.always(Answer::UNAVAILABLE);
    // The queue's quota is 64 MiB: the disk is full first.
    let sluice = Sluice::start(&durable(&upstream, disk.path(), QUEUE));
    let client = Grpc::new(sluice.grpc()).unwrap();
    let (mut exporter, mut taken) = (Exporter::new(221), Vec::new());
    let send = |exporter: &mut Exporter| -> Result<Bytes, tonic::Status> {
        let request = exporter.request(500);
        client.send(&request).map(|_| request)
    };
    let refusal = loop {
        match send(&mut exporter) {
            Ok(request) => taken.push(request),
            Err(status) => break status,
        }
        assert!(taken.len() < 1000, "the disk never filled up");
    };
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
    assert!(rpc::retry_delay(&refusal).is_some(), "no RetryInfo: {refusal:?}");
    wait::until("the disk's trouble to be told", || sluice.log().find("queue.disk"));
    // It stays so, and goes on serving.
    for _ in 0..20 {
        match send(&mut exporter) {
            Ok(request) => taken.push(request),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
    }
    upstream.always(Answer::Ok);
    wait_for_all(&upstream, &taken);
    let more = exporter.requests(20, 500);
    wait::until("room on the disk", || send(&mut exporter).map(|request| taken.push(request)).ok());
    send::all(sluice.grpc(), &more).unwrap();
    taken.extend(more);
    wait_for_all(&upstream, &taken);
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(end.account.sum("receiver", "accepted"), count(&taken), "{}", end.stderr);
    assert_eq!(end.account.sum("destination", "held"), 0, "{}", end.stderr);
    let folder = disk.path().display().to_string();
    let inspected = run(&["queue", "inspect", &folder], None);
    assert_eq!(inspected.code, 0, "{inspected:?}");
}

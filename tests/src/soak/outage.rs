//! `outage`: the upstream is away for long with traffic on. Memory stays flat, the disk bounded, and
//! everything that was accepted is delivered afterwards, the oldest first.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{Arrived, SpanId, ids, resident};
use crate::collector::{Config, Folder, Sluice, config};
use crate::send::Grpc;
use crate::shop::otlp::Exporter;
use crate::sink::{Answer, Sink};
use crate::wait;

/// Of the queue on disk. It is reached within half a minute, so that a longer outage shows what happens then.
const QUOTA: u64 = 16 << 20;
const SPANS: usize = 50;
/// Between two requests.
const PACE: Duration = Duration::from_millis(10);
/// What memory may grow by after the first part of the outage: what is read ahead, waits to be
/// written and is tried, with the allocator's slack.
const GROWTH: u64 = 24 << 20;
/// The part of the outage after which memory has to be flat.
const WARM: f64 = 0.25;
/// How long what is left may take.
const REST: Duration = Duration::from_mins(2);

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// `outage`.
    pub soak: &'static str,
    /// For another run like it.
    pub seed: u64,
    /// How long the upstream was away.
    pub outage_seconds: u64,
    /// Spans of requests that were answered with success.
    pub acknowledged_spans: u64,
    /// Requests that were refused, all of them with a delay: the quota was reached.
    pub refused_requests: u64,
    /// Acknowledged and never arrived. Anything but 0 is a failure.
    pub lost_spans: u64,
    /// Arrived again.
    pub duplicate_spans: u64,
    /// The most that the queue had on disk.
    pub disk_bytes: u64,
    /// What it was allowed.
    pub quota_bytes: u64,
    /// The most resident memory in the first quarter of the outage.
    pub rss_warm_bytes: u64,
    /// The most resident memory, the delivery included.
    pub rss_max_bytes: u64,
    /// By how many requests one was late at most, against the order in which they were accepted.
    pub out_of_order_requests: u64,
    /// How long the delivery took when the upstream was back.
    pub drain_milliseconds: u64,
    /// Spans that the account does not explain. Anything but 0 is a failure.
    pub missing_spans: i64,
}

impl Outcome {
    /// Whether all that was promised was kept.
    pub fn is_good(&self) -> bool {
        let complete = self.lost_spans == 0 && self.missing_spans == 0 && self.acknowledged_spans > 0;
        complete && self.disk_bytes <= self.quota_bytes && self.rss_max_bytes <= self.rss_warm_bytes + GROWTH
    }
}

/// Takes the upstream away for so long.
///
/// # Errors
/// When the process does not come up, or ends otherwise than it should.
pub fn run(outage: Duration, seed: u64) -> Result<Outcome> {
    let (upstream, folder) = (Sink::start(), tempfile::tempdir()?);
    upstream.always(Answer::UNAVAILABLE);
    let queue = format!(
        "sending_queue: {{ storage: file_storage, sizer: bytes, queue_size: {QUOTA}, batch: {{ flush_timeout: 20ms }} }}"
    );
    let config = Config::new()
        .extension("file_storage", &format!("directory: '{}'", folder.path().display()))
        .exporter("otlp_grpc", &config::grpc(&upstream, &queue));
    let sluice = Sluice::spawn(Folder::new(&config.yaml()), &[]);
    sluice.ready()?;
    let (client, mut exporter) = (Grpc::new(sluice.grpc())?, Exporter::new(seed));
    let (mut acknowledged, mut order, mut refused) = (Vec::new(), Vec::new(), 0);
    let (mut rss_warm, mut rss_max, mut disk) = (0, 0, 0);
    let mut watch = |warm: bool| -> Result<()> {
        let rss = resident(sluice.pid())?;
        rss_max = rss_max.max(rss);
        if !warm {
            rss_warm = rss_warm.max(rss);
        }
        disk = disk.max(on_disk(folder.path()));
        Ok(())
    };
    let started = Instant::now();
    while started.elapsed() < outage {
        let request = exporter.request(SPANS);
        match client.send(&request) {
            Ok(_) => {
                let spans = ids(&request)?;
                order.extend(spans.first().copied());
                acknowledged.extend(spans);
            }
            Err(status) => {
                ensure!(crate::rpc::retry_delay(&status).is_some(), "refused without a delay: {status:?}");
                refused += 1;
            }
        }
        watch(started.elapsed() >= outage.mul_f64(WARM))?;
        std::thread::sleep(PACE);
    }
    upstream.always(Answer::Ok);
    let back = Instant::now();
    let empty = || {
        watch(true).ok()?;
        let held = [("level", "destination"), ("outcome", "held")];
        (sluice.metrics().sum("sluice_account_spans", &held) == 0.0).then_some(())
    };
    // What is left then is counted as lost below.
    let _ = wait::within(REST, empty);
    let drain = back.elapsed();
    let end = sluice.terminate();
    ensure!(end.code == 0, "the process ended with code {}:\n{}", end.code, end.stderr);
    let mut arrived = Arrived::default();
    let received = upstream.take();
    received.iter().try_for_each(|request| arrived.add(&request.wire))?;
    Ok(Outcome {
        soak: "outage",
        seed,
        outage_seconds: outage.as_secs(),
        acknowledged_spans: acknowledged.len() as u64,
        refused_requests: refused,
        lost_spans: arrived.missing(&acknowledged),
        duplicate_spans: arrived.duplicates(),
        disk_bytes: disk,
        quota_bytes: QUOTA,
        rss_warm_bytes: rss_warm,
        rss_max_bytes: rss_max,
        out_of_order_requests: disorder(&order, received.iter().map(|request| ids(&request.wire)))?,
        drain_milliseconds: drain.as_millis() as u64,
        missing_spans: end.account.missing(),
    })
}

/// By how many places the latest one came too late. `order` is the first span of each request.
fn disorder(order: &[SpanId], received: impl Iterator<Item = Result<Vec<SpanId>>>) -> Result<u64> {
    let place: HashMap<&SpanId, usize> = order.iter().enumerate().map(|(place, id)| (id, place)).collect();
    let (mut furthest, mut worst) = (0, 0);
    for spans in received {
        for place in spans?.iter().filter_map(|id| place.get(id).copied()) {
            furthest = furthest.max(place);
            worst = worst.max(furthest - place);
        }
    }
    Ok(worst as u64)
}

fn on_disk(folder: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(folder.join("exporter_otlp_grpc")) else { return 0 };
    let segments = files.flatten().filter(|file| file.path().extension().is_some_and(|extension| extension == "seg"));
    // One that was removed meanwhile has no length.
    segments.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

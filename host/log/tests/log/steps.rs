//! What tests do all the time.

use std::time::Duration;

use bytes::Bytes;
use sluice_log::{AppendError, Delivery, Log, Outcome, Payload};

pub(crate) fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

pub(crate) fn try_append(log: &Log, payload: &[u8], spans: u32) -> Result<Outcome, AppendError> {
    // In two parts that meet anywhere: what comes out does not depend on it.
    let (head, rest) = payload.split_at(payload.len() * (spans as usize % 3) / 3);
    let payload = Payload::new(Bytes::copy_from_slice(head), Bytes::copy_from_slice(rest));
    log.reserve(payload.len()).unwrap().commit(payload, spans).wait()
}

/// Appends and waits until the record is safe; its sequence.
pub(crate) fn append(log: &Log, payload: &[u8], spans: u32) -> u64 {
    match try_append(log, payload, spans).unwrap() {
        Outcome::Appended { sequence } => sequence,
        Outcome::Dropped => panic!("dropped"),
    }
}

/// How long it is waited for what must happen: far above what it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks at whether something is there.
pub(crate) const SOON: Duration = Duration::from_millis(20);

/// The next record, if there is one by then.
pub(crate) fn take_within(log: &Log, time: Duration) -> Option<Delivery> {
    current_thread().block_on(async { tokio::time::timeout(time, log.take()).await.ok().flatten() })
}

/// The next record, waiting for the writer to fetch it.
pub(crate) fn take(log: &Log) -> Option<Delivery> {
    take_within(log, PATIENCE)
}

/// Takes and acknowledges as many records as the log says it has; their payloads.
pub(crate) fn drain(log: &Log) -> Vec<Vec<u8>> {
    (0..log.figures().records)
        .map_while(|_| take(log))
        .map(|delivery| {
            let payload = delivery.payload().whole().to_vec();
            delivery.ack();
            payload
        })
        .collect()
}

/// Waits until something is so; the writer thread needs a moment.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what} within {PATIENCE:?}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

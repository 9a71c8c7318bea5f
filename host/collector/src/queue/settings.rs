//! `sending_queue`: how much an exporter's queue holds, and what goes out together.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{Storage, Weight};
use crate::config::Id;
use crate::config::section::{NOT_YET, Section};

/// What a queue may hold, whatever `queue_size` says: memory is what an edge machine runs out of.
const MAX_QUEUE_BYTES: u64 = 64 * 1024 * 1024;

/// Less could not hold two segments with a record each.
const MIN_DISK_BYTES: u64 = 64 * 1024;

/// Never more than this in one request, if it can be cut: peers take 4 MiB by default, and headers
/// and the growth of a re-encoding need room.
pub const MAX_SEND_BYTES: u64 = 3 * 1024 * 1024;

/// Requests on their way at a time.
const CONSUMERS: u64 = 10;

/// Up to this part of its bytes a queue in memory holds nobody up: 8 MiB, as it is shipped.
const CALM_PART: u64 = 8;

/// How long an answer is held back at most: so long that senders feel it, and not so long that any would give up.
const MOST_PAUSE: Duration = Duration::from_millis(100);

const FLUSH_TIMEOUT: Duration = Duration::from_millis(200);
const MIN_BATCH_ITEMS: u64 = 8192;

/// The settings of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The bound in bytes.
    pub max_bytes: u64,
    /// `queue_size` in its measure, if given.
    pub size: Option<(Sizer, u64)>,
    /// What happens when it is full.
    pub on_full: OnFull,
    /// How many requests may be on their way at a time.
    pub consumers: usize,
    /// What goes out together; `None` sends every request by itself.
    pub batch: Option<Batching>,
    /// The largest request that is sent, if it can be cut. Zero is no limit.
    pub max_send_bytes: u64,
    /// Where it is kept, if not in memory.
    pub storage: Option<Storage>,
    /// How long a request may wait on disk; for ever, if there is none.
    pub max_age: Option<Duration>,
    /// Whether senders are answered only when the outcome of their requests is known.
    pub wait_for_result: bool,
}

/// A measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizer {
    /// Requests as they were received.
    Requests,
    /// Spans.
    Items,
    /// Encoded bytes.
    Bytes,
}

/// What happens to a request that finds the queue full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// Its sender is told to keep it.
    Refuse,
    /// It waits, and its sender with it.
    Block,
    /// It is dropped.
    DropNewest,
    /// The oldest ones that are not on their way are dropped.
    DropOldest,
}

/// When a batch goes out, and how large it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// After this long at the latest.
    pub flush_timeout: Duration,
    /// As soon as it has this size.
    pub min_size: u64,
    /// Never larger than this; zero is no limit.
    pub max_size: u64,
    /// The measure of the two.
    pub sizer: Sizer,
}

impl Default for Batching {
    fn default() -> Self {
        Self { flush_timeout: FLUSH_TIMEOUT, min_size: MIN_BATCH_ITEMS, max_size: 0, sizer: Sizer::Items }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_bytes: MAX_QUEUE_BYTES,
            size: None,
            on_full: OnFull::Refuse,
            consumers: CONSUMERS as usize,
            batch: Some(Batching::default()),
            max_send_bytes: MAX_SEND_BYTES,
            storage: None,
            max_age: None,
            wait_for_result: false,
        }
    }
}

impl Sizer {
    fn parse(name: &str) -> Self {
        match name {
            "items" => Self::Items,
            "bytes" => Self::Bytes,
            _ => Self::Requests,
        }
    }

    pub(super) fn measure(self, weight: Weight) -> u64 {
        match self {
            Self::Requests => weight.requests,
            Self::Items => weight.spans,
            Self::Bytes => weight.bytes,
        }
    }
}

const SIZERS: [&str; 3] = ["requests", "items", "bytes"];

impl Settings {
    /// Without batches and without cutting: for exporters that write one request at a time.
    pub fn one_by_one() -> Self {
        Self { consumers: 1, batch: None, max_send_bytes: 0, ..Self::default() }
    }

    /// Reads the block `sending_queue` of an exporter; what it does not say is as in `default`.
    pub fn read(exporter: &mut Section<'_>, default: Self) -> Self {
        let Some(mut section) = exporter.section("sending_queue") else { return default };
        let mut settings = default;
        if !section.bool_or("enabled", true) {
            let problem =
                "`enabled: false`: an exporter without a queue is not supported yet; `queue_size: 1` comes near";
            section.error("enabled", problem);
        }
        settings.consumers = section.u64_or("num_consumers", settings.consumers as u64).clamp(1, 1000) as usize;
        let sizer = Sizer::parse(section.one_of("sizer", &SIZERS, "requests"));
        if let Some(size) = section.u64("queue_size") {
            if size == 0 {
                section.error("queue_size", "`queue_size` must be at least 1");
            }
            settings.size = Some((sizer, size));
            if sizer == Sizer::Bytes {
                settings.max_bytes = size;
            }
        }
        settings.on_full = on_full(&mut section);
        settings.batch = Batching::read(&mut section, settings.batch);
        settings.storage = storage(&mut section);
        settings.max_age = Some(section.duration_or("max_age", Duration::ZERO)).filter(|age| !age.is_zero());
        if settings.max_age.is_some() && settings.storage.is_none() {
            section.error("max_age", format!("`max_age` without `storage` is {NOT_YET}"));
        }
        settings.wait_for_result = section.bool_or("wait_for_result", settings.wait_for_result);
        if let Some(why) = settings.why_not_wait() {
            section.error("wait_for_result", format!("`wait_for_result` cannot be combined with {why}"));
        }
        if settings.storage.is_some() && settings.max_bytes < MIN_DISK_BYTES {
            section.error("queue_size", format!("`queue_size` must be at least {MIN_DISK_BYTES} bytes with `storage`"));
        }
        section.finish();
        settings
    }

    /// As [`Settings::read`], for an exporter whose queue is always in memory.
    pub fn read_in_memory(exporter: &mut Section<'_>, default: Self) -> Self {
        let settings = Self::read(exporter, default);
        if settings.storage.is_some() {
            exporter.error("sending_queue", format!("`storage` for an exporter of this type is {NOT_YET}"));
        }
        settings
    }

    /// Why senders cannot wait for results with these settings, though they shall.
    fn why_not_wait(&self) -> Option<&'static str> {
        let drops = matches!(self.on_full, OnFull::DropNewest | OnFull::DropOldest);
        match (self.wait_for_result, self.storage.is_some(), drops) {
            (true, true, _) => Some("`storage`: a request is answered when it is on disk"),
            (true, false, true) => Some("an `on_full` that drops: use `refuse` or `block`"),
            _ => None,
        }
    }

    /// The queue's capacity in the measure that its figures have.
    pub fn capacity(&self) -> u64 {
        self.size.map_or(self.max_bytes, |(_, size)| size)
    }

    /// `weight` in the measure of the queue's figures.
    pub(super) fn measure(&self, weight: Weight) -> i64 {
        self.size.map_or(Sizer::Bytes, |(sizer, _)| sizer).measure(weight) as i64
    }

    pub(super) fn fits(&self, used: Weight, more: Weight) -> bool {
        let mut total = used;
        total += more;
        let within =
            total.bytes <= self.max_bytes && self.size.is_none_or(|(sizer, size)| sizer.measure(total) <= size);
        // One that is larger than the whole queue would else never find room.
        within || used == Weight::default()
    }

    /// How long the answer to who has filled the queue so far is held back: the fuller it is, the slower senders that wait
    /// for their answers become, so that an upstream that stands still for a moment does not fill it.
    pub(super) fn pause(&self, used: Weight) -> Duration {
        let calm = self.max_bytes / CALM_PART;
        if used.bytes <= calm || self.on_full.drops() {
            return Duration::ZERO;
        }
        let part = (used.bytes - calm) as f64 / (self.max_bytes - calm) as f64;
        MOST_PAUSE.mul_f64(part.min(1.0))
    }

    /// Whether `more` is within `queue_size`, if that is in requests or spans.
    pub(super) fn fits_beside_bytes(&self, used: Weight, more: Weight) -> bool {
        let Some((sizer @ (Sizer::Requests | Sizer::Items), size)) = self.size else { return true };
        let mut total = used;
        total += more;
        sizer.measure(total) <= size || used.requests == 0
    }

    /// Whether so much goes out without waiting for more.
    pub(super) fn is_ready(&self, queued: Weight) -> bool {
        let Some(batch) = &self.batch else { return queued.requests > 0 };
        let full = self.max_send_bytes > 0 && queued.bytes >= self.max_send_bytes;
        full || batch.sizer.measure(queued) >= batch.min_size
    }

    /// Whether `more` goes out together with what is already there.
    pub(super) fn go_together(&self, there: Weight, more: Weight) -> bool {
        let Some(batch) = &self.batch else { return false };
        let mut total = there;
        total += more;
        // What has no bytes of its own is the part of a request that was cut to size.
        let small =
            more.bytes > 0 && there.bytes > 0 && (self.max_send_bytes == 0 || total.bytes <= self.max_send_bytes);
        small && (batch.max_size == 0 || batch.sizer.measure(total) <= batch.max_size)
    }

    pub(super) fn is_oversize(&self, weight: Weight) -> bool {
        weight.bytes > self.max_send_bytes() as u64 || weight.spans > self.max_send_spans() as u64
    }

    pub(super) fn max_send_bytes(&self) -> usize {
        let mut max = if self.max_send_bytes == 0 { u64::MAX } else { self.max_send_bytes };
        if let Some(Batching { sizer: Sizer::Bytes, max_size: max_size @ 1.., .. }) = self.batch {
            max = max.min(max_size);
        }
        usize::try_from(max).unwrap_or(usize::MAX)
    }

    pub(super) fn max_send_spans(&self) -> usize {
        match self.batch {
            Some(Batching { sizer: Sizer::Items, max_size: max_size @ 1.., .. }) => {
                usize::try_from(max_size).unwrap_or(usize::MAX)
            }
            _ => usize::MAX,
        }
    }
}

/// `storage`: the id of an extension that keeps queues.
fn storage(section: &mut Section<'_>) -> Option<Storage> {
    let text = section.str("storage")?;
    let mark = section.mark("storage");
    match Id::parse(&text) {
        Ok(extension) => Some(Storage { extension, mark, folder: None }),
        Err(reason) => {
            section.error("storage", format!("`{text}` is no extension id: {reason}"));
            None
        }
    }
}

fn on_full(section: &mut Section<'_>) -> OnFull {
    let default = if section.bool_or("block_on_overflow", false) { "block" } else { "refuse" };
    match section.one_of("on_full", &["refuse", "block", "drop_newest", "drop_oldest"], default) {
        "block" => OnFull::Block,
        "drop_newest" => OnFull::DropNewest,
        "drop_oldest" => OnFull::DropOldest,
        _ => OnFull::Refuse,
    }
}

impl Batching {
    fn read(queue: &mut Section<'_>, default: Option<Self>) -> Option<Self> {
        let Some(mut section) = queue.section("batch") else { return default };
        let enabled = section.bool_or("enabled", true);
        let default = default.unwrap_or_default();
        let batch = Self {
            flush_timeout: section.duration_or("flush_timeout", default.flush_timeout),
            min_size: section.u64_or("min_size", default.min_size),
            max_size: section.u64_or("max_size", default.max_size),
            sizer: Sizer::parse(section.one_of("sizer", &SIZERS, "items")),
        };
        if batch.max_size > 0 && batch.max_size < batch.min_size {
            section.error("max_size", "`max_size` must not be smaller than `min_size`");
        }
        section.unsupported("partition", NOT_YET);
        section.finish();
        enabled.then_some(batch)
    }
}

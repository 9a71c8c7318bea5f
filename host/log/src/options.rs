//! How a log is to behave.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::OpenError;
use crate::format::DATA_START;

/// As much as the memory queue holds.
const DEFAULT_MAX_BYTES: u64 = 64 << 20;
/// Less could not hold two segments with a record each.
const LEAST_MAX_BYTES: u64 = 64 << 10;
/// A segment is what is given back at once and what `drop_oldest` drops at once: a sixteenth of the
/// quota, but no file that takes long to remove, nor one that is all headers.
const SEGMENTS_PER_QUOTA: u64 = 16;
const SEGMENT_BYTES: (u64, u64) = (64 << 10, 64 << 20);
/// Long enough for the requests of many connections to share a sync, short enough that no sender notices.
const DEFAULT_SYNC_INTERVAL: Duration = Duration::from_millis(5);
/// What a sync costs is little beside what so many bytes cost.
const DEFAULT_SYNC_BYTES: u64 = 2 << 20;
/// What a power loss may deliver again beyond what was in flight.
const DEFAULT_ACK_INTERVAL: Duration = Duration::from_millis(50);
/// Two exports of the usual size and what comes in meanwhile; what finds no room is read from disk later.
const DEFAULT_READ_AHEAD: u64 = 8 << 20;
const DEFAULT_MAX_WAITING: u64 = 16 << 20;
const DEFAULT_QUARANTINE: u64 = 16 << 20;

/// Tells the group of a record by the beginning of its payload.
pub type Group = fn(&[u8]) -> Option<&[u8]>;

/// How much of a payload [`Options::group`] gets to see.
pub const GROUP_HEAD: usize = 512;

/// What happens to a record that finds no room.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// The sender is told, and keeps it.
    #[default]
    Refuse,
    /// Whole segments are dropped, the oldest first, unless something in them is in flight.
    DropOldest,
    /// It is dropped.
    DropNewest,
}

/// Tells the time, as Unix time in nanoseconds.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock of the caller's.
    pub fn new(now_unix_nano: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_unix_nano))
    }

    pub(crate) fn now_unix_nano(&self) -> u64 {
        (self.0)()
    }
}

impl Default for Clock {
    /// The system's clock. Before 1970 it is 1970.
    fn default() -> Self {
        Self::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// How a log is to behave.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many bytes its segments may take on disk, what is reserved included.
    pub max_bytes: u64,
    /// What happens when `max_bytes` is reached.
    pub on_full: OnFull,
    /// Whether a record is on disk before its sender is told so. Without it a power loss loses
    /// records, a crash of the process does not.
    pub fsync: bool,
    /// How long after a sync began the next one may begin; records that come in between share it. If fewer
    /// wait than the last one had, those are given as long after its end to come back.
    pub sync_interval: Duration,
    /// With so many bytes waiting the interval is cut short; with half as many, too, if as many records wait as
    /// the last sync had: then all who were told have come back, and waiting would gain nothing.
    pub sync_bytes: u64,
    /// How often the acknowledgements are synced. They are written at each `sync_interval`.
    pub ack_interval: Duration,
    /// How large a segment becomes; a sixteenth of `max_bytes` if it is not given. A larger record has one of its own.
    pub segment_bytes: Option<u64>,
    /// How many bytes of records wait in memory to be taken.
    pub read_ahead_bytes: u64,
    /// How many bytes may be reserved or wait to be written, that is, be in memory.
    pub max_waiting_bytes: u64,
    /// How many damaged bytes are kept; what finds no room there is only counted.
    pub quarantine_bytes: u64,
    /// Compresses the second part of payloads with zstd at this level, on the thread that appends. Both kinds
    /// can be read, whatever is set here.
    pub zstd_level: Option<i32>,
    /// Tells the group of a record by the first [`GROUP_HEAD`] bytes of its payload, so that
    /// [`Recovered::groups`](crate::Recovered::groups) can say what is left by group. Of a compressed record
    /// it sees the first part of the payload only.
    pub group: Option<Group>,
    /// Tells the time.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: DEFAULT_MAX_BYTES,
            on_full: OnFull::Refuse,
            fsync: true,
            sync_interval: DEFAULT_SYNC_INTERVAL,
            sync_bytes: DEFAULT_SYNC_BYTES,
            ack_interval: DEFAULT_ACK_INTERVAL,
            segment_bytes: None,
            read_ahead_bytes: DEFAULT_READ_AHEAD,
            max_waiting_bytes: DEFAULT_MAX_WAITING,
            quarantine_bytes: DEFAULT_QUARANTINE,
            zstd_level: None,
            group: None,
            clock: Clock::default(),
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        if self.max_bytes < LEAST_MAX_BYTES {
            return Err(OpenError::Options("a durable queue must be allowed at least 65536 bytes on disk"));
        }
        if self.segment_bytes.is_some_and(|bytes| bytes <= DATA_START || bytes > self.max_bytes / 2) {
            return Err(OpenError::Options(
                "a segment must be larger than 4096 bytes and at most half as large as the queue",
            ));
        }
        if self.zstd_level.is_some_and(|level| !zstd::compression_level_range().contains(&level)) {
            return Err(OpenError::Options("zstd has no such compression level"));
        }
        Ok(())
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        let share = self.max_bytes / SEGMENTS_PER_QUOTA;
        self.segment_bytes.unwrap_or_else(|| share.clamp(SEGMENT_BYTES.0, SEGMENT_BYTES.1).min(self.max_bytes / 2))
    }
}

//! A durable log of records, each of which holds some spans.
//!
//! Many threads or tasks append; one writer thread writes, syncs and only then tells them that their
//! record is safe. Records are taken oldest first, by as many takers as like, and acknowledged in any
//! order. What was acknowledged is given back to the disk.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sluice_log::{Log, Options};
//!
//! let log = Log::open("/var/lib/sluice/queue", Options::default())?;
//! let request = bytes::Bytes::from_static(b"a request");
//! log.reserve(request.len())?.commit(request.into(), 3).await?;
//! while let Some(delivery) = log.take().await {
//!     // Send delivery.payload() upstream, then:
//!     delivery.ack();
//! }
//! # Ok(()) }
//! ```
//!
//! # What it promises
//! - **A record whose [`Ticket`] said [`Outcome::Appended`] is delivered**, over crashes of the
//!   process and, with `fsync`, over power losses, until it is acknowledged or a policy drops it.
//! - **At least once.** A crash delivers again what was in flight, and what was acknowledged since
//!   the cursor was written: within [`Options::sync_interval`] of a crash of the process, within
//!   [`Options::ack_interval`] of a power loss. [`Delivery::earlier`] tells which.
//! - **Damage costs the damaged records and no others**, and their spans are counted ([`Recovered`]).
//! - **A failed sync is never repeated.** Its records fail to their senders; the log goes on in
//!   a new file. A record that failed so may still turn up after a crash: it is delivered then.
//! - **Nothing is unbounded**: bytes on disk, bytes in memory, damaged bytes that are kept.
//!
//! The files are described byte by byte in [`mod@format`]; [`inspect`] says what is in them.
//!
//! When it is full, [`OnFull`] decides. When the disk fails, appends fail with an [`AppendError`] that
//! names the file and the fix, [`Figures::failing`] says so, and the next append tries again.

mod acked;
mod compress;
mod crc;
mod cursor;
pub mod disk;
mod error;
pub mod format;
mod inspect;
mod log;
mod options;
mod payload;
mod quarantine;
mod recover;
mod reserve;
mod scan;
mod state;
mod survey;
mod take;
mod writer;

pub use error::{AppendError, IoFailure, OpenError, ReserveError};
pub use inspect::{Inspection, SegmentReport, inspect, inspect_on};
pub use log::{Figures, Log};
pub use options::{Clock, GROUP_HEAD, Group, OnFull, Options};
pub use payload::Payload;
pub use recover::Recovered;
pub use reserve::{Outcome, Reservation, Ticket};
pub use state::Counts;
pub use survey::{Damage, Lost};
pub use take::{Delivery, Ready};

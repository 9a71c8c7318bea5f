//! Handing the listening sockets from one process to the next, so that a restart refuses nobody.
//!
//! The process that serves keeps a door open: a Unix socket in its `state_dir`. Who is to follow it
//! knocks and is given copies of all sockets that listen. A connection that nobody has accepted belongs
//! to its socket and not to a process: it waits there until one of the two accepts it. The follower
//! tries everything that can fail with the sockets in its hands, while the other one serves, and only
//! then asks it to leave. Who goes away before that changes nothing.
//!
//! What is said, after the sockets, is one byte at a time:
//!
//! | who | byte | |
//! | --- | --- | --- |
//! | follower | `T` | take-over: accept nothing more |
//! | the one that serves | `L` | leaving: from now on there is no way back |
//! | the one that serves | `R` | released: everything on disk is the follower's |
//!
//! A supervisor such as systemd can hold the sockets instead ([`passed`]); then a plain restart refuses
//! nobody either.
//!
//! Both ends belong to the same user; whoever else knocks is turned away.

mod door;
mod predecessor;
mod supervisor;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use door::{Door, Successor, Visit};
pub use predecessor::{Ended, NotTaken, Predecessor};
pub use supervisor::passed;

/// The socket's name in the `state_dir`.
const NAME: &str = "handover.sock";

/// Of what is said. A follower that knows another one leaves the one that serves alone.
const VERSION: u32 = 1;

/// The system passes no more descriptors at a time (`SCM_MAX_FD`).
const MAX_SOCKETS: usize = 253;

const TAKE: u8 = b'T';
const LEAVING: u8 = b'L';
const RELEASED: u8 = b'R';

/// What goes with the sockets.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    version: u32,
    /// The process that serves.
    pid: u32,
    /// How many there are: a process that has too many files open gets fewer.
    sockets: usize,
}

/// Where the door of the process is that has this `state_dir`.
fn path_in(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

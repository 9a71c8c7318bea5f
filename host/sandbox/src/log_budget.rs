//! How much a plugin may log: all its instances together, so that one that is replaced does not begin anew.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::limits::Limits;

/// See the module.
#[derive(Debug)]
pub(crate) struct LogBudget {
    lines_per_s: u32,
    bytes_per_s: u32,
    left: Mutex<Left>,
}

/// What may still be logged in this second.
#[derive(Debug)]
struct Left {
    lines: u32,
    bytes: u32,
    second: Instant,
}

impl LogBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (lines, bytes) = (limits.log_lines_per_s, limits.log_bytes_per_s);
        let left = Mutex::new(Left { lines, bytes, second: Instant::now() });
        Self { lines_per_s: lines, bytes_per_s: bytes, left }
    }

    /// Takes a line of so many bytes, if there is room for it.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.second.elapsed().as_secs() >= 1 {
            *left = Left { lines: self.lines_per_s, bytes: self.bytes_per_s, second: Instant::now() };
        }
        let bytes = bytes as u32;
        let fits = left.lines > 0 && left.bytes >= bytes;
        if fits {
            left.lines -= 1;
            left.bytes -= bytes;
        }
        fits
    }
}

//! How much a plugin may log: all its instances together, so that one that is replaced does not begin anew.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::Limits;

/// How often the log says of a plugin that its lines are dropped.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct LogBudget {
    /// The plugin, if it serves: nobody is told of what one drops while it is set up.
    plugin: Option<String>,
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
    /// When it was last told that lines are dropped.
    told: Option<Instant>,
}

impl LogBudget {
    pub(crate) fn new(plugin: Option<&str>, limits: &Limits) -> Self {
        let (lines, bytes) = (limits.log_lines_per_s, limits.log_bytes_per_s);
        let left = Mutex::new(Left { lines, bytes, second: Instant::now(), told: None });
        Self { plugin: plugin.map(str::to_owned), lines_per_s: lines, bytes_per_s: bytes, left }
    }

    /// Takes a line of so many bytes, if there is room for it.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.second.elapsed().as_secs() >= 1 {
            (left.lines, left.bytes, left.second) = (self.lines_per_s, self.bytes_per_s, Instant::now());
        }
        let taken = left.take(u32::try_from(bytes).unwrap_or(u32::MAX));
        if let (Err(limit), Some(plugin)) = (taken, &self.plugin)
            && left.told.is_none_or(|told| told.elapsed() >= TELL_EVERY)
        {
            left.told = Some(Instant::now());
            tracing::warn!(
                event = "plugin.log_limit",
                plugin,
                limit,
                "log lines of the plugin are dropped: it logs less, or the limit is raised"
            );
        }
        taken.is_ok()
    }
}

impl Left {
    /// Takes a line, or says which limit there is no room in.
    fn take(&mut self, bytes: u32) -> Result<(), &'static str> {
        let lines = self.lines.checked_sub(1).ok_or("log_lines_per_s")?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or("log_bytes_per_s")?;
        self.lines = lines;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_a_line_has_no_room_in_is_named_and_nothing_is_taken_then() {
        let mut left = Left { lines: 3, bytes: 10, second: Instant::now(), told: None };
        let taken = [4, 7, 6, 1, 0].map(|bytes| left.take(bytes));
        let [lines, bytes] = ["log_lines_per_s", "log_bytes_per_s"].map(Err);
        assert_eq!(taken, [Ok(()), bytes, Ok(()), bytes, Ok(())]);
        assert_eq!(left.take(0), lines);
    }
}

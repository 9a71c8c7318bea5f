//! What a plugin may use.

use std::time::Duration;

/// Limits of one plugin. Memory and what is of one call each core's instance has for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory in bytes.
    pub memory_bytes: usize,
    /// CPU time of one call, what the host does for it included; wall time is capped at ten times as much.
    pub timeout: Duration,
    /// Bytes of the edits of one call and of what its request has staged: updates of metrics, log lines, and work on the
    /// store.
    pub output_bytes: usize,
    /// Calls into the host during one call.
    pub host_calls: u32,
    /// Log lines a second of all instances together; more are dropped.
    pub log_lines_per_s: u32,
    /// Bytes of log lines a second of all instances together; more are dropped.
    pub log_bytes_per_s: u32,
    /// Different label values over all metrics. An instance is refused more than that; whoever takes the updates
    /// has to see to it that all of them together, and those that came before them, have no more. `u32::MAX`: they
    /// are not counted here.
    pub metric_series: u32,
    /// Bytes of the plugin's store, which all its instances share.
    pub store_bytes: usize,
    /// Size of the component in bytes.
    pub component_bytes: u64,
    /// Wall time of compiling it.
    pub compile_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The first-party plugins use 1 to 2 MiB; a large batch is some 5 MiB of columns.
            memory_bytes: 32 << 20,
            // A hundred times what a healthy slice of 512 spans takes.
            timeout: Duration::from_millis(10),
            // A slice of 512 spans is some 250 KiB; edits seldom outgrow the data they edit.
            output_bytes: 16 << 20,
            // Plugins pull a few dozen columns; one host call a span of a slice is still allowed.
            host_calls: 10_000,
            log_lines_per_s: 100,
            log_bytes_per_s: 64 << 10,
            metric_series: 1_000,
            // Some 70,000 counters. An edge box has several plugins and little memory.
            store_bytes: 16 << 20,
            // Rust plugins are 60 KiB to 2 MiB; JavaScript ones 14 MiB.
            component_bytes: 16 << 20,
            compile_timeout: Duration::from_secs(30),
        }
    }
}

//! What the process tells of itself: log lines on stderr, figures for Prometheus.

pub mod logs;
pub mod metrics;
mod process;
pub mod server;

//! The log lines of plugins.

use sluice_sandbox::{LogLevel, LogLine};

/// Writes a plugin's log line into the collector's log.
pub(super) fn log(plugin: &str, line: &LogLine) {
    let message = &line.message;
    match line.level {
        LogLevel::Error => tracing::error!(event = "plugin.log", plugin, "{message}"),
        LogLevel::Warn => tracing::warn!(event = "plugin.log", plugin, "{message}"),
        LogLevel::Info => tracing::info!(event = "plugin.log", plugin, "{message}"),
        LogLevel::Debug => tracing::debug!(event = "plugin.log", plugin, "{message}"),
    }
}

//! How a new version of a plugin's module comes in.

use std::time::Duration;

use super::super::section::Section;

/// How a new version of a module comes in, and what sends it away again.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// What it does before it serves all.
    pub strategy: Strategy,
    /// The share of traces (canary) or batches (shadow) that it gets until then.
    pub share: f64,
    /// How long that lasts.
    pub duration: Duration,
    /// How long it is watched after it has begun to serve all.
    pub probation: Duration,
    /// The share of its calls that may fail while it is watched.
    pub max_failure_ratio: f64,
    /// How many times as long as the version before it its calls may take then.
    pub max_latency_ratio: f64,
    /// The share of its spans that it may drop then.
    pub max_drop_ratio: f64,
}

/// What a new version does before it serves all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Nothing: it serves at once.
    Immediate,
    /// It works on copies of batches, and what it makes of them is compared and thrown away.
    Shadow,
    /// It serves a share of the traces.
    Canary,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: Strategy::Immediate,
            share: 0.1,
            duration: Duration::from_mins(5),
            // What traffic brings seldom comes within half a minute.
            probation: Duration::from_secs(30),
            // Of healthy plugins, hardly a call fails.
            max_failure_ratio: 0.05,
            // A rule more takes longer, but not that much.
            max_latency_ratio: 3.0,
            // A rule that drops more than the one before was meant to.
            max_drop_ratio: 1.0,
        }
    }
}

/// Reads the block.
pub(super) fn read(mut section: Section<'_>) -> Rollout {
    let default = Rollout::default();
    let strategy = match section.one_of("strategy", &["immediate", "shadow", "canary"], "immediate") {
        "canary" => Strategy::Canary,
        "shadow" => Strategy::Shadow,
        _ => Strategy::Immediate,
    };
    let rollout = Rollout {
        strategy,
        share: section.f64_or("share", default.share),
        duration: section.duration_or("for", default.duration),
        probation: section.duration_or("probation", default.probation),
        max_failure_ratio: ratio(&mut section, "max_failure_ratio", default.max_failure_ratio),
        max_latency_ratio: section.f64_or("max_latency_ratio", default.max_latency_ratio),
        max_drop_ratio: ratio(&mut section, "max_drop_ratio", default.max_drop_ratio),
    };
    // Beside its share a canary needs as much of the present version's to be compared with.
    let most = if strategy == Strategy::Canary { 0.5 } else { 1.0 };
    if !(rollout.share > 0.0 && rollout.share <= most) {
        section.error("share", format!("`share` must be more than 0 and at most {most}"));
    }
    if rollout.max_latency_ratio < 1.0 {
        section.error("max_latency_ratio", "`max_latency_ratio` must be at least 1");
    }
    section.finish();
    rollout
}

fn ratio(section: &mut Section<'_>, key: &str, default: f64) -> f64 {
    let ratio = section.f64_or(key, default);
    if !(0.0..=1.0).contains(&ratio) {
        section.error(key, format!("`{key}` must be from 0 to 1"));
    }
    ratio
}

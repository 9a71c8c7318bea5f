//! The log: one line an event, to stderr.
//!
//! What enters is `tracing` events; what leaves is text for people (`console`) or one JSON object
//! a line (`json`). Spans of `tracing` are not used. A field `json.NAME` holds JSON that becomes a
//! value of its own under NAME. Events of dependencies are shown from `warn` on only, unless
//! `SLUICE_LOG` names a level, which then holds for all. A line is one write; when stderr is
//! closed it is lost and nothing else happens.

mod line;
#[cfg(test)]
mod tests;
mod time;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use crate::config::section::{NOT_YET, Section};

use line::Line;

pub(crate) use time::rfc3339;

/// Sets the level of everything, dependencies included.
const VARIABLE: &str = "SLUICE_LOG";

/// What our own events' targets begin with.
const OWN: &str = "sluice";

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `TIME LEVEL MESSAGE key=value`.
    #[default]
    Console,
    /// One JSON object.
    Json,
}

/// The settings of `service.telemetry.logs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What is shown.
    pub level: LevelFilter,
    /// How.
    pub encoding: Encoding,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: LevelFilter::INFO, encoding: Encoding::Console }
    }
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let level = match section.one_of("level", &["debug", "info", "warn", "error"], "info") {
            "debug" => LevelFilter::DEBUG,
            "warn" => LevelFilter::WARN,
            "error" => LevelFilter::ERROR,
            _ => LevelFilter::INFO,
        };
        let encoding = match section.one_of("encoding", &["console", "json"], "console") {
            "json" => Encoding::Json,
            _ => Encoding::Console,
        };
        let later = [
            "development",
            "disable_caller",
            "disable_stacktrace",
            "sampling",
            "output_paths",
            "error_output_paths",
            "initial_fields",
            "processors",
            "disable_zap_resource",
        ];
        for key in later {
            section.unsupported(key, NOT_YET);
        }
        section.finish();
        Self { level, encoding }
    }
}

/// One logger is all a process has: events come from everywhere.
static LOGGER: Logger = Logger::new(to_stderr);

/// Starts the log: `console`, from `info` on, until [`configure`] says otherwise. Does nothing the
/// second time.
pub fn init() {
    if let Some(level) = variable() {
        LOGGER.set(level, level);
    }
    // It fails only when there is one already.
    let _ = tracing::subscriber::set_global_default(&LOGGER);
}

/// Puts settings in force.
pub fn configure(settings: &Settings) {
    LOGGER.json.store(settings.encoding == Encoding::Json, Ordering::Relaxed);
    match variable() {
        Some(level) => LOGGER.set(level, level),
        None => LOGGER.set(settings.level, settings.level.min(LevelFilter::WARN)),
    }
    tracing::callsite::rebuild_interest_cache();
}

fn variable() -> Option<LevelFilter> {
    std::env::var(VARIABLE).ok()?.parse().ok()
}

/// Filters in order, from `off` to `trace`.
const FILTERS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

const fn rank(filter: LevelFilter) -> u8 {
    match filter.into_level() {
        None => 0,
        Some(tracing::Level::ERROR) => 1,
        Some(tracing::Level::WARN) => 2,
        Some(tracing::Level::INFO) => 3,
        Some(tracing::Level::DEBUG) => 4,
        Some(_) => 5,
    }
}

fn filter(rank: &AtomicU8) -> LevelFilter {
    FILTERS.get(usize::from(rank.load(Ordering::Relaxed))).copied().unwrap_or(LevelFilter::INFO)
}

/// Writes a line, or loses it.
fn to_stderr(line: &str) {
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

struct Logger {
    level: AtomicU8,
    foreign: AtomicU8,
    json: AtomicBool,
    write: fn(&str),
}

impl Logger {
    const fn new(write: fn(&str)) -> Self {
        Self {
            level: AtomicU8::new(rank(LevelFilter::INFO)),
            foreign: AtomicU8::new(rank(LevelFilter::WARN)),
            json: AtomicBool::new(false),
            write,
        }
    }

    fn set(&self, own: LevelFilter, foreign: LevelFilter) {
        self.level.store(rank(own), Ordering::Relaxed);
        self.foreign.store(rank(foreign), Ordering::Relaxed);
    }
}

impl Subscriber for &'static Logger {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Decided once a callsite: what is not shown costs nothing on the data's way.
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(filter(&self.level).max(filter(&self.foreign)))
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = if metadata.target().starts_with(OWN) { &self.level } else { &self.foreign };
        metadata.is_event() && *metadata.level() <= filter(level)
    }

    fn event(&self, event: &Event<'_>) {
        let encoding = if self.json.load(Ordering::Relaxed) { Encoding::Json } else { Encoding::Console };
        (self.write)(&Line::of(event, SystemTime::now()).encode(encoding));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

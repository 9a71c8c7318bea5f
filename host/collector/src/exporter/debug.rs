//! The `debug` exporter: says in the log what would have gone out. For setting things up; it
//! decodes every request when it shows spans.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use super::sender::{Answer, Refusal, Retry};
use crate::config::section::{NOT_YET, Section};
use crate::queue;

/// The Collector's sampling looks at one second at a time.
const TICK: Duration = Duration::from_secs(1);

/// The settings of a `debug` exporter.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How much to say.
    pub verbosity: Verbosity,
    /// Requests of every second that are shown.
    pub sampling_initial: u64,
    /// Of the others, one in this many is shown; zero shows none.
    pub sampling_thereafter: u64,
    /// What waits.
    pub queue: queue::Settings,
}

/// How much is said of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// How many spans and bytes.
    Basic,
    /// And one line a span.
    Normal,
    /// And the whole request as OTLP/JSON.
    Detailed,
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let settings = Self {
            verbosity: match section.one_of("verbosity", &["basic", "normal", "detailed"], "basic") {
                "detailed" => Verbosity::Detailed,
                "normal" => Verbosity::Normal,
                _ => Verbosity::Basic,
            },
            sampling_initial: section.u64_or("sampling_initial", 2),
            sampling_thereafter: section.u64_or("sampling_thereafter", 1),
            queue: queue::Settings::read_in_memory(&mut section, queue::Settings::one_by_one()),
        };
        if !section.bool_or("use_internal_logger", true) {
            let problem =
                "`use_internal_logger: false` is not supported: it writes into the collector's own log, always";
            section.error("use_internal_logger", problem);
        }
        section.unsupported("output_paths", NOT_YET);
        section.finish();
        settings
    }
}

/// Writes requests into the log.
pub(super) struct Printer {
    exporter: String,
    settings: Settings,
    sampling: Mutex<(Instant, u64)>,
}

impl Printer {
    pub fn new(exporter: &str, settings: &Settings) -> Self {
        Self { exporter: exporter.to_owned(), settings: settings.clone(), sampling: Mutex::new((Instant::now(), 0)) }
    }

    /// Shows one request, unless sampling passes it by.
    pub fn print(&self, chunks: &[Bytes]) -> Answer {
        if self.is_shown() {
            let wire = chunks.concat();
            if let Err(error) = self.show(&wire) {
                let message = error.to_string();
                return Answer::Refused(Refusal {
                    reason: "internal".to_owned(),
                    message,
                    retry: Retry::NotThis,
                    maybe_taken: false,
                });
            }
        }
        Answer::Taken { rejected: 0, message: String::new() }
    }

    fn show(&self, wire: &[u8]) -> Result<(), sluice_spans::Malformed> {
        let component = &self.exporter;
        let spans = sluice_spans::count_spans(wire)?;
        tracing::info!(event = "debug", component, spans, bytes = wire.len());
        if self.settings.verbosity == Verbosity::Basic {
            return Ok(());
        }
        let json = sluice_spans::json::to_json(wire)?;
        if self.settings.verbosity == Verbosity::Detailed {
            tracing::info!(event = "debug", component, json.request = json);
            return Ok(());
        }
        // Our own JSON is always read back.
        let request: Value = serde_json::from_str(&json).unwrap_or_default();
        for span in spans_of(&request) {
            let text = |key: &str| span.get(key).and_then(Value::as_str).unwrap_or_default();
            let (name, trace_id, span_id) = (text("name"), text("traceId"), text("spanId"));
            tracing::info!(event = "debug", component, name, trace_id, span_id);
        }
        Ok(())
    }

    fn is_shown(&self) -> bool {
        let mut sampling = self.sampling.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, seen) = &mut *sampling;
        if since.elapsed() >= TICK {
            (*since, *seen) = (Instant::now(), 0);
        }
        *seen += 1;
        let Settings { sampling_initial, sampling_thereafter, .. } = self.settings;
        let beyond = seen.saturating_sub(sampling_initial);
        beyond == 0 || (sampling_thereafter > 0 && beyond % sampling_thereafter == 0)
    }
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn spans_of(request: &Value) -> impl Iterator<Item = &Value> {
    list(request, "resourceSpans")
        .flat_map(|resource| list(resource, "scopeSpans"))
        .flat_map(|scope| list(scope, "spans"))
}

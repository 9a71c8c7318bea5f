//! An event → a line.

use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::time::SystemTime;

use serde_json::Value as Json;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::time::rfc3339;
use super::{Encoding, OWN};
use crate::terminal::plain as shown;

/// What such a field begins with holds JSON.
const EMBEDDED: &str = "json.";

/// The values of an event.
pub(super) struct Line {
    time: String,
    level: &'static str,
    message: Option<String>,
    fields: Vec<(&'static str, Json)>,
}

impl Line {
    /// The line of an event.
    pub(super) fn of(event: &Event<'_>, time: SystemTime) -> Self {
        let metadata = event.metadata();
        let mut line = Self { time: rfc3339(time), level: name(*metadata.level()), message: None, fields: Vec::new() };
        event.record(&mut line);
        if !metadata.target().starts_with(OWN) {
            line.fields.push(("target", Json::from(metadata.target())));
        }
        line
    }

    /// The text, with its line end.
    pub(super) fn encode(&self, encoding: Encoding) -> String {
        match encoding {
            Encoding::Json => self.json(),
            Encoding::Console => self.console(),
        }
    }

    fn json(&self) -> String {
        let mut line = format!("{{\"time\":\"{}\",\"level\":\"{}\"", self.time, self.level);
        let message = self.message.as_deref().map(|message| ("message", Json::from(message)));
        // The event's name leads, wherever it was written: lines are read from the left.
        let (event, rest): (Vec<_>, Vec<_>) = self.fields.iter().partition(|(name, _)| *name == "event");
        for (name, value) in event.into_iter().cloned().chain(message).chain(rest.into_iter().cloned()) {
            let _ = write!(line, ",{}:{value}", Json::from(name));
        }
        line.push_str("}\n");
        line
    }

    fn console(&self) -> String {
        let mut line = format!("{} {:5} ", self.time, self.level.to_ascii_uppercase());
        let mut fields = self.fields.iter().collect::<Vec<_>>();
        match &self.message {
            Some(message) => line.push_str(&shown(message)),
            None => {
                if let Some(event) = fields.iter().position(|(name, _)| *name == "event") {
                    line.push_str(&plain(&fields.remove(event).1));
                }
            }
        }
        for (name, value) in fields {
            let _ = write!(line, " {name}={}", plain(value));
        }
        line.push('\n');
        line
    }

    fn add(&mut self, field: &Field, value: Json) {
        let name = field.name();
        match (name.strip_prefix(EMBEDDED), value) {
            (Some(name), Json::String(text)) => {
                let value = serde_json::from_str(&text).unwrap_or(Json::String(text));
                self.fields.push((name, value));
            }
            (None, Json::String(text)) if name == "message" => self.message = Some(text),
            // Not a second key: `time` and `level` are the line's own.
            (_, value) if name == "time" || name == "level" => {
                self.fields.push((if name == "time" { "time_" } else { "level_" }, value));
            }
            (_, value) => self.fields.push((name.strip_prefix("r#").unwrap_or(name), value)),
        }
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// A value on the console: words as they are, all else as JSON.
fn plain(value: &Json) -> String {
    match value {
        Json::String(text)
            if !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_./:@+,[]%<>*".contains(c)) =>
        {
            text.clone()
        }
        // JSON leaves some of it as it is.
        other => shown(&other.to_string()).into_owned(),
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Json::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Json::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Json::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Json::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Json::from(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, Json::from(value.to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, Json::from(format!("{value:?}")));
    }
}

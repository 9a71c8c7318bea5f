//! The capabilities `log` and `metrics`.

use std::sync::Arc;

use sluice_spans::{Refusal, RefusalCode};

use super::generated::sluice::plugin::columns::Texts;
use super::generated::sluice::plugin::{lifecycle, log, metrics};
use super::{Host, WitRefusal, refusal};
use crate::capability::Capability;
use crate::effects::{Labels, LogLevel, LogLine, Metric, MetricKind, MetricUpdate, series};

/// Longer log lines are cut here.
const LINE_BYTES: usize = 1 << 10;

/// Metrics that one instance may define.
const DEFINITIONS: usize = 100;

/// Labels that one metric may have.
const LABELS: usize = 32;

/// Size of a metric's or label's name, of a help text, of a label value.
const NAME_BYTES: usize = 200;
const HELP_BYTES: usize = 1 << 10;
const LABEL_VALUE_BYTES: usize = 256;

impl lifecycle::Host for Host {}

impl log::Host for Host {
    fn enabled(&mut self, level: u32) -> bool {
        (1..=3).contains(&level)
    }

    fn write(&mut self, level: u32, mut message: String) {
        let level = match level {
            1 => LogLevel::Error,
            2 => LogLevel::Warn,
            3 => LogLevel::Info,
            _ => LogLevel::Debug,
        };
        self.takes(message.len());
        message.truncate(message.floor_char_boundary(LINE_BYTES));
        let bytes = LogLine::bytes_of(&message);
        // The call never fails, so what there is no room for is dropped.
        if self.has_room_for(bytes) && self.log_budget.take(message.len()) {
            // It is kept until the request has passed, and the guest may have handed over megabytes.
            message.shrink_to_fit();
            self.effect_bytes += bytes;
            self.effects.logs.push(LogLine { level, message });
        } else {
            self.limited.0 = true;
        }
    }
}

impl metrics::Host for Host {
    fn define(&mut self, kind: u32, name: String, help: String, label_names: Texts) -> Result<u32, WitRefusal> {
        let result = self.enter_for(Capability::Metrics).and_then(|()| self.definition(kind, name, help, label_names));
        self.answer(result)
    }

    fn record(&mut self, metric: u32, label_values: Texts, value: f64) -> Result<(), WitRefusal> {
        let result = self.enter_for(Capability::Metrics).and_then(|()| self.update(metric, label_values, value));
        self.answer(result)
    }
}

impl Host {
    fn definition(&mut self, kind: u32, name: String, help: String, labels: Texts) -> Result<u32, Refusal> {
        let kind = match kind {
            1 => MetricKind::Counter,
            2 => MetricKind::Gauge,
            3 => MetricKind::Histogram,
            _ => return Err(refusal(RefusalCode::Unknown, "no such kind of metric")),
        };
        let labels: Vec<String> = bounded(labels, NAME_BYTES)?.iter().map(str::to_owned).collect();
        if name.len() > NAME_BYTES || help.len() > HELP_BYTES {
            return Err(refusal(RefusalCode::Limit, "a metric's name or help text is longer than the limit"));
        }
        if !is_name(&name) || !labels.iter().all(|label| is_name(label) && label != "plugin") {
            return Err(refusal(
                RefusalCode::Malformed,
                "a metric or label name does not follow [a-zA-Z_][a-zA-Z0-9_]*, or is `plugin`",
            ));
        }
        if let Some(number) = self.definitions.iter().position(|known| known.name == name) {
            let same = self.definitions.get(number).is_some_and(|known| known.kind == kind && known.labels == labels);
            let other = || refusal(RefusalCode::Malformed, "the metric is defined in another way already");
            return same.then_some(number as u32).ok_or_else(other);
        }
        if self.definitions.len() >= DEFINITIONS {
            return Err(refusal(RefusalCode::Limit, "more metrics than the limit"));
        }
        self.definitions.push(Arc::new(Metric { kind, name, help, labels }));
        Ok(self.definitions.len() as u32 - 1)
    }

    fn update(&mut self, metric: u32, values: Texts, value: f64) -> Result<(), Refusal> {
        let labels = bounded(values, LABEL_VALUE_BYTES)?;
        let Some(definition) = self.definitions.get(metric as usize) else {
            return Err(refusal(RefusalCode::OutOfRange, "no such metric"));
        };
        if labels.len() != definition.labels.len() {
            return Err(refusal(RefusalCode::Malformed, "one label value for each label name"));
        }
        if !value.is_finite() || definition.kind == MetricKind::Counter && value < 0.0 {
            return Err(refusal(RefusalCode::Malformed, "the value is not finite, or a counter would fall"));
        }
        let definition = Arc::clone(definition);
        let series = series(&definition, &labels);
        if self.limits.metric_series < u32::MAX && !self.series.contains(&series) {
            if self.series.len() >= self.limits.metric_series as usize {
                self.limited.1 = true;
                return Err(refusal(RefusalCode::Limit, "more metric series than the limit"));
            }
            self.series.insert(series);
        }
        self.effect_bytes +=
            self.effects.stage_as(series, MetricUpdate { metric: definition, labels, value, more: Vec::new() });
        self.within_output()
    }
}

/// Texts of which none is longer than this, and no more than a metric may have labels.
fn bounded(texts: Texts, most: usize) -> Result<Labels, Refusal> {
    if texts.ends.len() > LABELS {
        return Err(refusal(RefusalCode::Limit, "more labels than the limit"));
    }
    let malformed = || refusal(RefusalCode::Malformed, "texts whose ends do not fit, or that are not UTF-8");
    let labels = Labels::new(texts.ends, texts.bytes).ok_or_else(malformed)?;
    if labels.iter().any(|label| label.len() > most) {
        return Err(refusal(RefusalCode::Limit, "a label is longer than the limit"));
    }
    Ok(labels)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    starts && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

//! Metrics of the plugin's own. A plugin that uses them declares the capability `metrics`.
//!
//! They appear on the collector's `/metrics` as `sluice_plugin_custom_NAME{plugin="…"}`. In tests
//! [`Stage::recorded`](crate::testing::Stage::recorded) shows them.

use crate::batch::Refusal;
use crate::columns::Texts;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter = 1,
    /// Is set.
    Gauge = 2,
    /// Records values.
    Histogram = 3,
}

/// A metric that was defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric(u32);

impl Metric {
    /// Defines a metric; defining it again gives the same one. Not possible in `configure`: define
    /// it in `process`, at first use.
    ///
    /// # Errors
    /// When the host refuses: a bad name, another definition of it, too many.
    pub fn define(kind: Kind, name: &str, help: &str, labels: &[&str]) -> Result<Self, Refusal> {
        imp::define(kind, name, help, labels).map(Self)
    }

    /// Adds to a counter, sets a gauge, records in a histogram. One label value a label.
    ///
    /// # Errors
    /// When the host refuses: a value that is not finite, a falling counter, too many series.
    pub fn record(self, labels: &[&str], value: f64) -> Result<(), Refusal> {
        imp::record(self.0, &mut texts(labels), value)
    }

    /// The same with labels that are there as texts, for what is recorded often: nothing is copied.
    ///
    /// # Errors
    /// As [`Metric::record`].
    pub fn record_texts(self, labels: &mut Texts, value: f64) -> Result<(), Refusal> {
        imp::record(self.0, labels, value)
    }
}

fn texts(strings: &[&str]) -> Texts {
    let mut texts = Texts::default();
    for string in strings {
        texts.push(string.as_bytes());
    }
    texts
}

#[cfg(target_family = "wasm")]
mod imp {
    use super::{Kind, Refusal, texts};
    use crate::bindings::sluice::plugin::metrics;
    use crate::columns::Texts;

    pub fn define(kind: Kind, name: &str, help: &str, labels: &[&str]) -> Result<u32, Refusal> {
        metrics::define(kind as u32, name, help, &texts(labels).into()).map_err(Into::into)
    }

    pub fn record(metric: u32, labels: &mut Texts, value: f64) -> Result<(), Refusal> {
        let lent = std::mem::take(labels).into();
        let result = metrics::record(metric, &lent, value);
        *labels = lent.into();
        result.map_err(Into::into)
    }
}

#[cfg(not(target_family = "wasm"))]
mod imp {
    use super::{Kind, Refusal};
    use crate::columns::Texts;
    use crate::testing::environment;

    pub fn define(_: Kind, name: &str, _: &str, labels: &[&str]) -> Result<u32, Refusal> {
        environment::if_any("metrics", |environment| {
            let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
            let known = environment.metrics.iter().position(|(known, _)| known == name);
            Ok(known.unwrap_or_else(|| {
                environment.metrics.push((name.to_owned(), labels));
                environment.metrics.len() - 1
            }) as u32)
        })
    }

    pub fn record(metric: u32, labels: &mut Texts, value: f64) -> Result<(), Refusal> {
        environment::if_any("metrics", |environment| environment.record(metric, labels, value)).map(drop)
    }
}

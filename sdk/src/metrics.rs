//! Metrics of the plugin's own. A plugin that uses them declares the capability `metrics`.
//!
//! They appear on the collector's `/metrics` as `sluice_plugin_custom_NAME{plugin="…"}`. Off wasm
//! they go nowhere.

use crate::batch::Refusal;

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
        imp::record(self.0, labels, value)
    }
}

#[cfg(target_family = "wasm")]
mod imp {
    use super::{Kind, Refusal};
    use crate::bindings::sluice::plugin::{columns, metrics};
    use crate::columns::Texts;

    fn texts(strings: &[&str]) -> columns::Texts {
        let mut texts = Texts::default();
        strings.iter().for_each(|string| texts.push(string.as_bytes()));
        texts.into()
    }

    pub fn define(kind: Kind, name: &str, help: &str, labels: &[&str]) -> Result<u32, Refusal> {
        metrics::define(kind as u32, name, help, &texts(labels)).map_err(Into::into)
    }

    pub fn record(metric: u32, labels: &[&str], value: f64) -> Result<(), Refusal> {
        metrics::record(metric, &texts(labels), value).map_err(Into::into)
    }
}

#[cfg(not(target_family = "wasm"))]
mod imp {
    use super::{Kind, Refusal};

    #[expect(clippy::unnecessary_wraps, reason = "the host's can refuse")]
    pub fn define(_: Kind, _: &str, _: &str, _: &[&str]) -> Result<u32, Refusal> {
        Ok(0)
    }

    #[expect(clippy::unnecessary_wraps, reason = "the host's can refuse")]
    pub fn record(_: u32, _: &[&str], _: f64) -> Result<(), Refusal> {
        Ok(())
    }
}

//! A plugin that does on demand what no plugin should: trap, loop, eat memory, overstep its access, name
//! files that are not its own; or sets the stamp that it was built with.

use serde::Deserialize;
use sluice_sdk::prelude::*;
use sluice_sdk::{Texts, log, metrics, tables};

/// The version that this is, set when it is built.
const STAMP: &str = match option_env!("STAMP") {
    Some(stamp) => stamp,
    None => "none",
};

/// What to do, and to which spans.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    does: Deed,
    /// Only in a call with a span of this name; in every call if it is not given.
    to: Option<String>,
    /// A CSV file of stations, by their `id`.
    stations: Option<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Deed {
    /// Reach what must not be reached.
    Trap,
    /// Never come back.
    Loop,
    /// Take memory until there is none.
    Grow,
    /// Read what was not asked for.
    Deny,
    /// Log more than anybody can read.
    Chatter,
    /// Count under ever new labels.
    Series,
    /// Edit more than there is.
    Edits,
    /// Ask the host again and again.
    Calls,
    /// Set the attribute `stamp`.
    Stamp,
    /// Count calls by how many different names their spans have.
    Names,
    /// Trap in `flush`.
    Flush,
    /// Set it to the city of the station `GVA`.
    City,
    /// Name a file that the operator has not.
    Pry,
    /// Set it to the host's name, to the variable `TOLD`, to whether there is a variable `UNTOLD`, and to the
    /// pod's label `color`.
    Host,
}

struct Tester(Config);

impl Plugin for Tester {
    type Config = Config;

    fn describe() -> Description {
        Description::new("tester", STAMP)
            .capability("log")
            .capability("metrics")
            .capability("tables")
            .read("tables:*")
            .read("spans.name")
            .read("spans.attributes:stamp")
            .write("spans.attributes:stamp")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        let file = match (config.does, &config.stations) {
            (Deed::Pry, _) => Some(TableFile::csv("passwd", "/etc/passwd", "root")),
            (_, stations) => stations.as_ref().map(|path| TableFile::csv("stations", path, "id")),
        };
        let configured = Configured::new(Self(config));
        Ok(if let Some(file) = file { configured.file(file) } else { configured })
    }

    fn process(&mut self, batch: &Batch) -> Result<(), Failure> {
        let mut due = self.0.to.is_none();
        for span in batch.spans()? {
            due |= Some(&*span.name()?) == self.0.to.as_deref();
        }
        if !due {
            return Ok(());
        }
        // Set in any case: of a call that fails no edit may be seen.
        for span in batch.spans()? {
            span.set_attribute("stamp", STAMP);
        }
        match self.0.does {
            Deed::Stamp | Deed::Flush => Ok(()),
            Deed::Names => {
                let mut names = Vec::new();
                for span in batch.spans()? {
                    names.push(span.name()?.to_string());
                }
                names.sort_unstable();
                names.dedup();
                let help = "Calls by how many different names their spans have.";
                let metric = metrics::Metric::define(metrics::Kind::Counter, "calls", help, &["names"])?;
                Ok(metric.record(&[&names.len().to_string()], 1.0)?)
            }
            Deed::Host => {
                let mut names = Texts::one("host.name");
                names.push(b"env.TOLD");
                names.push(b"env.UNTOLD");
                names.push(b"k8s.pod.label.color");
                let found = tables::look_up(tables::HOST, "value", &names)?;
                let stamp = format!("{:?} {:?} {:?} {:?}", found.str(0), found.str(1), found.str(2), found.str(3));
                for span in batch.spans()? {
                    span.set_attribute("stamp", stamp.as_str());
                }
                Ok(())
            }
            Deed::City => {
                let found = tables::look_up("stations", "city", &Texts::one("GVA"))?;
                for span in batch.spans()? {
                    span.set_attribute("stamp", found.str(0).unwrap_or("none"));
                }
                Ok(())
            }
            // It is never configured.
            Deed::Pry => Ok(()),
            Deed::Trap => core::arch::wasm32::unreachable(),
            Deed::Loop => loop {
                core::hint::black_box(());
            },
            Deed::Grow => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(vec![1u8; 1 << 20]);
                    core::hint::black_box(&hoard);
                }
            }
            Deed::Chatter => {
                (0..1_000).for_each(|_| log::warn("a line that nobody wants"));
                Ok(())
            }
            Deed::Series => {
                let metric =
                    metrics::Metric::define(metrics::Kind::Counter, "floods", "Ever new labels.", &["number"])?;
                // What is refused is ignored: the call goes well.
                (0..100).for_each(|number: u32| drop(metric.record(&[&number.to_string()], 1.0)));
                Ok(())
            }
            Deed::Edits => {
                let large = "x".repeat(3 << 20);
                batch.spans()?.take(1).for_each(|span| span.set_attribute("stamp", large.as_str()));
                Ok(())
            }
            Deed::Calls => loop {
                batch.attribute(Table::Spans, "stamp").map(drop)?;
            },
            Deed::Deny => Ok(batch.attribute(Table::Spans, "user.email").map(|_| ())?),
        }
    }

    fn flush(&mut self, now_unix_nano: u64) -> Result<(), Failure> {
        let define = |kind, name, help| metrics::Metric::define(kind, name, help, &[]);
        if let Deed::Flush = self.0.does {
            core::arch::wasm32::unreachable();
        }
        define(metrics::Kind::Counter, "flushes", "Calls of flush.")?.record(&[], 1.0)?;
        Ok(define(metrics::Kind::Gauge, "flushed_at", "The time then.")?.record(&[], now_unix_nano as f64 / 1e9)?)
    }
}

sluice_sdk::export!(Tester);

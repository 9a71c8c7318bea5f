//! The account as it is shown: one entry per receiver, per pipeline, and per pipeline and
//! destination, each with what does not add up.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Account;

/// Spans by who and why; only what is not zero.
type Breakdown = BTreeMap<String, i64>;

/// One entry of the account. All figures are spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "level", rename_all = "snake_case")]
pub enum Entry {
    /// `received = accepted + refused + held`.
    Receiver {
        /// The component id.
        name: String,
        /// Counted at the door.
        received: i64,
        /// Answered with success.
        accepted: i64,
        /// Answered with an error.
        refused: i64,
        /// Not answered yet.
        held: i64,
        /// What does not add up.
        missing: i64,
    },
    /// `accepted = passed + dropped + quarantined + held`.
    Pipeline {
        /// The pipeline's id.
        name: String,
        /// Answered for by receivers.
        accepted: i64,
        /// Left the chain.
        passed: i64,
        /// By component and reason.
        dropped: BTreeMap<String, Breakdown>,
        /// Set aside.
        quarantined: i64,
        /// Kept by the chain.
        held: i64,
        /// What does not add up.
        missing: i64,
    },
    /// `passed = delivered + failed + dropped + held`.
    Destination {
        /// The pipeline's id.
        name: String,
        /// The exporter's component id.
        destination: String,
        /// Put into the queue.
        passed: i64,
        /// Accepted by upstream.
        delivered: i64,
        /// Of `delivered`: by upstream, where there are several.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        delivered_by: Breakdown,
        /// Tried and not taken, by reason.
        failed: Breakdown,
        /// Dropped by a policy of the queue, by reason.
        dropped: Breakdown,
        /// In the queue or on their way.
        held: i64,
        /// Of `passed`: found in the queue on disk when the process began.
        restored: i64,
        /// Of `delivered`: upstream may have had them before.
        redelivered: i64,
        /// What does not add up.
        missing: i64,
    },
}

/// The cells of one entry: outcome → by → reason → spans.
type Cells = BTreeMap<String, BTreeMap<String, Breakdown>>;

impl Account {
    /// The account as it stands.
    pub fn report(&self) -> Vec<Entry> {
        let mut all: BTreeMap<(String, String, String), Cells> = BTreeMap::new();
        for family in self.still() {
            for metric in family.get_metric() {
                let label = |name: &str| {
                    let pair = metric.get_label().iter().find(|pair| pair.name() == name);
                    pair.map(|pair| pair.value().to_owned()).unwrap_or_default()
                };
                let cells = all.entry((label("level"), label("name"), label("destination"))).or_default();
                let spans = metric.get_gauge().get_value() as i64;
                *cells
                    .entry(label("outcome"))
                    .or_default()
                    .entry(label("by"))
                    .or_default()
                    .entry(label("reason"))
                    .or_default() += spans;
            }
        }
        all.into_iter().map(|((level, name, destination), cells)| entry(&level, name, destination, &cells)).collect()
    }

    /// Writes the closing account into the log: one event an entry.
    pub fn log(&self) {
        for entry in self.report() {
            entry.log();
        }
    }
}

fn entry(level: &str, name: String, destination: String, cells: &Cells) -> Entry {
    let total = |outcome: &str| {
        cells.get(outcome).into_iter().flat_map(BTreeMap::values).flat_map(BTreeMap::values).sum::<i64>()
    };
    let reasons = |outcome: &str| {
        let by = cells.get(outcome).into_iter().flat_map(BTreeMap::values);
        by.flatten().filter(|(_, spans)| **spans != 0).map(|(reason, spans)| (reason.clone(), *spans)).collect()
    };
    let by = |outcome: &str| {
        let named = cells.get(outcome).into_iter().flatten().filter(|(by, _)| !by.is_empty());
        named.map(|(by, reasons)| (by.clone(), reasons.values().sum())).collect()
    };
    match level {
        "receiver" => {
            let (received, accepted, refused, held) =
                (total("received"), total("accepted"), total("refused"), total("held"));
            Entry::Receiver { name, received, accepted, refused, held, missing: received - accepted - refused - held }
        }
        "pipeline" => {
            let (accepted, passed, quarantined, held) =
                (total("accepted"), total("passed"), total("quarantined"), total("held"));
            let dropped = cells.get("dropped").cloned().unwrap_or_default();
            let missing = accepted - passed - total("dropped") - quarantined - held;
            Entry::Pipeline { name, accepted, passed, dropped, quarantined, held, missing }
        }
        _ => {
            let (passed, delivered, held) = (total("passed"), total("delivered"), total("held"));
            let missing = passed - delivered - total("failed") - total("dropped") - held;
            Entry::Destination {
                name,
                destination,
                passed,
                delivered,
                delivered_by: by("delivered"),
                failed: reasons("failed"),
                dropped: reasons("dropped"),
                held,
                restored: total("restored"),
                redelivered: total("redelivered"),
                missing,
            }
        }
    }
}

fn json(value: &impl Serialize) -> String {
    // Maps of strings to integers always have a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}

/// Writes an entry into the log; one that does not add up is an error.
macro_rules! tell {
    ($missing:ident, $($fields:tt)+) => {
        if *$missing == 0 {
            tracing::info!(event = "account", $($fields)+, $missing);
        } else {
            tracing::error!(event = "account", $($fields)+, $missing);
        }
    };
}

impl Entry {
    /// What does not add up.
    pub fn missing(&self) -> i64 {
        match self {
            Self::Receiver { missing, .. } | Self::Pipeline { missing, .. } | Self::Destination { missing, .. } => {
                *missing
            }
        }
    }

    fn log(&self) {
        match self {
            Self::Receiver { name, received, accepted, refused, held, missing } => {
                tell!(missing, kind = "receiver", name, received, accepted, refused, held);
            }
            Self::Pipeline { name, accepted, passed, dropped, quarantined, held, missing } => {
                let dropped = json(dropped);
                tell!(missing, kind = "pipeline", name, accepted, passed, json.dropped = dropped, quarantined, held);
            }
            Self::Destination {
                name,
                destination,
                passed,
                delivered,
                delivered_by,
                failed,
                dropped,
                held,
                restored,
                redelivered,
                missing,
            } => {
                let by = (!delivered_by.is_empty()).then(|| json(delivered_by));
                let (failed, dropped) = (json(failed), json(dropped));
                tell!(
                    missing,
                    kind = "destination",
                    name,
                    destination,
                    passed,
                    delivered,
                    json.delivered_by = by,
                    json.failed = failed,
                    json.dropped = dropped,
                    held,
                    restored,
                    redelivered
                );
            }
        }
    }
}

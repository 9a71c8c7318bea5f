//! All figures of the account, to be kept and to be carried on.

use std::sync::PoisonError;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Account;

/// What is carried on. What is held is not, nor what was restored: both are of one process.
const CARRIED: [&str; 9] =
    ["received", "accepted", "refused", "passed", "delivered", "redelivered", "failed", "dropped", "quarantined"];

/// One figure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Cell {
    level: String,
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    destination: String,
    outcome: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    by: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    spans: i64,
}

impl Cell {
    /// The outcome that spans of this level have first; none if there is no such level.
    fn entered(&self) -> Option<&'static str> {
        match self.level.as_str() {
            "receiver" => Some("received"),
            "pipeline" => Some("accepted"),
            "destination" => Some("passed"),
            _ => None,
        }
    }
}

impl Account {
    /// Since when it counts.
    pub fn since(&self) -> SystemTime {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All figures that are not zero, in order, and since when they count.
    pub(super) fn cells(&self) -> (Vec<Cell>, SystemTime) {
        let mut cells = Vec::new();
        for family in self.still() {
            for metric in family.get_metric() {
                let label = |name: &str| {
                    let pair = metric.get_label().iter().find(|pair| pair.name() == name);
                    pair.map(|pair| pair.value().to_owned()).unwrap_or_default()
                };
                cells.push(Cell {
                    level: label("level"),
                    name: label("name"),
                    destination: label("destination"),
                    outcome: label("outcome"),
                    by: label("by"),
                    reason: label("reason"),
                    spans: metric.get_gauge().get_value() as i64,
                });
            }
        }
        cells.retain(|cell| cell.spans != 0);
        cells.sort();
        (cells, self.since())
    }

    /// Adds the figures of an earlier process but for what it held, which is as if it had never come.
    pub(super) fn carry_on(&self, cells: &[Cell], since: SystemTime) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
        let _together = self.counting();
        for cell in cells {
            let Cell { level, name, destination, outcome, by, reason, spans } = cell;
            let Some(entered) = cell.entered() else { continue };
            if outcome == "held" {
                self.cell([level, name, destination, entered, "", ""]).sub(*spans);
            } else if CARRIED.contains(&outcome.as_str()) {
                self.cell([level, name, destination, outcome, by, reason]).add(*spans);
            }
        }
    }
}

//! The closing account, checked anew: what the collector says is missing is not trusted.

use serde_json::Value;

/// The `account` events of a run.
#[derive(Debug, Clone, Default)]
pub struct Account {
    entries: Vec<Value>,
}

impl Account {
    /// The account of these events.
    pub fn new(entries: Vec<Value>) -> Self {
        Self { entries }
    }

    /// All entries.
    pub fn entries(&self) -> &[Value] {
        &self.entries
    }

    /// The sum of one outcome over all entries of a level: `receiver`, `pipeline`, `destination`.
    pub fn sum(&self, level: &str, outcome: &str) -> i64 {
        self.level(level).map(|entry| total(&entry[outcome])).sum()
    }

    /// The sum of one outcome over the entries of one destination.
    pub fn destination(&self, destination: &str, outcome: &str) -> i64 {
        let ours = |entry: &&Value| entry["destination"] == destination;
        self.level("destination").filter(ours).map(|entry| total(&entry[outcome])).sum()
    }

    /// How many spans one component dropped.
    pub fn dropped_by(&self, component: &str) -> i64 {
        self.level("pipeline").map(|entry| total(&entry["dropped"][component])).sum()
    }

    /// What does not add up: by our own sums, and by the collector's.
    ///
    /// # Panics
    /// When there is no account for one of the three levels: no account proves nothing.
    pub fn missing(&self) -> i64 {
        for level in ["receiver", "pipeline", "destination"] {
            assert!(self.level(level).next().is_some(), "the closing account has no {level}: {:?}", self.entries);
        }
        self.entries.iter().map(|entry| gap(entry).abs() + total(&entry["missing"]).abs()).sum()
    }

    fn level(&self, level: &str) -> impl Iterator<Item = &Value> {
        self.entries.iter().filter(move |entry| entry["kind"] == level)
    }
}

/// A number, or the sum of all numbers in an object of them.
fn total(value: &Value) -> i64 {
    match value {
        Value::Object(parts) => parts.values().map(total).sum(),
        other => other.as_i64().unwrap_or_default(),
    }
}

fn gap(entry: &Value) -> i64 {
    let sum = |outcomes: &[&str]| outcomes.iter().map(|outcome| total(&entry[*outcome])).sum::<i64>();
    match entry["kind"].as_str() {
        Some("receiver") => sum(&["received"]) - sum(&["accepted", "refused"]),
        Some("pipeline") => sum(&["accepted"]) - sum(&["passed", "dropped", "quarantined", "held"]),
        _ => sum(&["passed"]) - sum(&["delivered", "failed", "dropped", "held"]),
    }
}

//! What is wrong with a plugin's configuration.

use crate::failure::cut;

/// A problem with the plugin's configuration: one that it finds, or a file that is named there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where, like `actions[2].key`; empty for the whole.
    pub path: String,
    /// What.
    pub message: String,
}

/// Problems of one configuration that are told, and where each is cut.
const PROBLEMS: usize = 100;
const PROBLEM_BYTES: usize = 1 << 10;

impl ConfigError {
    /// What is told of what a plugin says is wrong.
    pub(crate) fn taken(said: impl ExactSizeIterator<Item = Self>) -> Vec<Self> {
        let more = said.len().saturating_sub(PROBLEMS);
        let mut told: Vec<Self> = said.take(PROBLEMS).collect();
        for Self { path, message } in &mut told {
            cut(path, PROBLEM_BYTES);
            cut(message, PROBLEM_BYTES);
        }
        if more > 0 {
            told.push(Self { path: String::new(), message: format!("and {more} problems more") });
        }
        told
    }
}

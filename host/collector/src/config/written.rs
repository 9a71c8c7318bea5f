//! What sources said when they were read.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A source as it was when it was read. Read again, it says the same, whatever has become of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The name as the user gave it.
    pub name: String,
    /// The file, if it is one.
    pub file: Option<PathBuf>,
    /// Where relative paths in it start.
    pub folder: PathBuf,
    /// Whether it is `KEY=VALUE`, and no YAML as a whole.
    pub is_argument: bool,
    /// What it says, before substitution.
    pub text: String,
}

/// All sources of a configuration, in their order.
#[derive(Debug, Clone, Default)]
pub struct Sources(pub Arc<[Written]>);

/// The same configuration written in another way is the same configuration.
impl PartialEq for Sources {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

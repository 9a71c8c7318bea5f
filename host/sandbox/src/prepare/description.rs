//! What a plugin says of itself, and what of that is taken: it becomes labels of metrics and lines that people read.

use crate::access::Access;

/// Bit of `description.traits`: the plugin is a redactor.
const REDACTOR: u32 = 1;

/// Size of a name or version, and of the name of a capability.
const NAME_BYTES: usize = 100;

/// Capabilities that a plugin may name; there are six.
const CAPABILITIES: usize = 32;

/// Grants of one list, and the size of one: the longest has a key of an attribute.
const GRANTS: usize = 4096;
const GRANT_BYTES: usize = 1 << 10;

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The plugin's own name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The capabilities that it uses.
    pub capabilities: Vec<String>,
    /// The most that any configuration of it needs.
    pub access: Access,
    /// Whether spans must not pass by it when it fails.
    pub redactor: bool,
    /// The layout of what it keeps.
    pub schema: u32,
}

/// A description that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDescription {
    /// Something is missing.
    #[error("the plugin describes itself without a {0}")]
    Empty(&'static str),
    /// Something is too long.
    #[error("the plugin describes itself with a {0} of {1} bytes; {2} are the most")]
    TooLong(&'static str, usize, usize),
    /// Something would steer a terminal, or look like another line.
    #[error("the plugin describes itself with the {0} {1:?}, which has control characters")]
    Control(&'static str, String),
    /// A list is too long.
    #[error("the plugin names {1} {0}; {2} are the most")]
    TooMany(&'static str, usize, usize),
}

impl Description {
    pub(crate) fn is_redactor(traits: u32) -> bool {
        traits & REDACTOR != 0
    }

    /// Checks what the plugin has written.
    pub(super) fn check(&self) -> Result<(), BadDescription> {
        if self.capabilities.len() > CAPABILITIES {
            return Err(BadDescription::TooMany("capabilities", self.capabilities.len(), CAPABILITIES));
        }
        let capabilities = self.capabilities.iter().map(|name| ("capability", name));
        for (what, name) in [("name", &self.name), ("version", &self.version)].into_iter().chain(capabilities) {
            if name.is_empty() {
                return Err(BadDescription::Empty(what));
            }
            if name.len() > NAME_BYTES {
                return Err(BadDescription::TooLong(what, name.len(), NAME_BYTES));
            }
            if name.contains(char::is_control) {
                return Err(BadDescription::Control(what, name.clone()));
            }
        }
        check_access(&self.access)
    }
}

/// Checks lists of grants for their size; what they mean is looked at later.
pub(super) fn check_access(access: &Access) -> Result<(), BadDescription> {
    for (what, grants) in [("grants to read", &access.read), ("grants to write", &access.write)] {
        if grants.len() > GRANTS {
            return Err(BadDescription::TooMany(what, grants.len(), GRANTS));
        }
        if let Some(long) = grants.iter().find(|grant| grant.len() > GRANT_BYTES) {
            return Err(BadDescription::TooLong("grant", long.len(), GRANT_BYTES));
        }
    }
    Ok(())
}

//! The capabilities in a test: what the free functions of the SDK find while a plugin is called.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use sluice_state::{Random, Staged, Store, Table};

use super::Grants;
use crate::batch::Refusal;

/// The refusal codes of what was not declared, and of what is not possible while no batch is there.
const DENIED: u32 = 1;
const NOT_POSSIBLE: u32 = 6;

thread_local! {
    /// The environment of the call that this thread is in.
    static CURRENT: RefCell<Option<Environment>> = const { RefCell::new(None) };
}

/// What the host would provide.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) capabilities: Vec<String>,
    pub(crate) now_unix_nano: u64,
    pub(crate) random: Random,
    pub(crate) store: Arc<Store>,
    /// What the present request has done to the store.
    pub(crate) staged: Staged,
    /// The look-up tables, and which of them the plugin asked for.
    pub(crate) tables: HashMap<String, Table>,
    pub(crate) grants: Grants,
}

/// Does something with what the host would provide, if the plugin has declared the capability.
pub(crate) fn with<T>(
    capability: &str,
    work: impl FnOnce(&mut Environment) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    CURRENT.with_borrow_mut(|current| {
        let Some(environment) = current else {
            let message = "capabilities are there in `process` and `flush`, not in `configure`".to_owned();
            return Err(Refusal { code: NOT_POSSIBLE, message });
        };
        if !environment.capabilities.iter().any(|declared| declared == capability) {
            let message = format!("the plugin does not declare the capability `{capability}`");
            return Err(Refusal { code: DENIED, message });
        }
        work(environment)
    })
}

/// Does something with this environment in place; gives it back, too.
pub(crate) fn during<T>(environment: Environment, work: impl FnOnce() -> T) -> (Option<Environment>, T) {
    CURRENT.set(Some(environment));
    let done = work();
    (CURRENT.take(), done)
}

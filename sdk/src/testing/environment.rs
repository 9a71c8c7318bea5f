//! The capabilities in a test: what the free functions of the SDK find while a plugin is called.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use sluice_state::{Random, Staged, Store, Table};

use super::{Grants, Recorded};
use crate::batch::Refusal;
use crate::columns::Texts;

/// The refusal codes of what was not declared, and of what is not possible while no batch is there.
const DENIED: u32 = 1;
const NOT_POSSIBLE: u32 = 6;
/// Those of a number that is no metric's, and of labels that do not fit it.
const OUT_OF_RANGE: u32 = 3;
const MALFORMED: u32 = 4;

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
    /// The metrics that were defined: their names and those of their labels.
    pub(crate) metrics: Vec<(String, Vec<String>)>,
    /// What the present request has recorded.
    pub(crate) staged_records: Vec<Recorded>,
    /// What requests that have passed have recorded.
    pub(crate) recorded: Vec<Recorded>,
}

impl Environment {
    /// Notes what is recorded.
    pub(crate) fn record(&mut self, metric: u32, labels: &Texts, value: f64) -> Result<u32, Refusal> {
        let refusal = |code, message: &str| Refusal { code, message: message.to_owned() };
        let known = self.metrics.get(metric as usize);
        let (name, names) = known.ok_or_else(|| refusal(OUT_OF_RANGE, "no such metric"))?;
        if names.len() != labels.len() {
            return Err(refusal(MALFORMED, "one label value for each label name"));
        }
        let values = (0..labels.len()).map(|i| labels.str(i).to_owned());
        let labels = names.iter().cloned().zip(values).collect();
        self.staged_records.push(Recorded { metric: name.clone(), labels, value });
        Ok(metric)
    }
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

/// As [`with`], where a plugin is tested; elsewhere there is nothing to be told, and the answer is 0.
pub(crate) fn if_any(
    capability: &str,
    work: impl FnOnce(&mut Environment) -> Result<u32, Refusal>,
) -> Result<u32, Refusal> {
    if CURRENT.with_borrow(Option::is_none) {
        return Ok(0);
    }
    with(capability, work)
}

/// Does something with this environment in place; gives it back, too.
pub(crate) fn during<T>(environment: Environment, work: impl FnOnce() -> T) -> (Option<Environment>, T) {
    CURRENT.set(Some(environment));
    let done = work();
    (CURRENT.take(), done)
}

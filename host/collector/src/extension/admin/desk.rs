//! Between the API and the control loop: what is known goes out, orders go in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::account::{Account, Entry};
use crate::plugin::Inspection;
use crate::swap::event::Swap;
use crate::swap::trial::Shown;

/// Orders of each kind that may wait. A slow one takes as long as compiling does.
const ORDERS: usize = 4;

/// What the API knows and whom it asks. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Desk {
    account: Account,
    slow: mpsc::Sender<Order>,
    quick: mpsc::Sender<Order>,
    plugins: Arc<Mutex<BTreeMap<String, Plugin>>>,
}

/// A plugin that serves.
#[derive(Debug, Clone, Serialize)]
pub struct Plugin {
    /// Who it is.
    #[serde(flatten)]
    pub inspection: Inspection,
    /// Since when this version serves, as RFC 3339.
    pub since: String,
    /// How the last attempt to change it ended, and all its steps.
    pub last_swap: Swap,
    /// The version that is tried beside it, and how it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Shown>,
    /// The digests of the versions that are kept, oldest first.
    pub kept: Vec<String>,
    /// The digest that was rolled back, and does not serve until its file changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<String>,
}

/// Where orders come out. Nobody is to wait for what somebody else has to have compiled, so there are two ways.
pub struct Orders {
    /// Those that may take long.
    pub slow: mpsc::Receiver<Order>,
    /// Those that [are quick](Asked::is_quick).
    pub quick: mpsc::Receiver<Order>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Read the configuration and all modules again.
    Reload,
    /// Read the module of this plugin again, and touch nothing else.
    Swap {
        /// The component id.
        plugin: String,
        /// Even if it is a version that was rolled back.
        force: bool,
    },
    /// Go back to the version of this plugin that served before.
    Rollback(String),
    /// Have the candidate of this plugin serve.
    Promote(String),
    /// Let go of the candidate of this plugin.
    Abort(String),
}

/// An order, and whoever waits for it.
pub struct Order {
    /// What is asked for.
    pub asked: Asked,
    done: Option<oneshot::Sender<Done>>,
}

/// How an order or another trigger ended.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Done {
    /// `applied`, `unchanged` or `failed`.
    pub outcome: &'static str,
    /// Why it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What became of the plugins that changed, or were to.
    pub swaps: Vec<Swap>,
}

/// Too many orders wait.
#[derive(Debug)]
pub struct Unheard;

impl Asked {
    /// The one plugin that it is about, if it is about one.
    pub fn plugin(&self) -> Option<&str> {
        match self {
            Self::Reload => None,
            Self::Swap { plugin, .. } | Self::Rollback(plugin) | Self::Promote(plugin) | Self::Abort(plugin) => {
                Some(plugin)
            }
        }
    }

    /// Whether it is about versions that have been compiled and have served or were tried.
    pub fn is_quick(&self) -> bool {
        matches!(self, Self::Rollback(_) | Self::Promote(_) | Self::Abort(_))
    }
}

impl Done {
    /// What was asked for is so now.
    pub fn is_ok(&self) -> bool {
        self.error.is_none()
    }
}

impl Order {
    /// An order that nobody waits for.
    pub fn new(asked: Asked) -> Self {
        Self { asked, done: None }
    }

    /// Tells whoever waits how it ended.
    pub fn done(self, how: Done) {
        // Who asked may have gone.
        let _ = self.done.map(|done| done.send(how));
    }
}

impl Desk {
    /// A desk, and where its orders come out.
    pub fn new(account: Account) -> (Self, Orders) {
        let ((slow, slow_ones), (quick, quick_ones)) = (mpsc::channel(ORDERS), mpsc::channel(ORDERS));
        let orders = Orders { slow: slow_ones, quick: quick_ones };
        (Self { account, slow, quick, plugins: Arc::default() }, orders)
    }

    pub(super) fn account(&self) -> Vec<Entry> {
        self.account.report()
    }

    /// Since when the account counts.
    pub(super) fn since(&self) -> SystemTime {
        self.account.since()
    }

    pub(super) fn plugins(&self) -> Vec<Plugin> {
        self.locked().values().cloned().collect()
    }

    pub(super) fn plugin(&self, id: &str) -> Option<Plugin> {
        self.locked().get(id).cloned()
    }

    /// A plugin serves.
    pub fn serves(&self, id: &str, plugin: Plugin) {
        self.locked().insert(id.to_owned(), plugin);
    }

    /// Other versions of a plugin are kept.
    pub fn versions(&self, id: &str, kept: Vec<String>, rolled_back: Option<String>) {
        if let Some(plugin) = self.locked().get_mut(id) {
            (plugin.kept, plugin.rolled_back) = (kept, rolled_back);
        }
    }

    /// A candidate of a plugin is tried from now on, or none any more.
    pub fn tries(&self, swap: &Swap, candidate: Option<Shown>) {
        if let Some(plugin) = self.locked().get_mut(&swap.plugin) {
            (plugin.last_swap, plugin.candidate) = (swap.clone(), candidate);
        }
    }

    /// An attempt to change a plugin has failed.
    pub fn failed(&self, swap: &Swap) {
        if let Some(plugin) = self.locked().get_mut(&swap.plugin) {
            plugin.last_swap = swap.clone();
        }
    }

    /// Only these plugins serve.
    pub fn only(&self, serves: impl Fn(&str) -> bool) {
        self.locked().retain(|id, _| serves(id));
    }

    /// Places an order; the answer comes when it has been carried out, and none when the process ends before.
    pub(super) fn ask(&self, order: Order) -> Result<oneshot::Receiver<Done>, Unheard> {
        let (done, waiting) = oneshot::channel();
        let orders = if order.asked.is_quick() { &self.quick } else { &self.slow };
        match orders.try_send(Order { done: Some(done), ..order }) {
            Err(TrySendError::Full(_)) => Err(Unheard),
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(waiting),
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Plugin>> {
        // Nothing here can panic half-way.
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Contract 0.1.0: bindings and the host's side of them.
//!
//! Every function checks what the guest asks for against what it was granted and answers with a
//! refusal, never with a trap, whatever the guest can get wrong. What is over a limit is refused
//! and remembered: the call fails when it returns, even if the guest ignores the refusal.

mod ambient;
mod batches;
mod capabilities;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod store;
mod tables;
mod timer;

use std::sync::Arc;

use sluice_spans::{Batch, Edits, Refusal, RefusalCode, Table};
use sluice_state::{Random, Table as LookUpTable};
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime::{Engine, ResourceLimiter};

use super::wasi::MadeUp;
use crate::access::Grants;
use crate::capability::{Capability, Provided};
use crate::effects::{Effects, Metric};
use crate::failure::FailureKind;
use crate::limits::Limits;
use crate::log_budget::LogBudget;

mod generated {
    #![allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]

    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        world: "processor",
        with: { "sluice:plugin/batches.batch": super::BatchHandle },
    });
}

pub(crate) use generated::sluice::plugin::lifecycle::Failure;
pub(crate) use generated::{Processor as Bindings, ProcessorPre as BindingsPre};

use generated::sluice::plugin::batches as wit_batches;
use timer::Timer;
use wit_batches::Refusal as WitRefusal;

/// What a guest's handle of the batch stands for. There is one batch a store, kept in [`Host`].
pub struct BatchHandle;

/// The handle that `process` lends the guest.
pub(crate) fn batch_handle() -> Resource<BatchHandle> {
    Resource::new_borrow(1)
}

/// The linker for all plugins.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    Bindings::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    Ok(linker)
}

/// What a call into the host may hand over beside edits: row numbers, keys, a configuration's errors.
const TRANSFER_BYTES: usize = 1 << 20;

/// Elements of all tables: a few pointers each; plugins have some hundred.
const TABLE_ELEMENTS: usize = 100_000;

/// Core instances, tables and memories of a component; those that tools make have three or four.
const CORE_ITEMS: usize = 32;

/// What the guest is being called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `describe` or `configure`: nothing but `log` answers.
    Setup,
    /// `process` and the others.
    Serving,
}

/// The host's side of one instance: its batch during a call, its limits, what it has staged.
pub(crate) struct Host {
    pub(crate) phase: Phase,
    pub(crate) batch: Batch,
    pub(crate) edits: Edits,
    pub(crate) effects: Effects,
    pub(crate) grants: Arc<Grants>,
    /// The plugin's capabilities; none while it is set up.
    pub(crate) provided: Arc<Provided>,
    limits: Limits,
    /// For each table, what this call has learnt of its entries.
    views: [View; 5],
    calls: u32,
    refusals: u32,
    broken: Option<FailureKind>,
    /// Log lines, or updates of metrics, of this call were too many.
    limited: (bool, bool),
    memory_bytes: usize,
    table_elements: usize,
    /// A table would have grown beyond the limit.
    table_full: bool,
    /// Size of the effects of this call and of those before it for the same request.
    effect_bytes: usize,
    timer: Timer,
    /// The time of this call, once it has asked.
    now: Option<u64>,
    random: Option<Random>,
    /// What WASI says to the instance where it cannot say nothing.
    pub(crate) made_up: MadeUp,
    /// The look-up tables that this call has asked, by their place in `provided`.
    tables: Vec<(usize, Arc<LookUpTable>)>,
    definitions: Vec<Arc<Metric>>,
    series: std::collections::HashSet<u64>,
    /// What the plugin may log; until it serves, what this instance may.
    log_budget: Arc<LogBudget>,
}

/// The entries of one table as one call sees them.
#[derive(Default)]
struct View {
    /// The entries behind the numbers that the guest was given, if some are hidden from it.
    shown: Option<Vec<u32>>,
    /// Which of all entries may be written, once asked.
    writable: Option<Vec<bool>>,
}

impl Host {
    pub(crate) fn new(limits: Limits, grants: Arc<Grants>) -> Self {
        Self {
            phase: Phase::Setup,
            batch: Batch::default(),
            edits: Edits::new(),
            effects: Effects::default(),
            grants,
            provided: Arc::default(),
            log_budget: Arc::new(LogBudget::new(None, &limits)),
            timer: Timer::for_setup(limits.timeout),
            limits,
            views: Default::default(),
            calls: 0,
            refusals: 0,
            broken: None,
            limited: (false, false),
            memory_bytes: 0,
            table_elements: 0,
            table_full: false,
            effect_bytes: 0,
            now: None,
            random: None,
            made_up: MadeUp::default(),
            tables: Vec::new(),
            definitions: Vec::new(),
            series: std::collections::HashSet::new(),
        }
    }

    /// Begins to serve, with these capabilities and what all instances of the plugin may log.
    pub(crate) fn serve(&mut self, provided: &Arc<Provided>, log_budget: &Arc<LogBudget>) {
        self.phase = Phase::Serving;
        self.timer.set(self.limits.timeout, false);
        self.provided = Arc::clone(provided);
        self.log_budget = Arc::clone(log_budget);
        self.effects = Effects::default();
        // From now on the seed holds.
        self.random = None;
    }

    /// The next call is for the request that has staged this. Its store comes along.
    pub(crate) fn go_on(&mut self, staged: &mut Effects) {
        self.effect_bytes = staged.bytes();
        self.effects.store = std::mem::take(&mut staged.store);
    }

    /// Forgets what the last call left; another one begins, after so many ticks of the clock.
    pub(crate) fn begin(&mut self, ticks: u64) {
        self.views = Default::default();
        self.forget_tables();
        (self.calls, self.refusals) = (0, 0);
        (self.broken, self.limited, self.now) = (None, (false, false), None);
        self.table_full = false;
        self.timer.begin(ticks);
    }

    /// Lets go of the look-up tables, which may have been replaced since.
    pub(crate) fn forget_tables(&mut self) {
        self.tables.clear();
    }

    /// The limit that the call went over, if it did.
    pub(crate) fn broken(&self) -> Option<FailureKind> {
        self.timer.over().or(self.broken)
    }

    /// The limits that the call ran into without being over one that ends it.
    pub(crate) fn limited(&self) -> impl Iterator<Item = FailureKind> + use<> {
        let (log, metrics) = self.limited;
        log.then_some(FailureKind::Log).into_iter().chain(metrics.then_some(FailureKind::Metrics))
    }

    /// What the call wanted more of than its limit of memory, or of table elements, which have one of their own.
    pub(crate) fn wanted(&self) -> &'static str {
        if self.table_full {
            "more table elements than the 100,000 that a plugin may have"
        } else {
            "more memory than its limit"
        }
    }

    /// How often the host refused the call something.
    pub(crate) fn refusals(&self) -> u32 {
        self.refusals
    }

    /// The most that the guest may hand over in one call into the host, or as a result.
    pub(crate) fn transfer_bytes(&self) -> usize {
        self.limits.output_bytes.saturating_add(TRANSFER_BYTES)
    }

    /// Linear memory in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The gate of every host call.
    fn enter(&mut self) -> Result<(), Refusal> {
        if self.phase == Phase::Setup {
            return Err(refusal(RefusalCode::NotPossible, "there is no batch while the plugin is set up"));
        }
        self.count_call()
    }

    /// The gate of every call of WASI, which have no refusals: over the limit they trap. Those of the set-up
    /// are calls, too.
    pub(crate) fn enter_wasi(&mut self) -> wasmtime::Result<()> {
        self.count_call().map_err(|refusal| wasmtime::format_err!("{}", refusal.message))
    }

    fn count_call(&mut self) -> Result<(), Refusal> {
        self.calls += 1;
        if self.calls > self.limits.host_calls {
            self.broken = Some(FailureKind::HostCalls);
            return Err(refusal(RefusalCode::Limit, "more calls into the host than the limit"));
        }
        Ok(())
    }

    /// The gate of the host calls of a capability.
    fn enter_for(&mut self, capability: Capability) -> Result<(), Refusal> {
        self.enter()?;
        if self.provided.grants(capability) {
            return Ok(());
        }
        Err(denied(format_args!("the capability `{}`", capability.name())))
    }

    fn answer<T>(&mut self, result: Result<T, Refusal>) -> Result<T, WitRefusal> {
        result.map_err(|refusal| {
            self.refusals += 1;
            WitRefusal { code: refusal.code as u32, message: refusal.message }
        })
    }

    /// Whether so much more may be staged.
    fn has_room_for(&self, bytes: usize) -> bool {
        let staged = self.edits.bytes().saturating_add(self.effect_bytes);
        staged.saturating_add(bytes) <= self.limits.output_bytes
    }

    /// Checks the size of what is staged after an edit.
    fn within_output(&mut self) -> Result<(), Refusal> {
        if !self.has_room_for(0) {
            self.broken = Some(FailureKind::Output);
            return Err(refusal(RefusalCode::Limit, "more output than the limit"));
        }
        Ok(())
    }
}

impl ResourceLimiter for Host {
    /// Counts all memories of the component together.
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = self.memory_bytes.saturating_sub(current).saturating_add(desired);
        if total > self.limits.memory_bytes {
            self.broken = Some(FailureKind::Memory);
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.broken = Some(FailureKind::Memory);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.table_elements.saturating_sub(current).saturating_add(desired);
        if total > TABLE_ELEMENTS {
            (self.broken, self.table_full) = (Some(FailureKind::Memory), true);
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        CORE_ITEMS
    }

    fn tables(&self) -> usize {
        CORE_ITEMS
    }

    fn memories(&self) -> usize {
        CORE_ITEMS
    }
}

fn refusal(code: RefusalCode, message: &str) -> Refusal {
    Refusal { code, message: message.to_owned() }
}

/// Keys and names that a guest gives are cut here in messages.
const SHOWN_BYTES: usize = 200;

fn shown(name: &str) -> &str {
    name.get(..name.floor_char_boundary(SHOWN_BYTES)).unwrap_or_default()
}

fn denied(what: std::fmt::Arguments<'_>) -> Refusal {
    Refusal { code: RefusalCode::Denied, message: format!("{what} is not granted to this plugin") }
}

fn table(number: u32) -> Result<Table, Refusal> {
    Table::try_from(number).map_err(|_| refusal(RefusalCode::Unknown, "no such table"))
}

//! An instance: a plugin's code with its own memory, on one core.

use std::sync::Arc;
use std::time::Duration;

use sluice_spans::{Batch, Edits};
use sluice_state::NamedFile;
use wasmtime::Store;

use crate::abi::{Bindings, BindingsPre, Host, batch_handle};
use crate::access::{Access, Grants};
use crate::call;
use crate::effects::{Effects, LogLine};
use crate::engine::Shared;
use crate::failure::{CallError, FailureKind};
use crate::limits::Limits;
use crate::prepare;
use crate::prepare::{ConfigError, Configured, Description, InstantiateError};

/// Linear memory never shrinks. An instance that has grown beyond this part of its limit, and to
/// this multiple of what it had when it was new, is replaced between two calls, so that one odd
/// batch is not paid for ever. One that is large from the start is left alone.
const HIGH_WATER: (usize, usize) = (3, 4);
const GROWN: usize = 2;

/// What a call did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Processed {
    /// Spans that are gone.
    pub dropped: u32,
    /// Spans that were changed.
    pub edited: u32,
}

/// A plugin on one core. `Send`, and used by one thread at a time.
pub struct Instance {
    plugin: Arc<prepare::Inner>,
    live: Option<Live>,
    restarts: u64,
    timeout: Duration,
    is_watched: bool,
}

/// A store and what was instantiated in it.
pub(crate) struct Live {
    store: Store<Host>,
    bindings: Bindings,
    shared: Arc<Shared>,
    /// Linear memory when it was configured.
    new_bytes: usize,
}

impl Live {
    fn is_bloated(&self, limit: usize) -> bool {
        let (part, whole) = HIGH_WATER;
        let bytes = self.store.data().memory_bytes();
        bytes / part > limit / whole && bytes / GROWN > self.new_bytes
    }
}

impl Instance {
    /// A live instance that has not been configured.
    pub(crate) fn bare(
        shared: &Arc<Shared>,
        pre: &BindingsPre<Host>,
        limits: &Limits,
        grants: &Arc<Grants>,
    ) -> Result<Live, CallError> {
        let mut store = call::store(shared, Host::new(limits.clone(), Arc::clone(grants)));
        call::arm(&mut store, &shared.clock);
        match pre.instantiate(&mut store) {
            Ok(bindings) => Ok(Live { store, bindings, shared: Arc::clone(shared), new_bytes: 0 }),
            Err(error) => Err(call::failure(store.data(), &error)),
        }
    }

    pub(crate) fn serving(plugin: &Arc<prepare::Inner>) -> Result<Self, InstantiateError> {
        let live = Live::serving(plugin)?;
        let timeout = plugin.limits.timeout;
        Ok(Self { plugin: Arc::clone(plugin), live: Some(live), restarts: 0, timeout, is_watched: false })
    }

    /// Calls the plugin with a batch. Its edits are in the batch afterwards, its log lines and
    /// metrics are added to `effects`.
    ///
    /// # Errors
    /// When the call fails in whatever way: `batch` and `effects` are as before, and the next call
    /// finds a fresh instance.
    pub fn process(&mut self, batch: &mut Batch, effects: &mut Effects) -> Result<Processed, CallError> {
        let mut live = self.take_live()?;
        live.store.data_mut().set_timeout(self.timeout, self.is_watched);
        live.store.data_mut().batch = std::mem::take(batch);
        live.store.data_mut().go_on(effects);
        let result = live.run(|live| live.bindings.call_process(&mut live.store, batch_handle()));
        let host = live.store.data_mut();
        *batch = std::mem::take(&mut host.batch);
        let edits = if host.edits.is_empty() { None } else { Some(std::mem::replace(&mut host.edits, Edits::new())) };
        self.settle(live, result, effects)?;
        let committed = edits.map(|edits| batch.commit(edits)).unwrap_or_default();
        Ok(Processed { dropped: committed.dropped_spans, edited: committed.edited_spans })
    }

    /// Tells the plugin that its flush interval has passed.
    ///
    /// # Errors
    /// As [`Instance::process`].
    pub fn flush(&mut self, now_unix_nano: u64, effects: &mut Effects) -> Result<(), CallError> {
        let mut live = self.take_live()?;
        live.store.data_mut().go_on(effects);
        let result = live.run(|live| live.bindings.call_flush(&mut live.store, now_unix_nano));
        self.settle(live, result, effects)
    }

    /// What the instances of another version should know; nothing if it has nothing to hand over, or if the
    /// last call has cost the instance.
    ///
    /// # Errors
    /// As [`Instance::process`], and when it is larger than what a call may hand over
    /// ([`Limits::output_bytes`]): the instance is kept, then.
    pub fn snapshot(&mut self) -> Result<Vec<u8>, CallError> {
        let Some(mut live) = self.live.take() else { return Ok(Vec::new()) };
        let mut unsaid = Effects::default();
        live.store.data_mut().go_on(&mut unsaid);
        let result = live.run(|live| live.bindings.call_snapshot(&mut live.store));
        let mut snapshot = Vec::new();
        let result = result.map(|inner| inner.map(|bytes| snapshot = bytes));
        self.settle(live, result, &mut unsaid)?;
        if snapshot.len() > self.plugin.limits.output_bytes {
            let message = format!("its snapshot has {} bytes, more than limits.output_mib", snapshot.len());
            return Err(CallError { kind: FailureKind::Output, message, backtrace: None });
        }
        Ok(snapshot)
    }

    /// Hands over the snapshots of the version before.
    ///
    /// # Errors
    /// As [`Instance::process`]. The instance may have taken a part of them.
    pub fn restore(&mut self, snapshots: &[Vec<u8>]) -> Result<(), CallError> {
        let (mut live, mut unsaid) = (self.take_live()?, Effects::default());
        live.store.data_mut().go_on(&mut unsaid);
        let result = live.run(|live| live.bindings.call_restore(&mut live.store, snapshots));
        // What it was given is not what one odd batch has left behind.
        live.new_bytes = live.store.data().memory_bytes();
        self.settle(live, result, &mut unsaid)
    }

    /// Gives the next calls of `process` less CPU time than the plugin's limit, or as much again.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout.min(self.plugin.limits.timeout);
    }

    /// Has the next calls of `process` interrupted within a millisecond of the end of their time less 2 ms, or a fifth of it, so
    /// that who waits for them waits for that time at most; or within three of the whole of it, as usual. What others
    /// keep from the CPU is [`FailureKind::Overdue`] by the clock on the wall a millisecond later. It costs each call a
    /// system call, some 0.2 µs.
    pub fn watch(&mut self, closely: bool) {
        self.is_watched = closely;
    }

    /// Linear memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.store.data().memory_bytes())
    }

    /// How often the instance was replaced.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Replaces the instance now if the last call has cost it, rather than in the next call.
    ///
    /// # Errors
    /// When the plugin cannot be set up anew.
    pub fn revive(&mut self) -> Result<(), CallError> {
        self.live = Some(self.take_live()?);
        Ok(())
    }

    fn take_live(&mut self) -> Result<Live, CallError> {
        if let Some(live) = self.live.take() {
            return Ok(live);
        }
        self.restarts += 1;
        Ok(Live::serving(&self.plugin)?)
    }

    /// Keeps the instance if the call went well, and takes over what it said.
    fn settle(&mut self, mut live: Live, result: Outcome<()>, effects: &mut Effects) -> Result<(), CallError> {
        let host = live.store.data_mut();
        // Only `process` has less time than the limit, or is watched.
        host.set_timeout(self.plugin.limits.timeout, false);
        host.forget_tables();
        let store_full = host.effects.store.is_full();
        host.effects.store.settle(matches!(result, Ok(Ok(()))));
        effects.store = std::mem::take(&mut host.effects.store);
        match result {
            Err(error) => Err(error),
            Ok(Err(failure)) => {
                let kind = match host.refusals() {
                    _ if store_full => FailureKind::Store,
                    _ if host.limited().any(|kind| kind == FailureKind::Metrics) => FailureKind::Metrics,
                    0 => FailureKind::Trap,
                    _ => FailureKind::HostRefused,
                };
                host.effects.discard();
                self.live = Some(live);
                Err(CallError::gave_up(kind, failure.message))
            }
            Ok(Ok(())) => {
                effects.take_over(&mut host.effects);
                effects.limited.extend(host.limited());
                if !live.is_bloated(self.plugin.limits.memory_bytes) {
                    self.live = Some(live);
                }
                Ok(())
            }
        }
    }
}

/// A call that returned, with what the guest returned, or one that failed.
type Outcome<T> = Result<Result<T, crate::abi::Failure>, CallError>;

impl Live {
    fn serving(plugin: &Arc<prepare::Inner>) -> Result<Self, InstantiateError> {
        let mut live = Instance::bare(&plugin.shared, &plugin.pre, &plugin.limits, &plugin.grants)?;
        let configured = live.configure(&plugin.config_json)?.map_err(|_| InstantiateError::Fickle)?;
        if !configured.files.iter().eq(plugin.files.iter().map(|file| &file.named)) {
            return Err(InstantiateError::Fickle);
        }
        let host = live.store.data_mut();
        host.serve(&plugin.provided, &plugin.log_budget);
        live.new_bytes = host.memory_bytes();
        Ok(live)
    }

    fn run<T>(&mut self, call: impl FnOnce(&mut Self) -> wasmtime::Result<T>) -> Result<T, CallError> {
        call::arm(&mut self.store, &self.shared.clock);
        let result = call(self).map_err(|error| call::failure(self.store.data(), &error))?;
        match call::broken(self.store.data()) {
            Some(broken) => Err(broken),
            None => Ok(result),
        }
    }

    /// The log lines since the last call of this.
    pub(crate) fn take_logs(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.store.data_mut().effects.logs)
    }

    pub(crate) fn describe(&mut self) -> Result<Description, CallError> {
        let said = self.run(|live| live.bindings.call_describe(&mut live.store))?;
        Ok(Description {
            name: said.name,
            version: said.version,
            capabilities: said.capabilities,
            access: Access { read: said.access.read, write: said.access.write },
            redactor: Description::is_redactor(said.traits),
            schema: said.schema,
        })
    }

    pub(crate) fn configure(&mut self, config_json: &str) -> Result<Result<Configured, Vec<ConfigError>>, CallError> {
        let taken = self.run(|live| live.bindings.call_configure(&mut live.store, config_json))?;
        Ok(taken
            .map(|said| {
                let files = said.files.into_iter();
                let files = files.map(|file| NamedFile {
                    name: file.name,
                    path: file.path,
                    format: file.format,
                    key: file.key,
                });
                Configured {
                    access: Access { read: said.access.read, write: said.access.write },
                    files: files.collect(),
                }
            })
            .map_err(|problems| {
                let problems = problems.into_iter();
                ConfigError::taken(problems.map(|problem| ConfigError { path: problem.path, message: problem.message }))
            }))
    }
}

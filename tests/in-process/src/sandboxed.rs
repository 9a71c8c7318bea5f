//! Plugins in the sandbox: in the collector's own chain, and called alone.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use sluice::account::Account;
use sluice::chain::{self, Aside, Care, Guard, PluginMetrics, Slot, SlotPlan};
use sluice::config::processor;
use sluice::extension::Readiness;
use sluice::generation::sandbox_settings;
use sluice::route::{PipelinePlan, Routes};
use sluice::series;
use sluice::telemetry::metrics::Metrics;
use sluice_sandbox::{Compiler, Effects, Limits, Options, Prepared, Sandbox, Source};
use sluice_state::{LiveTable, Table};

use crate::measure::Interrupted;
use crate::rows::{Job, Subject};

/// The pipeline that all chains belong to.
const PIPELINE: &str = "traces";

/// Makes chains of plugins.
pub struct Plugins {
    sandbox: Sandbox,
    bundle: PathBuf,
    metrics: PluginMetrics,
    account: Account,
    care: Care,
}

/// What a processor is made of.
pub struct Processor {
    source: Source,
    settings: processor::Settings,
    tables: Vec<(String, Table)>,
}

impl Plugins {
    /// `bundle` is the folder of the bundled plugins.
    pub fn new(bundle: PathBuf) -> Result<Self> {
        let metrics = Metrics::default();
        Ok(Self {
            sandbox: Sandbox::new(Options { cache_dir: None, compiler: Compiler::InProcess })?,
            bundle,
            metrics: PluginMetrics::new(metrics.registry(), metrics.series())?,
            account: Account::new(metrics.registry())?,
            care: Care { aside: Aside::start()?, readiness: Readiness::default(), quarantine: None },
        })
    }

    /// A bundled plugin, with the code that is embedded in the binary.
    pub fn bundled(&self, name: &'static str, config_json: &str, tables: Vec<(String, Table)>) -> Result<Processor> {
        let read = |extension| -> Result<&'static [u8]> {
            let path = self.bundle.join(name).with_extension(extension);
            Ok(std::fs::read(&path).with_context(|| path.display().to_string())?.leak())
        };
        let source = Source::Embedded { name, component: read("wasm")?, precompiled: read("cwasm")? };
        let mut settings = processor::Settings::of(name, config_json.to_owned());
        if name == "spanmetrics" {
            // What a connector counts is committed as well. Its series have a limit of their own.
            settings.limits = Limits { metric_series: u32::MAX, ..settings.limits };
            settings.series = Some(series::Settings {
                limit: series::DEFAULT_LIMIT,
                expires: None,
                exemplars: series::DEFAULT_EXEMPLARS,
                bounds: Vec::new(),
                max_size: series::DEFAULT_MAX_SIZE,
            });
        }
        Ok(Processor { source, settings, tables })
    }

    /// The benchmark's own plugin, compiled here as any plugin of a user is.
    pub fn own(component: &Path, config_json: &str) -> Processor {
        let settings = processor::Settings::of("wasm", config_json.to_owned());
        Processor { source: Source::File(component.to_owned()), settings, tables: Vec::new() }
    }

    /// The way of a request from when it is valid until its queue gets it: the chain of these processors, with all that
    /// is around a call, the bytes written, what was done counted.
    pub fn chain(&self, processors: Vec<Processor>) -> Result<Subject> {
        let count = processors.len();
        let slots = processors.into_iter().map(|processor| Ok(Some(self.slot(processor)?))).collect::<Result<_>>()?;
        let routes = Routes { plan: None, slots };
        let pipeline = PipelinePlan {
            id: PIPELINE.to_owned(),
            account: self.account.pipeline(PIPELINE),
            processors: (0..count).collect(),
            connectors: Vec::new(),
            destinations: Vec::new(),
        };
        Ok(Box::new(move |batch| {
            let spans = batch.spans();
            let passing = pin!(chain::run(&routes, &pipeline, batch, 0));
            // What fails is looked into on another thread; a request that all is well with never waits.
            let Poll::Ready(passed) = passing.poll(&mut Context::from_waker(Waker::noop())) else {
                return Err(Interrupted.into());
            };
            let passed = passed?;
            ensure!(passed.left.len() == 1, "one request has become {}", passed.left.len());
            let left = passed.left.first().map(|(wire, _)| wire.clone()).unwrap_or_default();
            passed.count(&routes, &pipeline, spans);
            Ok(left)
        }))
    }

    /// Nothing but a plugin's call, with its edits and its metrics committed.
    pub fn alone(&self, processor: Processor) -> Result<Job> {
        let series = self.metrics.series(&processor.settings.kind, &processor.settings);
        let (_, prepared) = self.prepared(processor)?;
        let mut instance = prepared.instantiate()?;
        Ok(Box::new(move |mut batch| {
            let mut effects = Effects::default();
            instance.process(&mut batch, &mut effects)?;
            if let Some(series) = &series {
                series.commit(effects.metrics, Instant::now());
            }
            Ok(batch)
        }))
    }

    fn slot(&self, processor: Processor) -> Result<Slot> {
        let (settings, prepared) = self.prepared(processor)?;
        let id = settings.kind.clone();
        let (series, most) = (self.metrics.series(&id, &settings), settings.limits.metric_series);
        let stats = Arc::new(self.metrics.plugin(&id, &prepared.description().version, series, most));
        let guard = Guard::new(&id, &settings, &prepared, &stats, &self.care);
        let plan = SlotPlan { id, guard, stats, recent: Arc::default(), beside: None };
        Ok(Slot::new(plan, prepared.instantiate()?))
    }

    fn prepared(&self, processor: Processor) -> Result<(processor::Settings, Prepared)> {
        let Processor { source, settings, tables } = processor;
        let tables = tables.into_iter().map(|(name, table)| (name, Arc::new(LiveTable::new(table)))).collect();
        let module = self.sandbox.load(&source, &settings.limits, None)?;
        let given = sandbox_settings(&settings.kind, &settings, tables, None);
        Ok((settings, self.sandbox.prepare(&module, given)?))
    }
}

/// A job, and the bytes written.
pub fn encoded(mut job: Job) -> Subject {
    Box::new(move |batch| Ok(job(batch)?.encode()))
}

/// A job alone.
pub fn unwritten(mut job: Job) -> Subject {
    Box::new(move |batch| {
        black_box(job(batch)?);
        Ok(Bytes::new())
    })
}

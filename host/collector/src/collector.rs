//! The only wiring: what is built in which order, who owns what, in which order it ends.

mod alone;
mod control;
mod flush;
mod hand_over;
mod jobs;
mod lanes;
mod last_good;
mod leaving;
mod life;
mod listening;
mod pins;
mod preparing;
mod probations;
mod problems;
mod readiness;
mod reload;
mod rollout;
mod start;
mod succession;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use crate::account::Account;
use crate::config::{self, Component, Config, Id};
use crate::cores::{Cores, Courier, Reroute};
use crate::exporter::{self, Exporter, ExporterContext, Outputs};
use crate::extension::{Readiness, admin::Desk};
use crate::generation::{Fresh, Processors, Served, Waits, Workshop};
use crate::queue::Disks;
use crate::receiver::{self, Sockets, admission::Admission};
use crate::route::{Destination, Instances, PipelinePlan, Plan, ReceiverPlan};
use crate::swap::Trigger;
use crate::swap::event::{Step, Swap};
use crate::swap::probation::Probation;
use crate::swap::watch::Watch;
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::server::Servers;

use alone::Refused;
use flush::Flushes;
use last_good::LastGood;
use leaving::Leaving;
use reload::Module;

pub(crate) use life::workshop_for_a_look;
pub use life::{run, validate};
pub(crate) use problems::{diagnostics, load};

/// The running collector: the present generation and what serves it.
pub struct Collector {
    metrics: Metrics,
    readiness: Readiness,
    desk: Desk,
    sending: exporter::Metrics,
    receiving: receiver::Context,
    account: Account,
    workshop: Workshop,
    cores: Cores,
    config: Config,
    served: HashMap<String, Served>,
    probations: Vec<Probation>,
    flushes: Flushes,
    /// Versions whose canary waits for that of another plugin to be over.
    waiting: Vec<Waits>,
    refused: Refused,
    /// Is told of files before they are read.
    files: Watch,
    exporters: HashMap<Id, Serving>,
    disks: Disks,
    outputs: Outputs,
    receivers: Vec<Receiving>,
    servers: Servers,
    sockets: Sockets,
    leaving: Leaving,
    /// How many generations were put in place.
    generation: u64,
    /// Where a generation that serves is kept, if that is wanted.
    last_good: Option<LastGood>,
    /// Counts the exporters started, so that they spread over the cores.
    started: usize,
}

/// An exporter and the settings it was started with.
#[derive(Clone)]
struct Serving {
    settings: exporter::Settings,
    exporter: Arc<Exporter>,
}

/// A receiver; its place in the list is its number in the routes, so none is ever taken out.
struct Receiving {
    id: Id,
    running: Option<receiver::Running>,
    /// What it feeds, or last fed.
    pipelines: Vec<Id>,
}

/// Why a generation was not put in place. The present one serves on.
#[derive(Debug, thiserror::Error)]
pub enum NotApplied {
    /// An exporter cannot start.
    #[error(transparent)]
    Exporter(#[from] exporter::StartError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] receiver::BindError),
    /// The process is ending.
    #[error(transparent)]
    Stopped(#[from] crate::cores::Stopped),
}

impl Collector {
    /// A collector that serves nothing yet.
    ///
    /// # Errors
    /// When the metrics are registered already.
    pub fn new(
        metrics: &Metrics,
        readiness: &Readiness,
        desk: Desk,
        account: Account,
        workshop: Workshop,
        cores: Cores,
        sockets: Sockets,
    ) -> Result<Self, prometheus::Error> {
        let admission = Admission::default();
        Ok(Self {
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            desk,
            sending: exporter::Metrics::new(metrics.registry())?,
            receiving: receiver::Context { admission, metrics: receiver::Metrics::new(metrics.registry())? },
            account,
            workshop,
            cores,
            config: Config::default(),
            served: HashMap::new(),
            probations: Vec::new(),
            flushes: Flushes::default(),
            waiting: Vec::new(),
            refused: Refused::default(),
            files: Watch::default(),
            exporters: HashMap::new(),
            disks: Disks::default(),
            outputs: Outputs::default(),
            receivers: Vec::new(),
            servers: Servers::default(),
            sockets,
            leaving: Leaving::default(),
            generation: 0,
            last_good: None,
            started: 0,
        })
    }

    /// A courier to the cores.
    pub fn courier(&self) -> Courier {
        self.cores.courier()
    }

    /// The configuration that serves.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Puts a generation in place: binds what is to listen anew, starts the exporters that are new,
    /// gives every core its routes, then serves with the new settings and lets go of what is no
    /// longer in it. All or nothing. Gives what was swapped.
    ///
    /// # Errors
    /// When an exporter, a listener or a core refuses; the present generation serves on.
    pub async fn apply(
        &mut self,
        config: Config,
        processors: Processors,
        trigger: Option<Trigger>,
    ) -> Result<Vec<Swap>, NotApplied> {
        let sites = listening::sites(&config, &self.metrics, &self.readiness, &self.desk);
        let listeners = self.listen(&config, &sites)?;
        let exporters = self.exporters_for(&config)?;
        self.number_receivers(&config);
        let plan = Arc::new(self.plan(&config, &processors, &exporters));
        let Processors { served, mut fresh, .. } = processors;
        for fresh in &mut fresh {
            fresh.is_on_probation = self.is_on_probation(fresh, &served, trigger);
        }
        let started = Instant::now();
        self.cores.install(self.reroutes(&plan, &served, &mut fresh, trigger)).await?;
        // Nothing can fail any more.
        leaving::retire_plugins(&self.workshop.metrics, &self.served, &served);
        self.generation += 1;
        logs::configure(&config.service.telemetry.logs);
        self.receiving.admission.resize(config.admission_bytes());
        let (mut swaps, mut modules) = (Vec::new(), Vec::new());
        for mut fresh in fresh {
            if fresh.is_candidate {
                swaps.extend(self.tell_candidate(fresh, &served, trigger));
                continue;
            }
            fresh.steps.took(Step::Swap, started);
            if let Some(((bytes, file), now)) = fresh.module.take().zip(served.get(&fresh.id)) {
                let (plugin, digest) = (fresh.id.clone(), now.prepared.digest().to_owned());
                modules.push(Module { plugin, digest, bytes, file, has_proved: !fresh.is_on_probation });
            }
            let watched = served.get(&fresh.id).filter(|_| fresh.is_on_probation);
            self.probations.extend(watched.map(|now| Probation::begin(&fresh.id, now, self.served.get(&fresh.id))));
            swaps.extend(self.tell_swapped(fresh, &served, trigger));
        }
        self.tell_superseded(&served, trigger);
        self.desk.only(|id| served.contains_key(id));
        self.served = served;
        self.leaving.reap();
        let deadline = Instant::now() + config.drain_timeout();
        self.servers.serve(sites, listeners.sites);
        self.serve_receivers(&config, listeners.receivers, deadline);
        let before = std::mem::replace(&mut self.exporters, exporters);
        self.let_go(before, deadline);
        self.config = config;
        self.keep(modules).await;
        self.keep_last_good().await;
        Ok(swaps)
    }

    /// The exporters of a configuration: those that serve with the same settings, and new ones.
    fn exporters_for(&mut self, config: &Config) -> Result<HashMap<Id, Serving>, exporter::StartError> {
        let mut exporters = HashMap::new();
        for Component { id, settings, .. } in config.used_exporters() {
            let serving = if let Some(serving) = self.exporters.get(id).filter(|serving| serving.settings == *settings)
            {
                serving.clone()
            } else {
                let context = ExporterContext {
                    runtime: self.cores.runtime(self.started),
                    metrics: self.sending.clone(),
                    disks: self.disks.clone(),
                    outputs: self.outputs.clone(),
                    account: self.account.clone(),
                };
                self.started += 1;
                Serving { settings: settings.clone(), exporter: exporter::start(id, settings, &context)? }
            };
            exporters.insert(id.clone(), serving);
        }
        Ok(exporters)
    }

    fn plan(&self, config: &Config, processors: &Processors, exporters: &HashMap<Id, Serving>) -> Plan {
        let slots: Vec<_> = processors.served.iter().map(|(id, served)| served.slot(id)).collect();
        let slot = |id: &Id| slots.iter().position(|slot| slot.id == id.to_string());
        let pipelines = &config.service.pipelines;
        let those = |which: &dyn Fn(&config::Pipeline) -> bool| -> Vec<usize> {
            pipelines.iter().enumerate().filter(|(_, pipeline)| which(pipeline)).map(|(index, _)| index).collect()
        };
        let receiver = |receiving: &Receiving| {
            let mut fed = those(&|pipeline| pipeline.receivers.contains(&receiving.id));
            if fed.is_empty() {
                // It leaves; what is still arriving goes where it would have gone.
                fed = those(&|pipeline| receiving.pipelines.contains(&pipeline.id));
            }
            ReceiverPlan { account: self.account.receiver(&receiving.id.to_string()), pipelines: fed }
        };
        let pipeline = |pipeline: &config::Pipeline| {
            let id = pipeline.id.to_string();
            let destination = |exporter: &Id| {
                let serving = exporters.get(exporter)?;
                let account = self.account.destination(&id, &exporter.to_string());
                Some(Destination { queue: serving.exporter.queue().clone(), account })
            };
            let connector = |of: &Id| Some((slot(of)?, self.account.destination(&id, &of.to_string())));
            PipelinePlan {
                connectors: pipeline.connectors.iter().filter_map(connector).collect(),
                account: self.account.pipeline(&id),
                processors: pipeline.processors.iter().filter_map(slot).collect(),
                destinations: pipeline.exporters.iter().filter_map(destination).collect(),
                id: id.clone(),
            }
        };
        Plan {
            receivers: self.receivers.iter().map(receiver).collect(),
            pipelines: pipelines.iter().map(pipeline).collect(),
            processors: slots,
        }
    }

    /// What makes the next routes of each core.
    fn reroutes(
        &self,
        plan: &Arc<Plan>,
        served: &HashMap<String, Served>,
        fresh: &mut [Fresh],
        trigger: Option<Trigger>,
    ) -> Vec<Reroute> {
        // A version that has to go does not stand by.
        let may_stand_by = !trigger.is_some_and(Trigger::goes_back);
        // A rollback goes back to the module, not to the configuration; so does who stands by.
        let is_same = |id: &&String| {
            let both = self.served.get(*id).zip(served.get(*id));
            both.is_some_and(|(before, now)| before.settings.is_same_but_for_module(&now.settings))
        };
        let watched = fresh.iter().filter(|fresh| may_stand_by && fresh.is_on_probation).map(|fresh| &fresh.id);
        let standbys: HashSet<_> = watched.filter(is_same).cloned().collect();
        let reroute = |_| {
            let mut instances = Instances { standbys: standbys.clone(), ..Instances::default() };
            for fresh in fresh.iter_mut() {
                if let Some(instance) = fresh.instances.pop() {
                    let those = if fresh.is_candidate { &mut instances.candidates } else { &mut instances.serving };
                    those.insert(fresh.id.clone(), instance);
                }
            }
            let plan = Arc::clone(plan);
            let reroute: Reroute = Box::new(move |routes| routes.next(&plan, instances));
            reroute
        };
        (0..self.cores.count()).map(reroute).collect()
    }

    /// Closes the exporters that the new generation does not have. They drain in the background:
    /// nothing reaches them any more, but what they hold was accepted.
    fn let_go(&mut self, before: HashMap<Id, Serving>, deadline: Instant) {
        for (id, Serving { exporter, .. }) in before {
            if !self.exporters.get(&id).is_some_and(|now| Arc::ptr_eq(&now.exporter, &exporter)) {
                self.forget_queue(&id);
                self.leaving.exporter(id, exporter, deadline);
            }
        }
    }
}

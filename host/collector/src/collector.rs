//! The only wiring: what is built in which order, who owns what, in which order it ends.

mod life;
mod reload;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use sluice_sandbox::Instance;

use crate::account::Account;
use crate::config::{self, Component, Config, Id};
use crate::cores::{Cores, Reroute};
use crate::exporter::{self, Exporter, ExporterContext};
use crate::generation::{Fresh, Processors, Served, Workshop};
use crate::receiver::{self, admission::Admission};
use crate::route::{Destination, PipelinePlan, Plan, ReceiverPlan};
use crate::swap::Trigger;
use crate::swap::event::Step;
use crate::telemetry::metrics::Metrics;

pub use life::{run, validate};

/// Bytes of requests that all receivers together may be reading or working on.
const ADMISSION_BYTES: usize = 256 << 20;

/// The running collector: the present generation and what serves it.
pub struct Collector {
    sending: exporter::Metrics,
    receiving: receiver::Context,
    account: Account,
    workshop: Workshop,
    cores: Cores,
    config: Config,
    served: HashMap<String, Served>,
    exporters: HashMap<Id, Serving>,
    receivers: Vec<Receiving>,
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
    settings: receiver::Settings,
    running: Option<receiver::Running>,
}

/// Why a generation was not put in place. The present one serves on.
#[derive(Debug, thiserror::Error)]
pub enum NotApplied {
    /// An exporter cannot start.
    #[error(transparent)]
    Exporter(#[from] exporter::StartError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] receiver::listener::BindError),
    /// A receiver would need another listener at the same place.
    #[error("receiver `{0}`: its settings cannot change while it runs; give it another name, or restart")]
    ReceiverChanged(Id),
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
        account: Account,
        workshop: Workshop,
        cores: Cores,
    ) -> Result<Self, prometheus::Error> {
        let admission = Admission::new(ADMISSION_BYTES);
        Ok(Self {
            sending: exporter::Metrics::new(metrics.registry())?,
            receiving: receiver::Context { admission, metrics: receiver::Metrics::new(metrics.registry())? },
            account,
            workshop,
            cores,
            config: Config::default(),
            served: HashMap::new(),
            exporters: HashMap::new(),
            receivers: Vec::new(),
            started: 0,
        })
    }

    /// The configuration that serves.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Puts a generation in place: starts the exporters and binds the receivers that are new,
    /// gives every core its routes, then lets go of what is no longer in it. All or nothing.
    ///
    /// # Errors
    /// When an exporter, a listener or a core refuses; the present generation serves on.
    pub async fn apply(
        &mut self,
        config: Config,
        processors: Processors,
        trigger: Option<Trigger>,
    ) -> Result<(), NotApplied> {
        let exporters = self.exporters_for(&config)?;
        let bound = self.bind_receivers(&config)?;
        let plan = Arc::new(self.plan(&config, &processors, &exporters));
        let Processors { served, mut fresh } = processors;
        let started = Instant::now();
        self.cores.install(reroutes(&plan, &mut fresh, self.cores.count())).await?;
        for fresh in &mut fresh {
            fresh.steps.took(Step::Swap, started);
            self.tell_swapped(fresh, &served, trigger);
        }
        for (number, bound) in bound {
            if let Some(receiving) = self.receivers.get_mut(number) {
                receiving.running = Some(bound.serve(self.cores.dealer(number)));
            }
        }
        self.served = served;
        let drain_timeout = config.drain_timeout();
        let before = std::mem::replace(&mut self.exporters, exporters);
        self.let_go(before, &config, Instant::now() + drain_timeout);
        self.config = config;
        Ok(())
    }

    /// The exporters of a configuration: those that serve with the same settings, and new ones.
    fn exporters_for(&mut self, config: &Config) -> Result<HashMap<Id, Serving>, exporter::StartError> {
        let mut exporters = HashMap::new();
        for Component { id, settings, .. } in config.used_exporters() {
            let serving = if let Some(serving) = self.exporters.get(id).filter(|serving| serving.settings == *settings)
            {
                serving.clone()
            } else {
                let context =
                    ExporterContext { runtime: self.cores.runtime(self.started), metrics: self.sending.clone() };
                self.started += 1;
                Serving { settings: settings.clone(), exporter: exporter::start(id, settings, context)? }
            };
            exporters.insert(id.clone(), serving);
        }
        Ok(exporters)
    }

    /// Binds the receivers that a configuration adds; gives them their numbers.
    fn bind_receivers(&mut self, config: &Config) -> Result<Vec<(usize, receiver::Bound)>, NotApplied> {
        let mut bound = Vec::new();
        for component in config.used_receivers() {
            match self.receivers.iter().find(|receiving| receiving.id == component.id && receiving.running.is_some()) {
                Some(receiving) if receiving.settings == component.settings => {}
                Some(_) => return Err(NotApplied::ReceiverChanged(component.id.clone())),
                None => bound.push((component, receiver::bind(component, &self.receiving)?)),
            }
        }
        // Nothing can fail any more: only now do they take their places.
        let place = |(component, bound): (&Component<receiver::Settings>, receiver::Bound)| {
            self.receivers.push(Receiving {
                id: component.id.clone(),
                settings: component.settings.clone(),
                running: None,
            });
            (self.receivers.len() - 1, bound)
        };
        Ok(bound.into_iter().map(place).collect())
    }

    fn plan(&self, config: &Config, processors: &Processors, exporters: &HashMap<Id, Serving>) -> Plan {
        let slots: Vec<_> = processors.served.iter().map(|(id, served)| served.slot(id)).collect();
        let slot = |id: &Id| slots.iter().position(|slot| slot.id == id.to_string());
        let pipelines = &config.service.pipelines;
        let receiver = |receiving: &Receiving| ReceiverPlan {
            account: self.account.receiver(&receiving.id.to_string()),
            pipelines: (0..pipelines.len())
                .filter(|&index| {
                    pipelines.get(index).is_some_and(|pipeline| pipeline.receivers.contains(&receiving.id))
                })
                .collect(),
        };
        let pipeline = |pipeline: &config::Pipeline| {
            let id = pipeline.id.to_string();
            let destination = |exporter: &Id| {
                let serving = exporters.get(exporter)?;
                let account = self.account.destination(&id, &exporter.to_string());
                Some(Destination { queue: Arc::clone(serving.exporter.queue()), account })
            };
            PipelinePlan {
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

    /// Closes what the new generation does not have. Exporters drain in the background: nothing
    /// reaches them any more, but what they hold was accepted.
    fn let_go(&mut self, exporters: HashMap<Id, Serving>, config: &Config, deadline: Instant) {
        for (id, serving) in exporters {
            let stays = self.exporters.get(&id).is_some_and(|now| Arc::ptr_eq(&now.exporter, &serving.exporter));
            if !stays {
                tokio::spawn(async move {
                    let undelivered = serving.exporter.drain(deadline).await.spans;
                    tracing::info!(event = "exporter.closed", component = %id, undelivered);
                });
            }
        }
        for receiving in &mut self.receivers {
            if !config.used_receivers().any(|component| component.id == receiving.id)
                && let Some(running) = receiving.running.take()
            {
                tokio::spawn(async move { running.close(deadline).await });
            }
        }
    }

    /// Drains: receivers stop accepting and finish what is on its way, then exporters deliver what
    /// is queued. Returns how many spans were not delivered at the deadline.
    pub async fn drain(self, deadline: Instant) -> u64 {
        for receiving in self.receivers {
            if let Some(running) = receiving.running {
                running.close(deadline).await;
            }
        }
        let mut draining = tokio::task::JoinSet::new();
        for (_, serving) in self.exporters {
            draining.spawn(async move { serving.exporter.drain(deadline).await.spans });
        }
        let mut lost = 0;
        while let Some(drained) = draining.join_next().await {
            lost += drained.unwrap_or(u64::MAX);
        }
        self.cores.stop().await;
        lost
    }
}

fn reroutes(plan: &Arc<Plan>, fresh: &mut [Fresh], cores: usize) -> Vec<Reroute> {
    let reroute = |_| {
        let take = |fresh: &mut Fresh| Some((fresh.id.clone(), fresh.instances.pop()?));
        let instances: HashMap<String, Instance> = fresh.iter_mut().filter_map(take).collect();
        let plan = Arc::clone(plan);
        let reroute: Reroute = Box::new(move |routes| routes.next(&plan, instances));
        reroute
    };
    (0..cores).map(reroute).collect()
}

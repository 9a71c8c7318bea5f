//! What listens: sockets for the next generation, and receivers behind them.

use std::time::Instant;

use super::{Collector, Receiving};
use crate::account::Account;
use crate::config::{Component, Config, Feed, Id};
use crate::extension::{self, Readiness, admin::Desk};
use crate::receiver::{self, BindError, Endpoint, Listener, Sockets, Want};
use crate::telemetry;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::server::{Servers, Site};

/// The listeners of a generation.
pub(super) struct Listeners {
    /// One for each site. A default address may be taken.
    pub(super) sites: Vec<Result<Listener, BindError>>,
    /// One for each port of the receivers that are used, in their order.
    pub(super) receivers: Vec<Listener>,
}

/// What is to listen: the sites first, then each port of the receivers that are used. `present` knows
/// what listens for a receiver by these words now.
fn wants<'c>(
    config: &'c Config,
    sites: Vec<Want<'c>>,
    present: impl Fn(&Id, &str, &Endpoint) -> Option<Listener>,
) -> Vec<Want<'c>> {
    let mut wants = sites;
    for component in config.used_receivers() {
        wants.extend(component.settings.ports().into_iter().map(|(protocol, endpoint)| Want {
            who: format!("receiver {}", component.id),
            protocol,
            endpoint,
            present: present(&component.id, protocol, endpoint),
        }));
    }
    wants
}

fn listen(sockets: &mut Sockets, wants: &[Want<'_>], sites: &[Site]) -> Result<Listeners, BindError> {
    let mut listeners = sockets.listen(wants).into_iter();
    let tolerable = |(site, listener): (&Site, Result<Listener, BindError>)| match listener {
        Err(error) if site.configured => Err(error),
        other => Ok(other),
    };
    Ok(Listeners {
        sites: sites.iter().zip(listeners.by_ref()).map(tolerable).collect::<Result<_, _>>()?,
        receivers: listeners.collect::<Result<_, _>>()?,
    })
}

/// Binds all that a configuration is to listen on, before anything else is made of it: whether a process
/// could serve it.
pub(super) fn try_all(config: &Config, sockets: &mut Sockets) -> anyhow::Result<Vec<Listener>> {
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let (desk, _) = Desk::new(Account::new(metrics.registry())?);
    let sites = sites(config, &metrics, &readiness, &desk);
    let servers = Servers::default();
    let listeners = listen(sockets, &wants(config, servers.wants(&sites), |_, _, _| None), &sites)?;
    Ok(listeners.sites.into_iter().flatten().chain(listeners.receivers).collect())
}

/// What a configuration serves beside the pipelines.
pub(super) fn sites(config: &Config, metrics: &Metrics, readiness: &Readiness, desk: &Desk) -> Vec<Site> {
    let figures = telemetry::metrics::sites(&config.service.telemetry.metrics, metrics);
    let series = config.scrapes.iter().map(|Component { id, settings, .. }| {
        let of = |feed: &Feed| metrics.series().of(&feed.id, &feed.config_json, &feed.series);
        settings.settings.site(&id.to_string(), settings.connectors.iter().map(of).collect())
    });
    figures.chain(extension::sites(config, readiness, desk)).chain(series).collect()
}

impl Collector {
    /// Binds what is to listen anew; what stays keeps its sockets.
    pub(super) fn listen(&mut self, config: &Config, sites: &[Site]) -> Result<Listeners, BindError> {
        let present = |id: &Id, protocol: &str, endpoint: &Endpoint| {
            let receiving = self.receivers.iter().find(|receiving| receiving.id == *id)?;
            receiving.running.as_ref()?.listener(protocol, endpoint)
        };
        listen(&mut self.sockets, &wants(config, self.servers.wants(sites), present), sites)
    }

    /// Gives new receivers their numbers. One that comes back has its old one.
    pub(super) fn number_receivers(&mut self, config: &Config) {
        for component in config.used_receivers() {
            if !self.receivers.iter().any(|receiving| receiving.id == component.id) {
                self.receivers.push(Receiving { id: component.id.clone(), running: None, pipelines: Vec::new() });
            }
        }
    }

    /// Serves the receivers of a configuration, and no others from now on. Those that are not in
    /// it finish what is in flight.
    pub(super) fn serve_receivers(&mut self, config: &Config, listeners: Vec<Listener>, deadline: Instant) {
        let mut listeners = listeners.into_iter();
        let mut closing = Vec::new();
        for component in config.used_receivers() {
            let own = listeners.by_ref().take(component.settings.ports().len()).collect();
            let mut numbered = self.receivers.iter_mut().enumerate();
            let Some((number, receiving)) = numbered.find(|(_, receiving)| receiving.id == component.id) else {
                continue;
            };
            let dealer = self.cores.dealer(number);
            let present = receiving.running.take();
            let (running, closed) = receiver::serve(component, own, present, &self.receiving, &dealer);
            let feeds = config.service.pipelines.iter().filter(|pipeline| pipeline.receivers.contains(&component.id));
            receiving.pipelines = feeds.map(|pipeline| pipeline.id.clone()).collect();
            receiving.running = Some(running);
            closing.extend(closed);
        }
        for receiving in &mut self.receivers {
            if !config.used_receivers().any(|component| component.id == receiving.id) {
                let running = receiving.running.take();
                closing.extend(running.into_iter().flat_map(|running| running.close(&receiving.id.to_string())));
            }
        }
        self.leaving.receiver(closing, deadline);
    }
}

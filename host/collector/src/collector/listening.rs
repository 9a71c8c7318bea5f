//! What listens: sockets for the next generation, and receivers behind them.

use std::time::Instant;

use super::{Collector, Receiving};
use crate::config::Config;
use crate::receiver::{self, BindError, Listener, Want};
use crate::telemetry::server::Site;

/// The listeners of a generation.
pub(super) struct Listeners {
    /// One for each site. A default address may be taken.
    pub(super) sites: Vec<Result<Listener, BindError>>,
    /// One for each port of the receivers that are used, in their order.
    pub(super) receivers: Vec<Listener>,
}

impl Collector {
    /// Binds what is to listen anew; what stays keeps its sockets.
    pub(super) fn listen(&mut self, config: &Config, sites: &[Site]) -> Result<Listeners, BindError> {
        let mut wants = self.servers.wants(sites);
        for component in config.used_receivers() {
            let receiving = self.receivers.iter().find(|receiving| receiving.id == component.id);
            let running = receiving.and_then(|receiving| receiving.running.as_ref());
            wants.extend(component.settings.ports().into_iter().map(|(protocol, endpoint)| Want {
                who: format!("receiver {}", component.id),
                protocol,
                endpoint,
                present: running.and_then(|running| running.listener(protocol, endpoint)),
            }));
        }
        let mut listeners = self.sockets.listen(&wants).into_iter();
        let tolerable = |(site, listener): (&Site, Result<Listener, BindError>)| match listener {
            Err(error) if site.configured => Err(error),
            other => Ok(other),
        };
        Ok(Listeners {
            sites: sites.iter().zip(listeners.by_ref()).map(tolerable).collect::<Result<_, _>>()?,
            receivers: listeners.collect::<Result<_, _>>()?,
        })
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

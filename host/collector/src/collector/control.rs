//! The control loop: nobody else changes a generation.
//!
//! What enters are signals, changes of files, orders of the admin API, who wants to follow, and the time. Whatever
//! takes long is done aside (`lanes.rs`), so that a plugin that takes a compiler half a minute keeps nobody from
//! being heard: a signal, an order to roll back, a version that goes beyond its bounds, a store that is to be kept.

use std::time::{Duration, Instant};

use sluice_sandbox::Sandbox;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

use super::Collector;
use super::jobs::Job;
use super::lanes::Lanes;
use crate::account::{self, Keeper};
use crate::extension::admin::{Asked, Orders};
use crate::handover::{Door, Successor, Visit};
use crate::swap::Trigger;

/// How often kept stores are written: with the time that writing takes, what is lost by a kill is
/// less than a second of writes.
const SAVE_EVERY: Duration = Duration::from_millis(500);

/// How often it is looked at how new versions do: a bad one is to be gone within two seconds.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The signals that the process heeds. One that comes while nobody waits for it is not lost.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { interrupt: interrupt?, terminate: terminate?, hangup: hangup? })
    }

    /// Waits until the process is told to stop.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// What comes of some work; `None` if the process is told to stop before.
    pub(super) async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stop() => None,
            done = work => Some(done),
        }
    }
}

/// What the loop listens to, and what it sees to.
pub(super) struct Control {
    pub(super) signals: Signals,
    pub(super) triggers: mpsc::Receiver<Trigger>,
    pub(super) orders: Orders,
    pub(super) door: Option<Door>,
    pub(super) lanes: Lanes,
    pub(super) keeper: Option<Keeper>,
    pub(super) balance: account::Watch,
}

impl Control {
    /// Goes on until the process is told to stop, or another one takes over.
    pub(super) async fn run(&mut self, collector: &mut Collector) -> Option<Successor> {
        let (mut save, mut look) = (every(SAVE_EVERY), every(LOOK_EVERY));
        let reload = |trigger| Job::of_itself(trigger, Asked::Reload);
        loop {
            tokio::select! {
                _ = self.signals.interrupt.recv() => return None,
                _ = self.signals.terminate.recv() => return None,
                visit = visit(&mut self.door) => match visit {
                    Visit::Takes(successor) => return Some(successor),
                    Visit::Knocks(stream) => collector.offer(stream, &mut self.door).await,
                },
                prepared = self.lanes.prepared() => {
                    self.lanes.conclude(collector, prepared).await;
                    collector.compare(&mut self.door);
                }
                _ = self.signals.hangup.recv(), if self.lanes.is_free() => {
                    self.lanes.begin(collector, reload(Trigger::Sighup));
                }
                Some(trigger) = self.triggers.recv(), if self.lanes.is_free() => {
                    self.lanes.begin(collector, reload(trigger));
                }
                Some(order) = self.orders.slow.recv(), if self.lanes.is_free() => {
                    self.lanes.begin(collector, Job::ordered(order));
                }
                Some(order) = self.orders.quick.recv(), if self.lanes.is_quick_free() => {
                    self.lanes.begin(collector, Job::ordered(order));
                }
                _ = look.tick(), if collector.is_watching() => {
                    if self.lanes.is_quick_free() {
                        for job in collector.watch().await {
                            self.lanes.begin(collector, job);
                        }
                    }
                    if self.lanes.is_free() && collector.take_turn() {
                        self.lanes.begin(collector, reload(Trigger::Turn));
                    }
                }
                _ = save.tick() => self.see_to_all(collector).await,
            }
        }
    }

    /// What has to be done again and again.
    async fn see_to_all(&mut self, collector: &mut Collector) {
        save_stores(&collector.workshop.sandbox).await;
        self.keeper = keep_account(self.keeper.take(), collector.config().is_durable()).await;
        collector.watch_queues();
        collector.flush().await;
        self.balance.look(Instant::now(), collector.config().imbalance_after());
    }
}

/// Ticks that often. After a pause there is one tick, and not all that were missed.
fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Writes the stores that are kept, beside the control thread, which goes on accepting.
pub(super) async fn save_stores(sandbox: &Sandbox) {
    let sandbox = sandbox.clone();
    if let Err(error) = tokio::task::spawn_blocking(move || sandbox.save_stores()).await {
        tracing::error!(event = "internal", %error, "writing the stores has failed");
    }
}

/// Writes the account, beside the control thread as well.
pub(super) async fn keep_account(keeper: Option<Keeper>, durable: bool) -> Option<Keeper> {
    let mut keeper = keeper?;
    let turn = tokio::task::spawn_blocking(move || {
        keeper.turn(durable);
        keeper
    });
    turn.await.map_err(|error| tracing::error!(event = "internal", %error, "keeping the account has failed")).ok()
}

/// What happens at the door next; nothing if there is none.
async fn visit(door: &mut Option<Door>) -> Visit {
    match door {
        Some(door) => door.visit().await,
        None => std::future::pending().await,
    }
}

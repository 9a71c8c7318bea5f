//! Requests of one connection that wait for their chains.
//!
//! Calls of plugins cost some microseconds whatever they are given, which for a small request is as much
//! as its spans cost. So the requests of one connection that have arrived by the time their turn comes go
//! through the chains as one batch, and into the queues as the requests they were. Nobody waits for others
//! to come, and requests of two connections never share a call.
//!
//! What becomes of a request never depends on another one: if anything goes wrong with them together,
//! nothing has happened, and each goes alone.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_spans::{Batch, count_spans};
use tokio::sync::oneshot;

use super::{Accepted, Door, Of, Queued, Refused, answer_by, bound, land, pipelines, take};
use crate::chain::{self, Passed};
use crate::cores::Core;
use crate::queue::Rooms;
use crate::route::Routes;

/// A request that would wait less than this on its own core stays there. Moving costs CPU: the other
/// core has none of it in its caches, nor has this one what comes back.
const WORTH_WAITING_NS: u64 = 250_000;

/// A core that has as much to do as this, or more, gets nothing from others, however much those have: by the time that it
/// is done they have looked again. That is asked once, before the first of several groups moves.
const WORTH_MOVING_NS: u64 = 250_000;

/// What goes together costs at most this much, so that other connections need not wait long, and a plugin
/// has no less time for a span than it would have otherwise.
const MOST_NS: u64 = 500_000;

/// How many spans go together at most: what a plugin gets in one call.
const MOST_SPANS: u32 = chain::SLICE_SPANS as u32;

/// How many bytes go together at most: what is indexed while it is validated.
const MOST_BYTES: usize = 256 * 1024;

/// After requests could not go together they go alone for so long: trying costs a chain.
const ALONE: Duration = Duration::from_millis(100);

/// The requests of one connection that wait.
#[derive(Default)]
pub(super) struct Line {
    waiting: RefCell<VecDeque<Waiting>>,
    /// Whether a task is on its way to see to them.
    is_seen_to: Cell<bool>,
}

struct Waiting {
    wire: Bytes,
    deadline: Option<Instant>,
    tell: oneshot::Sender<Result<Accepted, Refused>>,
}

impl Line {
    /// Waits for the turn of a request and passes it on. `None` if the process ends.
    pub async fn pass(
        self: &Rc<Self>,
        core: &Rc<Core>,
        receiver: usize,
        wire: Bytes,
        deadline: Option<Instant>,
    ) -> Option<Result<Accepted, Refused>> {
        let (tell, told) = oneshot::channel();
        core.wait(1);
        self.waiting.borrow_mut().push_back(Waiting { wire, deadline, tell });
        if !self.is_seen_to.replace(true) {
            self.see_to(core, receiver);
        }
        told.await.ok()
    }

    /// Has the first of those that wait passed on, and then the others: all that have arrived come to wait
    /// here before the task begins.
    fn see_to(self: &Rc<Self>, core: &Rc<Core>, receiver: usize) {
        let (line, core) = (Rc::clone(self), Rc::clone(core));
        tokio::task::spawn_local(async move {
            let first = line.first(&core, receiver);
            if line.waiting.borrow().is_empty() {
                line.is_seen_to.set(false);
            } else {
                line.see_to(&core, receiver);
            }
            pass_on(&core, receiver, first).await;
        });
    }

    /// Those whose turn it is on this core. If they are too many, other cores have some first: group after group,
    /// so that those have something to do until it is this line's turn again.
    fn first(&self, core: &Core, receiver: usize) -> Vec<Waiting> {
        let cost = core.chain_ns.get().max(1);
        let requests = |ns: u64| usize::try_from(ns.div_ceil(cost)).unwrap_or(usize::MAX);
        let (fewer, few) = (requests(WORTH_WAITING_NS), requests(WORTH_MOVING_NS));
        let is_in_need = core.less_busy_peer(fewer).is_some_and(|(peer, _)| peer.waiting() < few);
        while is_in_need
            && let Some((peer, found)) = core.less_busy_peer(fewer)
            && let Some(room) = peer.room()
        {
            // What makes both wait the same.
            let moved = self.next(core, found / 2);
            if moved.is_empty() {
                break;
            }
            let count = moved.len();
            room.hand_over(
                count,
                Box::new(move |core| {
                    let core = Rc::clone(core);
                    tokio::task::spawn_local(async move {
                        core.end_wait(count);
                        pass_on(&core, receiver, moved).await;
                    });
                }),
            );
        }
        self.next(core, usize::MAX)
    }

    /// Takes at most `most` requests that may go together, and one in any case.
    fn next(&self, core: &Core, most: usize) -> Vec<Waiting> {
        let cost = core.chain_ns.get().max(1);
        let most = if core.alone_until.get().is_some_and(|until| Instant::now() < until) {
            1
        } else {
            most.min(usize::try_from(MOST_NS / cost).unwrap_or(usize::MAX)).max(1)
        };
        let (mut group, mut bytes, mut spans) = (Vec::new(), 0, 0u32);
        let mut waiting = self.waiting.borrow_mut();
        let is_alone = most == 1 || waiting.len() == 1;
        while let Some(next) = waiting.front().filter(|_| group.len() < most) {
            if !is_alone {
                bytes += next.wire.len();
                // What has no number of spans is malformed, and goes alone.
                spans = spans.saturating_add(count_spans(&next.wire).unwrap_or(u32::MAX));
            }
            if !group.is_empty() && (bytes > MOST_BYTES || spans > MOST_SPANS) {
                break;
            }
            let next = waiting.pop_front();
            core.end_wait(1);
            // Nobody waits for the answer of a sender that has gone.
            group.extend(next.filter(|next| !next.tell.is_closed()));
        }
        group
    }
}

/// Passes requests through the chains and answers them.
async fn pass_on(core: &Rc<Core>, receiver: usize, group: Vec<Waiting>) {
    if let [_, _, ..] = group.as_slice() {
        if let Some(together) = Together::pass(core, receiver, &group) {
            return together.answer(core, group).await;
        }
        core.alone_until.set(Some(Instant::now() + ALONE));
    }
    let mut group = group.into_iter();
    let first = group.next();
    for waiting in group {
        let core = Rc::clone(core);
        tokio::task::spawn_local(async move { waiting.alone(&core, receiver).await });
    }
    if let Some(first) = first {
        first.alone(core, receiver).await;
    }
}

impl Waiting {
    /// A sender that goes away takes its request along, unless the queues have it: its charge is given back,
    /// and what would wait on for room would be bounded by nothing.
    async fn alone(self, core: &Core, receiver: usize) {
        let Self { wire, deadline, mut tell } = self;
        let answer = tokio::select! {
            biased;
            () = tell.closed() => return,
            answer = take(core, receiver, wire, deadline) => answer,
        };
        // The sender may have gone; the request is taken all the same.
        let _ = tell.send(answer);
    }
}

/// Requests that have passed the chains together and are in all queues.
struct Together {
    routes: Rc<Routes>,
    door: Door,
    all: Vec<(usize, Passed)>,
    queued: Queued,
    /// How many spans each of them held.
    spans: Vec<u32>,
}

impl Together {
    /// Nothing, and nothing done, if it does not go smoothly.
    fn pass(core: &Core, index: usize, group: &[Waiting]) -> Option<Self> {
        let routes = core.routes();
        // One without pipelines is being closed, which each is told alone.
        let receiver = routes.plan.as_ref()?.receivers.get(index).filter(|receiver| !receiver.pipelines.is_empty())?;
        let wires: Vec<Bytes> = group.iter().map(|waiting| waiting.wire.clone()).collect();
        let (mut spans, mut all, mut cost) = (Vec::new(), Vec::new(), Duration::ZERO);
        for (index, pipeline) in pipelines(&routes, receiver) {
            // Each sender has a result of its own.
            if pipeline.destinations.iter().any(|destination| destination.queue.waiting().is_some()) {
                return None;
            }
            let mut batch = Batch::of_requests(&wires).ok()?;
            spans = batch.encode_requests().into_iter().map(|(_, spans)| spans).collect();
            let started = Instant::now();
            all.push((index, chain::together(&routes, pipeline, batch)?));
            cost += started.elapsed();
        }
        let bound: Vec<_> = bound(&routes, &all).collect();
        let queued = Rooms::try_each(&bound)?.commit();
        core.has_cost(cost / group.len() as u32);
        let sum = spans.iter().sum();
        receiver.account.received(sum);
        let door = Door { of: Of::Receiver(Rc::clone(&routes), index), spans: sum, accepted: false };
        Some(Self { routes, door, all, queued, spans })
    }

    async fn answer(self, core: &Core, group: Vec<Waiting>) {
        let Self { routes, door, all, queued, spans } = self;
        let by = answer_by(Instant::now(), group.iter().filter_map(|waiting| waiting.deadline).min());
        let landed = land(core, &routes, all, queued, door, by).warning().await;
        for (Waiting { tell, .. }, spans) in group.into_iter().zip(spans) {
            let answer = landed.clone().map(|warning| Accepted { spans, warning });
            // The sender may have gone.
            let _ = tell.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores::tests::beside_stuck;

    /// How many are taken of 40 that wait, and how many another core has then.
    fn taken_of_forty(chain: Duration) -> (usize, usize) {
        taken_beside(0, chain)
    }

    /// The same if so many wait there already.
    fn taken_beside(there: usize, chain: Duration) -> (usize, usize) {
        let (core, peer, _inbox) = beside_stuck(there);
        core.has_cost(chain * 8);
        let line = Line::default();
        let (tells, _told): (Vec<_>, Vec<_>) = (0..40).map(|_| oneshot::channel()).unzip();
        for tell in tells {
            core.wait(1);
            line.waiting.borrow_mut().push_back(Waiting { wire: Bytes::new(), deadline: None, tell });
        }
        (line.first(&core, 0).len(), peer())
    }

    #[test]
    fn requests_move_in_groups_until_both_cores_wait_about_the_same() {
        // Five are half a millisecond, what goes together. Four fives make it 20 on each core.
        assert_eq!(taken_of_forty(Duration::from_micros(100)), (5, 20));
        // Twelve, of 20 that make it the same, and the other eight.
        assert_eq!(taken_of_forty(Duration::from_micros(40)), (12, 20));
        // All of them wait for less than is worth moving one.
        assert_eq!(taken_of_forty(Duration::from_micros(4)), (40, 0));
    }

    #[test]
    fn a_core_that_has_enough_to_do_gets_nothing() {
        // Seven are 280 microseconds, 33 less than here.
        assert_eq!(taken_beside(7, Duration::from_micros(40)), (12, 7));
        // Six are 240: of the 34 fewer, twelve go first, then five of ten, then no more.
        assert_eq!(taken_beside(6, Duration::from_micros(40)), (12, 23));
    }
}

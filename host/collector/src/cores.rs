//! One single-threaded runtime a core.
//!
//! A connection is dealt to the least loaded core and lives there with everything that its
//! requests need, the plugin instances included, so that a healthy request takes no lock and
//! meets no other thread before the queue. What crosses between cores: a new connection, new
//! routes, and a whole request when its own core has more waiting than another (see
//! `Core::less_busy_peer`).

mod landings;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::{mpsc, oneshot};

use crate::intake::Intake;
use crate::route::Routes;

use landings::Landings;

/// Jobs that may wait in front of one core. Jobs are rare (a connection, a swap, a handed-over
/// request), so a full inbox means that the core is stuck; whoever sends then waits.
const INBOX_JOBS: usize = 256;

/// A task that lives on one core; it need not be `Send`.
pub type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// Makes the next routes of a core out of its present ones.
pub type Reroute = Box<dyn FnOnce(&Routes) -> Routes + Send>;

/// What a core is given to do, between what it is doing.
pub(crate) type Work = Box<dyn FnOnce(&Rc<Core>) + Send>;

pub(crate) enum Job {
    Run(Work),
    Stop,
}

/// What other threads know of a core.
pub(crate) struct CoreHandle {
    inbox: mpsc::Sender<Job>,
    runtime: Handle,
    connections: AtomicUsize,
    /// Requests that are complete and have not entered the chain yet.
    waiting: AtomicUsize,
}

type Peers = Arc<OnceLock<Vec<CoreHandle>>>;

/// A core, seen from the tasks that live on it.
pub struct Core {
    index: usize,
    peers: Peers,
    routes: RefCell<Rc<Routes>>,
    /// What a request's chain has cost lately, in nanoseconds.
    pub(crate) chain_ns: Cell<u64>,
    /// Until then requests do not go through the chains together.
    pub(crate) alone_until: Cell<Option<Instant>>,
    /// Requests that have left the chain and are not answered yet.
    pub(crate) landings: Landings,
}

/// All cores of the process.
pub struct Cores {
    peers: Peers,
    threads: Vec<JoinHandle<()>>,
}

/// A core has stopped, which it does only when the process ends.
#[derive(Debug, thiserror::Error)]
#[error("the core has stopped")]
pub struct Stopped;

impl Cores {
    /// Starts `count` threads, each with a runtime of its own.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let peers: Peers = Arc::default();
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        for index in 0..count {
            let (inbox, jobs) = mpsc::channel(INBOX_JOBS);
            // The runtime is not `Send`: it is built on its thread and its handle sent back.
            let (tell, told) = std::sync::mpsc::sync_channel(1);
            let peers = Arc::clone(&peers);
            let body = move || match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => {
                    let _ = tell.send(Ok(runtime.handle().clone()));
                    runtime.block_on(serve(Core::new(index, peers), jobs));
                    // Dropping it would wait for what blocks: a name that nobody resolves, a pipe that nobody reads.
                    runtime.shutdown_background();
                }
                Err(error) => drop(tell.send(Err(error))),
            };
            threads.push(std::thread::Builder::new().name(format!("core-{index}")).spawn(body)?);
            let runtime = told.recv().map_err(std::io::Error::other)??;
            handles.push(CoreHandle { inbox, runtime, connections: AtomicUsize::new(0), waiting: AtomicUsize::new(0) });
        }
        // Nothing else sets it.
        let _ = peers.set(handles);
        Ok(Self { peers, threads })
    }

    /// How many cores there are.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// Where exporters spawn their tasks: the cores in turn, beginning with the last, because
    /// connections begin with the first.
    pub fn runtime(&self, turn: usize) -> Option<Handle> {
        let cores = self.peers.get()?;
        let last = cores.len().checked_sub(1)?;
        cores.get(last - turn % cores.len()).map(|core| core.runtime.clone())
    }

    /// A dealer of the connections of the receiver with this number in the routes.
    pub fn dealer(&self, receiver: usize) -> Dealer {
        Dealer { peers: Arc::clone(&self.peers), receiver }
    }

    /// A courier to the cores.
    pub fn courier(&self) -> Courier {
        Courier { peers: Arc::clone(&self.peers) }
    }

    /// Puts new routes on every core, on each between two requests; returns when all have them.
    /// A request that has started goes on with the routes that it started on.
    ///
    /// # Errors
    /// When a core has stopped.
    pub async fn install(&self, reroutes: Vec<Reroute>) -> Result<(), Stopped> {
        let mut all_told = Vec::with_capacity(reroutes.len());
        for (core, reroute) in self.peers.get().into_iter().flatten().zip(reroutes) {
            let (tell, told) = oneshot::channel();
            let job = Job::Run(Box::new(move |core| {
                let next = reroute(&core.routes());
                core.routes.replace(Rc::new(next));
                // Nobody listens any more only when the process ends.
                let _ = tell.send(());
            }));
            core.inbox.send(job).await.map_err(|_| Stopped)?;
            all_told.push(told);
        }
        for told in all_told {
            told.await.map_err(|_| Stopped)?;
        }
        Ok(())
    }

    /// Asks every core something, each between two requests; gives the answers of all.
    ///
    /// # Errors
    /// When a core has stopped.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(&Routes) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, Stopped> {
        let mut all_told = Vec::new();
        for core in self.peers.get().into_iter().flatten() {
            let (tell, told) = oneshot::channel();
            let question = question.clone();
            // Nobody listens any more only when the process ends.
            let job = Job::Run(Box::new(move |core| drop(tell.send(question(&core.routes())))));
            core.inbox.send(job).await.map_err(|_| Stopped)?;
            all_told.push(told);
        }
        let mut answers = Vec::with_capacity(all_told.len());
        for told in all_told {
            answers.push(told.await.map_err(|_| Stopped)?);
        }
        Ok(answers)
    }

    /// Ends the cores with whatever still runs on them, and waits for their threads.
    pub async fn stop(self) {
        for core in self.peers.get().into_iter().flatten() {
            // A core that has stopped already needs no telling.
            let _ = core.inbox.send(Job::Stop).await;
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!(event = "core.panicked", "a core's thread has panicked");
            }
        }
    }
}

async fn serve(core: Rc<Core>, mut jobs: mpsc::Receiver<Job>) {
    let same = Rc::clone(&core);
    // It ends with the runtime.
    tokio::task::spawn_local(async move { same.landings.run().await });
    while let Some(Job::Run(job)) = jobs.recv().await {
        job(&core);
    }
}

impl Core {
    fn new(index: usize, peers: Peers) -> Rc<Self> {
        Rc::new(Self {
            index,
            peers,
            routes: RefCell::default(),
            chain_ns: Cell::new(0),
            alone_until: Cell::new(None),
            landings: Landings::default(),
        })
    }

    /// The routes as they are now.
    pub fn routes(&self) -> Rc<Routes> {
        Rc::clone(&self.routes.borrow())
    }

    fn handle(&self) -> Option<&CoreHandle> {
        self.peers.get()?.get(self.index)
    }

    /// Notes what the chain of a request has cost.
    pub(crate) fn has_cost(&self, cost: Duration) {
        let cost = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
        self.chain_ns.set(self.chain_ns.get().saturating_mul(7).saturating_add(cost) / 8);
    }

    /// Notes that so many complete requests begin to wait for their chains.
    pub(crate) fn wait(&self, requests: usize) {
        if let Some(core) = self.handle() {
            core.waiting.fetch_add(requests, Ordering::Relaxed);
        }
    }

    /// Notes that so many requests wait no more.
    pub(crate) fn end_wait(&self, requests: usize) {
        if let Some(core) = self.handle() {
            core.waiting.fetch_sub(requests, Ordering::Relaxed);
        }
    }

    /// The core with the fewest requests waiting and how many fewer those are, if they are at least
    /// `fewer`, and never less than two: half of that many that move there then wait less, and the two never
    /// pass them to and fro.
    pub(crate) fn less_busy_peer(&self, fewer: usize) -> Option<(&CoreHandle, usize)> {
        let mine = self.handle()?.waiting.load(Ordering::Relaxed);
        let peers = self.peers.get()?.iter().enumerate().filter(|(index, _)| *index != self.index);
        let peers = peers.map(|(_, core)| (core, core.waiting()));
        let (peer, waiting) = peers.min_by_key(|(_, waiting)| *waiting)?;
        let found = mine.saturating_sub(waiting);
        (found >= fewer.max(2)).then_some((peer, found))
    }
}

/// A place in a core's inbox.
pub(crate) struct Room<'c> {
    core: &'c CoreHandle,
    place: mpsc::Permit<'c, Job>,
}

impl CoreHandle {
    /// How many requests wait on it.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A place for a job, unless the inbox is full.
    pub(crate) fn room(&self) -> Option<Room<'_>> {
        Some(Room { core: self, place: self.inbox.try_reserve().ok()? })
    }
}

impl Room<'_> {
    /// Hands requests over. They count as waiting there until `job` says otherwise through
    /// [`Core::end_wait`].
    pub(crate) fn hand_over(self, requests: usize, job: Work) {
        self.core.waiting.fetch_add(requests, Ordering::Relaxed);
        self.place.send(Job::Run(job));
    }
}

/// Deals the connections of one receiver to cores. Cheap to clone.
#[derive(Clone)]
pub struct Dealer {
    peers: Peers,
    receiver: usize,
}

impl Dealer {
    /// Sends `start` to the core with the fewest connections, which calls it with an [`Intake`] of
    /// its own and spawns the task that it returns. The core counts one connection more until the
    /// task ends. Waits while that core's inbox is full.
    pub async fn deal(&self, start: impl FnOnce(Intake) -> LocalTask + Send + 'static) {
        let cores = self.peers.get().into_iter().flatten();
        let Some(core) = cores.min_by_key(|core| core.connections.load(Ordering::Relaxed)) else { return };
        core.connections.fetch_add(1, Ordering::Relaxed);
        let receiver = self.receiver;
        let job = Job::Run(Box::new(move |core: &Rc<Core>| {
            let leaves = Leaves(Rc::clone(core));
            let task = start(Intake::new(Rc::clone(core), receiver));
            tokio::task::spawn_local(async move {
                let _leaves = leaves;
                task.await;
            });
        }));
        // A core that has stopped drops the connection: the process is ending.
        let _ = core.inbox.send(job).await;
    }
}

/// Brings work to cores that belongs to no connection. Cheap to clone.
#[derive(Clone)]
pub struct Courier {
    peers: Peers,
}

impl Courier {
    /// Starts a task on the core with the fewest connections. Waits while that core's inbox is full.
    ///
    /// # Errors
    /// When the cores have stopped.
    pub(crate) async fn send(&self, start: impl FnOnce(Rc<Core>) -> LocalTask + Send + 'static) -> Result<(), Stopped> {
        let cores = self.peers.get().into_iter().flatten();
        let core = cores.min_by_key(|core| core.connections.load(Ordering::Relaxed)).ok_or(Stopped)?;
        let job = Job::Run(Box::new(move |core: &Rc<Core>| {
            tokio::task::spawn_local(start(Rc::clone(core)));
        }));
        core.inbox.send(job).await.map_err(|_| Stopped)
    }
}

/// Counts a connection off its core when its task ends, however it ends.
struct Leaves(Rc<Core>);

impl Drop for Leaves {
    fn drop(&mut self) {
        if let Some(core) = self.0.handle() {
            core.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A core, how many requests wait on its only peer, which does nothing with those or the ones that are there
    /// already, and that one's inbox.
    pub(crate) fn beside_stuck(there: usize) -> (Rc<Core>, impl Fn() -> usize, mpsc::Receiver<Job>) {
        let runtime = Builder::new_current_thread().build().unwrap();
        let (inbox, jobs) = mpsc::channel(INBOX_JOBS);
        let (mine, _) = mpsc::channel(1);
        let handle = |inbox, waiting| CoreHandle {
            inbox,
            runtime: runtime.handle().clone(),
            connections: AtomicUsize::new(0),
            waiting: AtomicUsize::new(waiting),
        };
        let peers: Peers = Arc::new(OnceLock::from(vec![handle(mine, 0), handle(inbox, there)]));
        let core = Core::new(0, Arc::clone(&peers));
        let waiting = move || peers.get().unwrap().last().unwrap().waiting.load(Ordering::Relaxed);
        (core, waiting, jobs)
    }

    #[test]
    fn a_request_moves_only_to_a_core_with_so_many_fewer_waiting_and_never_to_and_fro() {
        let cores = Cores::start(2).unwrap();
        let core = Core::new(0, Arc::clone(&cores.peers));
        let fewer = |wanted| core.less_busy_peer(wanted).map(|(_, fewer)| fewer);
        core.wait(1);
        assert_eq!(fewer(0), None, "it would wait as long there");
        core.wait(2);
        assert_eq!(fewer(0), Some(3));
        assert_eq!(fewer(3), Some(3));
        assert_eq!(fewer(4), None, "only three fewer are waiting there");
        Core::new(1, Arc::clone(&cores.peers)).wait(1);
        assert_eq!(fewer(3), None, "only two fewer are waiting there");
        core.end_wait(3);
        assert_eq!(fewer(0), None, "more are waiting there");
        Builder::new_current_thread().build().unwrap().block_on(cores.stop());
    }
}

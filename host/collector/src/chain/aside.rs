//! The side thread: what must not run on a core's runtime, because it may take long: calls of a
//! plugin that has just failed, the search for the spans that it fails on, probes, writing records
//! of the quarantine.
//!
//! One thread a process. Work that has got [`Room`] is done in order; who finds no room for a
//! second is told so and does without. Dropping the last handle ends the thread after what it is
//! doing.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Pieces of work that may wait or be done. Each holds a slice of a request, some 250 KiB.
const WAITING: usize = 32;

/// How long a request waits for room. A piece of work takes up to some ten time limits of a plugin.
const PATIENCE: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce() + Send>;

/// The side thread. Cheap to clone.
#[derive(Clone)]
pub struct Aside {
    handle: Arc<Handle>,
}

/// Room for one piece of work.
pub struct Room {
    shared: Arc<Shared>,
    permit: OwnedSemaphorePermit,
}

/// The side thread has too much to do, or it has ended.
#[derive(Debug, thiserror::Error)]
#[error("the side thread is busy")]
pub struct Busy;

struct Handle {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// What is to be done at a time; at most one an open breaker.
    timers: Vec<(Instant, Job)>,
    ended: bool,
}

impl Aside {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread.
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("aside".to_owned()).spawn(move || theirs.work())?;
        Ok(Self { handle: Arc::new(Handle { shared, room: Arc::new(Semaphore::new(WAITING)) }) })
    }

    /// Waits for room.
    ///
    /// # Errors
    /// When there is none for a second.
    pub async fn room(&self) -> Result<Room, Busy> {
        let room = tokio::time::timeout(PATIENCE, Arc::clone(&self.handle.room).acquire_owned()).await;
        let permit = room.map_err(|_| Busy)?.map_err(|_| Busy)?;
        Ok(Room { shared: Arc::clone(&self.handle.shared), permit })
    }

    /// Does this if there is room; tells whether there is.
    pub fn post(&self, work: impl FnOnce() + Send + 'static) -> bool {
        let Ok(permit) = Arc::clone(&self.handle.room).try_acquire_owned() else { return false };
        let job = move || {
            work();
            drop(permit);
        };
        self.handle.shared.state().jobs.push_back(Box::new(job));
        self.handle.shared.wake.notify_one();
        true
    }

    /// Does this at a time, or a little later.
    pub fn at(&self, time: Instant, work: impl FnOnce() + Send + 'static) {
        self.handle.shared.state().timers.push((time, Box::new(work)));
        self.handle.shared.wake.notify_one();
    }
}

impl Room {
    /// Does this on the side thread.
    ///
    /// # Errors
    /// When the thread ends before.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let Self { shared, permit } = self;
        let (tell, told) = oneshot::channel();
        let job = move || {
            // Nobody waits any more: the sender has gone.
            let _ = tell.send(work());
            drop(permit);
        };
        shared.state().jobs.push_back(Box::new(job));
        shared.wake.notify_one();
        told.await.map_err(|_| Busy)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            // A fault of ours in one piece of work must not leave all others waiting for ever.
            if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!(event = "internal", "work on the side thread has panicked");
            }
        }
    }

    /// The next piece of work; `None` at the end.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.ended {
                return None;
            }
            let now = Instant::now();
            if let Some(due) = state.timers.iter().position(|(time, _)| *time <= now) {
                return Some(state.timers.swap_remove(due).1);
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            let next = state.timers.iter().map(|(time, _)| time.saturating_duration_since(now)).min();
            state = match next {
                Some(pause) => {
                    self.wake.wait_timeout(state, pause).map_or_else(|gone| gone.into_inner().0, |woken| woken.0)
                }
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn work_is_done_in_order_and_answered() {
        let aside = Aside::start().unwrap();
        for n in 0..3 {
            assert_eq!(aside.room().await.unwrap().run(move || n * 2).await.unwrap(), n * 2);
        }
    }

    #[tokio::test]
    async fn what_is_posted_is_done_without_waiting() {
        let aside = Aside::start().unwrap();
        let (tell, told) = oneshot::channel();
        assert!(aside.post(move || tell.send(7).unwrap()));
        assert_eq!(told.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_has_a_time_is_done_then_while_work_goes_on() {
        let aside = Aside::start().unwrap();
        let (tell, told) = oneshot::channel();
        let (asked, pause) = (Instant::now(), Duration::from_millis(30));
        aside.at(asked + pause, move || tell.send(Instant::now()).unwrap());
        aside.room().await.unwrap().run(|| ()).await.unwrap();
        assert!(told.await.unwrap() >= asked + pause);
    }

    #[tokio::test]
    async fn who_finds_no_room_is_told() {
        let aside = Aside::start().unwrap();
        let mut taken = Vec::new();
        for _ in 0..WAITING {
            taken.push(aside.room().await.unwrap());
        }
        assert!(aside.room().await.is_err());
        assert!(!aside.post(|| ()));
        taken.pop();
        assert!(aside.room().await.is_ok());
    }
}

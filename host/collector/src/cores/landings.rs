//! Requests of one core that are on their way to a disk, or wait for upstream.
//!
//! Each enters as a future and is seen to its end, whether its sender waits or not. One task polls all of
//! them: a disk says of many requests at once that it has them, from a thread of its own. Had each a
//! task, that thread would wake the core for each, and the core would write each answer by itself; so it is
//! woken once, and answers on one connection go out in one write.
//!
//! How many there are is bounded by what queues let in.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll, Waker};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};

use super::LocalTask;

/// The requests that are being seen to their end.
#[derive(Default)]
pub(crate) struct Landings {
    /// Those that came since the task last looked.
    arrived: RefCell<Vec<LocalTask>>,
    task: Cell<Option<Waker>>,
}

impl Landings {
    /// Sees to this one. It is dropped unfinished only when the core stops.
    pub fn see_to(&self, landing: LocalTask) {
        self.arrived.borrow_mut().push(landing);
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// The task. It never ends.
    pub async fn run(&self) {
        let mut landings = FuturesUnordered::new();
        poll_fn(|context: &mut Context<'_>| -> Poll<()> {
            loop {
                let arrived = self.arrived.take().into_iter();
                // One that panics takes no other with it.
                landings.extend(arrived.map(|landing| AssertUnwindSafe(landing).catch_unwind()));
                while let Poll::Ready(Some(ended)) = landings.poll_next_unpin(context) {
                    if ended.is_err() {
                        tracing::error!(event = "request.panicked", "a request was dropped that a queue may have");
                    }
                }
                if self.arrived.borrow().is_empty() {
                    break;
                }
            }
            self.task.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use tokio::sync::oneshot;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn many_that_are_told_at_once_wake_it_once_and_all_end() {
        let (landings, woken, ended) = (Landings::default(), Arc::new(Woken::default()), Rc::new(Cell::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut run = std::pin::pin!(landings.run());
        assert!(run.as_mut().poll(&mut context).is_pending());
        let (tells, tolds): (Vec<_>, Vec<_>) = (0..50).map(|_| oneshot::channel::<()>()).unzip();
        for told in tolds {
            let ended = Rc::clone(&ended);
            landings.see_to(Box::pin(async move {
                told.await.unwrap();
                ended.set(ended.get() + 1);
            }));
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "when they come");
        // Having looked at all of them it looks once more.
        while woken.0.swap(0, Ordering::Relaxed) > 0 {
            assert!(run.as_mut().poll(&mut context).is_pending());
        }
        for tell in tells {
            tell.send(()).unwrap();
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "when they are told");
        assert!(run.as_mut().poll(&mut context).is_pending());
        assert_eq!(ended.get(), 50);
    }

    #[test]
    fn one_that_panics_takes_no_other_with_it() {
        let (landings, ended) = (Landings::default(), Rc::new(Cell::new(false)));
        let mut context = Context::from_waker(Waker::noop());
        let mut run = std::pin::pin!(landings.run());
        landings.see_to(Box::pin(async { panic!("on purpose") }));
        let told = Rc::clone(&ended);
        landings.see_to(Box::pin(async move { told.set(true) }));
        assert!(run.as_mut().poll(&mut context).is_pending());
        assert!(ended.get());
    }
}

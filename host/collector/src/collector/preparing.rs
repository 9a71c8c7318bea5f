//! Where the next generation is prepared: on a thread of its own, which yields to those that serve.
//!
//! Reading, compiling, configuring and self-tests block, and take their time while senders wait for the cores.
//! A thread that once yields cannot take that back without a privilege, so there is a new one each time. What
//! is to bring a good version back is in more haste, and does not yield.

use tokio::sync::oneshot;

/// How much the thread yields. What it does on its own takes some milliseconds, so that the seventh part of a core that
/// this leaves it beside two busy programs is enough. The compiler, which takes longest, does not inherit it.
const NICE: i32 = 5;

/// The work was lost: the system has no thread, or it has panicked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// There is no thread.
    #[error("cannot start the thread that prepares the next generation: {0}")]
    Thread(#[from] std::io::Error),
    /// It has ended without a result.
    #[error("the work on the next generation has ended without a result")]
    Ended(#[from] oneshot::error::RecvError),
}

/// Begins to do some work there, and gives what waits for it; the control thread goes on meanwhile. What is in haste
/// does not yield.
///
/// # Errors
/// When the work is lost.
pub(super) fn aside<T: Send + 'static>(
    is_in_haste: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Lost>> + 'static {
    let (tell, told) = oneshot::channel();
    let body = move || {
        if !is_in_haste {
            // On Linux this is about the thread alone. One that may not yield works all the same.
            let _ = rustix::process::nice(NICE);
        }
        // Nobody listens any more only when the process ends.
        let _ = tell.send(work());
    };
    let thread = std::thread::Builder::new().name("preparing".to_owned()).spawn(body);
    async move {
        thread?;
        Ok(told.await?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// How much this thread yields.
    fn nice() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn what_is_prepared_yields_and_who_waits_for_it_does_not() {
        let own = nice();
        // 19 is the most that there is.
        assert_eq!(aside(false, nice).await.unwrap(), (own + NICE).min(19));
        assert_eq!(aside(true, nice).await.unwrap(), own);
        assert_eq!(nice(), own);
    }

    #[tokio::test]
    async fn work_that_panics_is_lost_and_nothing_else() {
        let lost = aside::<()>(false, || std::panic::resume_unwind(Box::new("a test"))).await;
        assert!(matches!(lost, Err(Lost::Ended(_))));
    }
}

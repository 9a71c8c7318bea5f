//! Waiting for a condition instead of for some time.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

/// How long a test waits for what must happen: far above what it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// Looks again and again until `condition` gives something.
///
/// # Panics
/// When it has not within [`PATIENCE`]; `what` says what was waited for.
#[track_caller]
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    match within(PATIENCE, condition) {
        Some(value) => value,
        #[expect(clippy::panic, reason = "a test that waited in vain has failed")]
        None => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Looks again and again until `condition` gives something or the time is over.
pub fn within<T>(time: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// The runtime on which sinks and senders of a test process live.
///
/// # Panics
/// When the system has no threads left.
#[expect(clippy::expect_used, reason = "nothing can be tested without it")]
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    })
}

//! Waiting for a condition instead of for some time.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

/// How long a test waits for what must happen: far above what it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// What one look counts for at most, however long it took. A machine that stands still, or that does not let
/// this process run, costs no patience.
const MOST_A_LOOK: Duration = Duration::from_millis(100);

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

/// Looks again and again until `condition` gives something or the time is over. It is the time of those who
/// are waited for: what this process is kept from running is not a part of it.
pub fn within<T>(time: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let (mut spent, mut looked) = (Duration::ZERO, Instant::now());
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if spent >= time {
            return None;
        }
        std::thread::sleep(INTERVAL);
        spent += looked.elapsed().min(MOST_A_LOOK);
        looked = Instant::now();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_costs_no_patience_and_looking_in_vain_does() {
        let mut looks = 0;
        let found = within(Duration::from_millis(300), || {
            looks += 1;
            if looks == 1 {
                std::thread::sleep(Duration::from_millis(600));
            }
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, Some(3));
        let began = Instant::now();
        assert_eq!(within(Duration::from_millis(50), || None::<()>), None);
        assert!(began.elapsed() >= Duration::from_millis(50));
    }
}

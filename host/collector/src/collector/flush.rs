//! Plugins are told the time: `flush` of one instance of each that serves, once in its interval.
//!
//! The control loop says whose turn it is; the call is made on a core, between two requests.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use super::Collector;
use crate::cores::{Core, LocalTask};
use crate::generation::Served;

/// After so many failures in a row the pause does not grow any more: it is 64 times the interval then.
const MOST_DOUBLINGS: u32 = 6;

/// When each plugin was told last, by component id; or when it was first seen.
#[derive(Default)]
pub(super) struct Flushes(HashMap<String, Instant>);

impl Flushes {
    /// Those whose turn it is.
    fn due(&mut self, served: &HashMap<String, Served>, now: Instant) -> Vec<String> {
        self.0.retain(|id, _| served.contains_key(id));
        let mut due = Vec::new();
        for (id, served) in served {
            let interval = served.settings.flush_interval;
            let last = self.0.entry(id.clone()).or_insert(now);
            if !interval.is_zero() && now.duration_since(*last) >= pause(interval, served.guard.failed_flushes()) {
                *last = now;
                due.push(id.clone());
            }
        }
        due
    }
}

/// From one call to the next, after so many in a row have failed.
fn pause(interval: Duration, failures: u32) -> Duration {
    interval.saturating_mul(1 << failures.min(MOST_DOUBLINGS))
}

impl Collector {
    /// Has plugins flush whose turn it is. To be called now and then.
    pub async fn flush(&mut self) {
        let due = self.flushes.due(&self.served, Instant::now());
        if due.is_empty() {
            return;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now_unix_nano = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let flush = move |core: Rc<Core>| -> LocalTask {
            Box::pin(async move {
                let routes = core.routes();
                for slot in routes.slots.iter().flatten().filter(|slot| due.contains(&slot.plan.id)) {
                    slot.flush(now_unix_nano);
                    tokio::task::yield_now().await;
                }
            })
        };
        // Cores that have stopped have no plugins any more.
        let _ = self.courier().send(flush).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_is_called_half_as_often_each_time() {
        let pauses: Vec<_> = [0, 1, 2, 6, 7, u32::MAX].map(|failures| pause(Duration::from_secs(10), failures)).into();
        assert_eq!(pauses, [10, 20, 40, 640, 640, 640].map(Duration::from_secs));
    }
}

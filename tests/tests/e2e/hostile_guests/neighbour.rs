//! Senders of 2,000 spans a second to the pipeline beside the guest's, and what they waited for.
//!
//! A request counts from when it was due: if one has to wait, so have those behind it, and a single pause is seen in
//! as many of them as it held up. What the machine kept a sender from running is no part of it; each sender is a
//! thread of its own, so that this is known.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sluice_tests::send::Grpc;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::{process, wire};

use super::stretch::Stretch;

/// Each on a connection of its own; connections are dealt to all cores.
const SENDERS: u64 = 2;
const SPANS: usize = 10;
const EVERY: Duration = Duration::from_millis(10);

/// A request: when it was due and answered, and how long that took.
struct Waited {
    due: Instant,
    answered: Instant,
    lasted: Duration,
}

/// The senders, at work until they are told to end.
pub struct Neighbour {
    stop: Arc<AtomicBool>,
    waits: Arc<Mutex<Vec<Waited>>>,
    senders: Vec<JoinHandle<u64>>,
}

impl Neighbour {
    pub fn start(to: SocketAddr) -> Self {
        let (stop, waits) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Waited>>>::default());
        let sender = |seed| {
            let (stop, waits) = (Arc::clone(&stop), Arc::clone(&waits));
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(send_on(to, seed, &stop, &waits))
            })
        };
        let senders = (0..SENDERS).map(sender).collect();
        Self { stop, waits, senders }
    }

    /// What 99 of 100 requests took at most that were on their way at some time of it.
    pub fn p99_beside(&self, stretch: &Stretch) -> Duration {
        self.p99(|waited| stretch.touches(waited.due, waited.answered))
    }

    /// What 99 of 100 requests took at most that were on their way at no other time than one of these.
    pub fn p99_within(&self, stretches: &[&Stretch]) -> Duration {
        self.p99(|waited| stretches.iter().any(|stretch| stretch.holds(waited.due, waited.answered)))
    }

    fn p99(&self, which: impl Fn(&Waited) -> bool) -> Duration {
        let waits = self.waits.lock().unwrap();
        let mut took: Vec<_> = waits.iter().filter(|waited| which(waited)).map(|waited| waited.lasted).collect();
        took.sort_unstable();
        took[(took.len() * 99).div_ceil(100) - 1]
    }

    /// Ends, and tells how many spans were sent.
    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    }
}

async fn send_on(to: SocketAddr, seed: u64, stop: &AtomicBool, waits: &Mutex<Vec<Waited>>) -> u64 {
    let (client, mut exporter, mut sent) = (Grpc::here(to).unwrap(), Exporter::new(seed), 0);
    let (mut due, mut before, mut late) = (Instant::now(), Instant::now(), Duration::ZERO);
    let mut held = process::kept_from_running(None);
    while !stop.load(Ordering::Relaxed) {
        let request = exporter.request(SPANS);
        sent += wire::count(&request).unwrap();
        tokio::time::sleep_until(due.into()).await;
        client.export(request).await.expect("the neighbour is served");
        let (answered, held_now) = (Instant::now(), process::kept_from_running(None));
        // A thread that sleeps is not kept from running: that has all been since the request could be sent.
        let took = answered.duration_since(before.max(due)).saturating_sub(held_now - held);
        let lasted = late + took;
        waits.lock().unwrap().push(Waited { due, answered, lasted });
        late = lasted.saturating_sub(EVERY);
        (due, before, held) = (due + EVERY, answered, held_now);
    }
    sent
}

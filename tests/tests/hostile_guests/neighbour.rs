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

use sluice_tests::collector::Sluice;
use sluice_tests::send::Grpc;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::{process, wire};

use super::machine::Cores;
use super::stretch::Stretch;

/// Each on a connection of its own; connections are dealt to all cores.
const SENDERS: u64 = 2;
const SPANS: usize = 10;
const EVERY: Duration = Duration::from_millis(10);

/// A request: when it was due and answered, and how long that took, by [`Less`].
struct Waited {
    due: Instant,
    answered: Instant,
    lasted: [Duration; 2],
}

/// What does not count of the time that a request takes.
#[derive(Clone, Copy)]
pub enum Less {
    /// What its sender was kept from running.
    Sender = 0,
    /// That, and what the collector's cores were kept from running.
    SenderAndCores = 1,
}

/// The senders, at work until they are told to end.
pub struct Neighbour {
    stop: Arc<AtomicBool>,
    waits: Arc<Mutex<Vec<Waited>>>,
    senders: Vec<JoinHandle<u64>>,
}

impl Neighbour {
    pub fn start(sluice: &Sluice) -> Self {
        let to = sluice.address("otlp/neighbour", "grpc");
        let (stop, waits) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Waited>>>::default());
        let sender = |seed| {
            let (stop, waits, cores) = (Arc::clone(&stop), Arc::clone(&waits), Cores::of(sluice));
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(send_on(to, seed, &stop, &waits, &cores))
            })
        };
        let senders = (0..SENDERS).map(sender).collect();
        Self { stop, waits, senders }
    }

    /// What 99 of 100 requests took at most that were on their way at some time of it.
    pub fn p99_beside(&self, stretch: &Stretch, less: Less) -> Duration {
        self.p99(less, |waited| stretch.touches(waited.due, waited.answered))
    }

    /// What 99 of 100 requests took at most that were on their way at no other time than one of these.
    pub fn p99_within(&self, stretches: &[&Stretch], less: Less) -> Duration {
        self.p99(less, |waited| stretches.iter().any(|stretch| stretch.holds(waited.due, waited.answered)))
    }

    fn p99(&self, less: Less, which: impl Fn(&Waited) -> bool) -> Duration {
        let waits = self.waits.lock().unwrap();
        let within = waits.iter().filter(|waited| which(waited));
        let mut took: Vec<_> = within.map(|waited| waited.lasted[less as usize]).collect();
        took.sort_unstable();
        // None are within one where senders have fallen behind: then it is judged as if nobody had to wait.
        took.get((took.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Ends, and tells how many spans were sent.
    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    }
}

async fn send_on(to: SocketAddr, seed: u64, stop: &AtomicBool, waits: &Mutex<Vec<Waited>>, cores: &Cores) -> u64 {
    let (client, mut exporter, mut sent) = (Grpc::here(to).unwrap(), Exporter::new(seed), 0);
    let (mut due, mut before, mut late) = (Instant::now(), Instant::now(), [Duration::ZERO; 2]);
    let held = || {
        let sender = process::kept_from_running(None);
        [sender, sender + cores.kept_from_running()]
    };
    let mut held_before = held();
    while !stop.load(Ordering::Relaxed) {
        let request = exporter.request(SPANS);
        sent += wire::count(&request).unwrap();
        tokio::time::sleep_until(due.into()).await;
        client.export(request).await.expect("the neighbour is served");
        let (answered, held_now) = (Instant::now(), held());
        // A thread that sleeps is not kept from running: that has all been since the request could be sent.
        let took = answered.duration_since(before.max(due));
        let lasted =
            [0, 1].map(|less| late[less] + took.saturating_sub(held_now[less].saturating_sub(held_before[less])));
        waits.lock().unwrap().push(Waited { due, answered, lasted });
        late = lasted.map(|lasted| lasted.saturating_sub(EVERY));
        (due, before, held_before) = (due + EVERY, answered, held_now);
    }
    sent
}

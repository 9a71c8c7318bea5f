//! Requests on which guests do their worst, again and again: on as many connections as there are cores, so that
//! every core has to do with the guest.

use std::net::SocketAddr;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_tests::send::Grpc;
use tonic::Code;

use super::stretch::Stretch;
use crate::odd;

/// How often each of them sends, unless an answer takes longer.
const EVERY: Duration = Duration::from_millis(40);

/// Spans of a request: guests do their worst when there are several, and harm nobody with one.
pub const SPANS: u8 = 20;

/// A request of so many small spans.
pub fn request(spans: u8) -> Bytes {
    odd::request(&(0..spans).map(|span| odd::span(1, span, &[])).collect::<Vec<_>>())
}

/// A request of several spans that is larger than what is kept for trying new versions, so that guests pass that trial.
fn many() -> Bytes {
    let large = odd::field(9, &odd::text("large", &"-".repeat(1 << 20)));
    let spans = (0..SPANS).map(|span| odd::span(1, span, if span == 0 { slice::from_ref(&large) } else { &[] }));
    odd::request(&spans.collect::<Vec<_>>())
}

/// A request: when it was on its way, and whether it was taken.
#[derive(Clone, Copy)]
struct Sent {
    began: Instant,
    ended: Instant,
    is_taken: bool,
}

/// Requests that were taken, and that were refused for now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    pub taken: u64,
    pub refused: u64,
}

/// The senders, at work until they are told to end.
pub struct Attack {
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<Sent>>>,
    senders: Vec<JoinHandle<()>>,
}

impl Attack {
    pub fn start(to: SocketAddr) -> Self {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Sent>>>::default());
        let sender = |_| {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            thread::spawn(move || send_on(to, &stop, &sent))
        };
        let senders = (0..thread::available_parallelism().unwrap().get()).map(sender).collect();
        Self { stop, sent, senders }
    }

    /// How requests were answered that were on their way at no other time.
    pub fn within(&self, stretch: &Stretch) -> Answers {
        self.sum(|sent| stretch.holds(sent.began, sent.ended))
    }

    /// How requests were answered that were on their way at some time of it.
    pub fn around(&self, stretch: &Stretch) -> Answers {
        self.sum(|sent| stretch.touches(sent.began, sent.ended))
    }

    fn sum(&self, which: impl Fn(&Sent) -> bool) -> Answers {
        let mut answers = Answers::default();
        for sent in self.sent.lock().unwrap().iter().filter(|sent| which(sent)) {
            *(if sent.is_taken { &mut answers.taken } else { &mut answers.refused }) += 1;
        }
        answers
    }

    /// Ends, and tells how all requests were answered.
    pub fn end(mut self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            sender.join().unwrap();
        }
        self.sum(|_| true)
    }
}

fn send_on(to: SocketAddr, stop: &AtomicBool, all: &Mutex<Vec<Sent>>) {
    let (client, many) = (Grpc::new(to).unwrap(), many());
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let is_taken = match client.send(&many) {
            Ok(_) => true,
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "what a guest fails on is to come again: {status}");
                false
            }
        };
        let ended = Instant::now();
        all.lock().unwrap().push(Sent { began, ended, is_taken });
        // What is paced has to wait.
        thread::sleep(EVERY.saturating_sub(ended - began));
    }
}

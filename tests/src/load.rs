//! Load: so many requests in flight, all encoded beforehand, over so many gRPC connections, the next one
//! sent when an answer comes.
//!
//! What it costs is taken from the process that is measured, so it speaks HTTP/2 without a framework, on
//! one thread: a request is never copied before the system takes it, and all answers that have come are
//! seen to before all requests that follow them go out at once.

mod connection;
mod outbox;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use mio::{Events, Poll, Token};

use crate::wire;
use connection::{Answer, Connection};

/// When a request is sent again that was refused.
const AGAIN: Duration = Duration::from_millis(20);

/// What is read at once, at most: answers are small.
const READ_BYTES: usize = 64 * 1024;

/// What is to be sent.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub target: SocketAddr,
    /// Over how many connections; at least one.
    pub connections: usize,
    /// How many requests are on their way at a time, over all connections together.
    pub in_flight: usize,
    /// When it is enough.
    pub until: Until,
    /// Whether what gzip made of the requests is sent.
    pub gzip: bool,
}

/// When no more requests are sent.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// So many spans were answered for.
    Spans(u64),
    /// So much time has passed.
    Passed(Duration),
}

/// What was answered for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Requests that were taken.
    pub requests: u64,
    /// Spans in these.
    pub spans: u64,
    /// Their bytes before they were compressed.
    pub bytes: u64,
    /// How often a request was refused for now.
    pub refused: u64,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// A request, ready to be sent.
struct Ready {
    /// A gRPC message with its head.
    message: Bytes,
    spans: u64,
    bytes: u64,
}

/// Sends one request after the other.
struct Worker {
    /// The connections that it takes in turn.
    connections: Vec<usize>,
    turn: usize,
    /// Which request it sends.
    request: usize,
}

/// Sends these requests round and round, in order.
///
/// # Errors
/// When nobody answers at the target, a connection breaks off, or an answer is neither success nor
/// UNAVAILABLE.
pub fn send(load: &Load, requests: &[Bytes]) -> Result<Sent> {
    ensure!(!requests.is_empty(), "there is nothing to send");
    let requests = requests.iter().map(|request| ready(request, load.gzip)).collect::<Result<Vec<_>>>()?;
    let poll = Poll::new()?;
    let connections = (0..load.connections.max(1))
        .map(|number| Connection::open(load, poll.registry(), Token(number)))
        .collect::<Result<Vec<_>>>()?;
    let workers = (0..load.in_flight)
        .map(|number| {
            // Each worker has its share of the connections.
            let own = (number % connections.len()..connections.len()).step_by(load.in_flight);
            Worker { connections: own.collect(), turn: 0, request: 0 }
        })
        .collect();
    let sending = Sending {
        until: load.until,
        requests,
        connections,
        workers,
        next: 0,
        away: 0,
        refused: VecDeque::new(),
        started: Instant::now(),
        sent: Sent::default(),
    };
    sending.run(poll)
}

fn ready(request: &Bytes, gzip: bool) -> Result<Ready> {
    let body = if gzip {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(request)?;
        encoder.finish()?
    } else {
        request.to_vec()
    };
    let length = u32::try_from(body.len())?.to_be_bytes();
    let message = [&[u8::from(gzip)], &length[..], &body].concat().into();
    Ok(Ready { message, spans: wire::count(request)?, bytes: request.len() as u64 })
}

/// All that is on its way.
struct Sending {
    until: Until,
    requests: Vec<Ready>,
    connections: Vec<Connection>,
    workers: Vec<Worker>,
    /// Which request is sent next.
    next: usize,
    /// How many workers wait for an answer.
    away: usize,
    /// Workers whose request was refused, and when they send it again; in order.
    refused: VecDeque<(Instant, usize)>,
    started: Instant,
    sent: Sent,
}

impl Sending {
    fn run(mut self, mut poll: Poll) -> Result<Sent> {
        let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; READ_BYTES]);
        let mut answers = Vec::new();
        for worker in 0..self.workers.len() {
            self.start(worker)?;
        }
        loop {
            while let Some(&(when, worker)) = self.refused.front()
                && (when <= Instant::now() || self.is_over())
            {
                self.refused.pop_front();
                // When it is over, it was refused for good.
                if !self.is_over() {
                    self.dispatch(worker)?;
                }
            }
            if self.away == 0 && self.refused.is_empty() {
                return Ok(Sent { took: self.started.elapsed(), ..self.sent });
            }
            for connection in &mut self.connections {
                connection.flush()?;
            }
            let wait = self.refused.front().map(|(when, _)| when.saturating_duration_since(Instant::now()));
            match poll.poll(&mut events, wait) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                let connection = self.connections.get_mut(event.token().0).context("a connection of another")?;
                connection.seen(event.is_writable());
                if event.is_readable() {
                    connection.read(&mut buffer, &mut answers)?;
                }
            }
            for answer in answers.drain(..) {
                self.answered(answer)?;
            }
        }
    }

    fn is_over(&self) -> bool {
        match self.until {
            Until::Passed(time) => self.started.elapsed() >= time,
            Until::Spans(spans) => self.sent.spans >= spans,
        }
    }

    /// Has a worker send the next request, unless it is enough.
    fn start(&mut self, worker: usize) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        let request = self.next % self.requests.len();
        self.next += 1;
        self.workers.get_mut(worker).context("a worker that is there")?.request = request;
        self.dispatch(worker)
    }

    /// Has a worker send its request on its next connection.
    fn dispatch(&mut self, number: usize) -> Result<()> {
        let worker = self.workers.get_mut(number).context("a worker that is there")?;
        worker.turn = (worker.turn + 1) % worker.connections.len().max(1);
        let connection = worker.connections.get(worker.turn).and_then(|own| self.connections.get_mut(*own));
        let request = self.requests.get(worker.request).context("a request that is there")?;
        connection.context("a worker without a connection")?.request(number, request.message.clone());
        self.away += 1;
        Ok(())
    }

    fn answered(&mut self, answer: Answer) -> Result<()> {
        self.away -= 1;
        if !answer.is_taken {
            // Full is an answer too: the same request again, a little later.
            self.sent.refused += 1;
            self.refused.push_back((Instant::now() + AGAIN, answer.worker));
            return Ok(());
        }
        let worker = self.workers.get(answer.worker).context("a worker that is there")?;
        let request = self.requests.get(worker.request).context("a request that is there")?;
        self.sent.requests += 1;
        self.sent.spans += request.spans;
        self.sent.bytes += request.bytes;
        self.start(answer.worker)
    }
}

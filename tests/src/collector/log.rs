//! What a process writes, line by line, while it runs.
//!
//! Whoever looks sees all that was written before he looked: what a process has logged before it answered
//! is there as soon as the answer is. A thread reads on meanwhile, so that the process never waits.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::Value;

/// The lines of one stream so far. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    state: Arc<Mutex<State>>,
}

struct State {
    /// The reading end of a pipe, which is never waited for.
    stream: File,
    /// The last line as far as it has come.
    begun: Vec<u8>,
    lines: Vec<String>,
    ended: bool,
}

impl State {
    /// Reads what is there.
    fn catch_up(&mut self) {
        let mut bytes = [0; 16 << 10];
        while !self.ended {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(read) => self.add(bytes.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
        if !self.begun.is_empty() {
            self.add(b"\n");
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.lines.push(String::from_utf8_lossy(&self.begun).trim_end().to_owned());
                self.begun.clear();
            }
        }
    }
}

impl Log {
    /// Follows a pipe until it ends.
    pub fn follow(stream: impl Into<OwnedFd>) -> Self {
        let stream = File::from(stream.into());
        let descriptor = stream.as_raw_fd();
        // SAFETY: plain system calls on a descriptor that `stream` keeps open. Nobody else has this end of the
        // pipe, so that nobody else is kept from waiting.
        unsafe {
            let flags = libc::fcntl(descriptor, libc::F_GETFL);
            libc::fcntl(descriptor, libc::F_SETFL, flags | libc::O_NONBLOCK);
        }
        let state = State { stream, begun: Vec::new(), lines: Vec::new(), ended: false };
        let log = Self { state: Arc::new(Mutex::new(state)) };
        let reader = log.clone();
        thread::spawn(move || {
            while !reader.ended() {
                let mut waits = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
                // SAFETY: a system call that writes into one `pollfd`, on a descriptor that `reader` keeps open.
                unsafe { libc::poll(&raw mut waits, 1, -1) };
            }
        });
        log
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.catch_up();
        work(&mut state)
    }

    /// Whether the stream has ended.
    pub fn ended(&self) -> bool {
        self.with(|state| state.ended)
    }

    /// Everything as text.
    pub fn text(&self) -> String {
        self.with(|state| state.lines.join("\n"))
    }

    /// All lines.
    pub fn lines(&self) -> Vec<String> {
        self.with(|state| state.lines.clone())
    }

    /// How many lines there are.
    pub fn count(&self) -> usize {
        self.with(|state| state.lines.len())
    }

    /// All events of this name, in order.
    pub fn events(&self, name: &str) -> Vec<Value> {
        self.events_after(0, name)
    }

    /// All events of this name after so many lines, in order: who looks often at a long log looks at
    /// its end.
    pub fn events_after(&self, lines: usize, name: &str) -> Vec<Value> {
        let lines = self.with(|state| state.lines.get(lines..).unwrap_or_default().to_vec());
        let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed.filter(|event| event["event"] == name).collect()
    }

    /// The first event of this name.
    pub fn find(&self, name: &str) -> Option<Value> {
        self.events(name).into_iter().next()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use std::io::Write as _;

    use super::Log;
    use crate::wait;

    #[test]
    fn what_was_written_is_there_for_whoever_looks_then() {
        let (stream, mut writer) = std::io::pipe().unwrap();
        let log = Log::follow(stream);
        for number in 1..=1_000 {
            writeln!(writer, r#"{{"event":"counted","number":{number}}}"#).unwrap();
            assert_eq!(log.count(), number);
        }
        writer.write_all(br#"{"event":"half"#).unwrap();
        assert_eq!((log.count(), log.ended()), (1_000, false));
        drop(writer);
        wait::until("the end", || log.ended().then_some(()));
        assert_eq!(log.lines().last().unwrap(), r#"{"event":"half"#);
        assert_eq!(log.events_after(998, "counted").len(), 2);
    }

    #[test]
    fn a_writer_never_waits_for_somebody_to_look() {
        let (stream, mut writer) = std::io::pipe().unwrap();
        let log = Log::follow(stream);
        // Many times what a pipe holds.
        let line = "x".repeat(1_000);
        (0..2_000).for_each(|_| writeln!(writer, "{line}").unwrap());
        assert_eq!(log.count(), 2_000);
    }
}

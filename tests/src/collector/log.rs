//! What a process writes, line by line, while it runs.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::Value;

/// The lines of one stream so far. Cheap to clone.
#[derive(Clone, Default)]
pub struct Log {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads a stream on a thread of its own until it ends.
    pub fn follow(stream: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let writer = log.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                writer.with(|state| state.lines.push(text));
                line.clear();
            }
            writer.with(|state| state.ended = true);
        });
        log
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
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

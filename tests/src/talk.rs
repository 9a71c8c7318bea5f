//! A child process that is talked to in lines: what it says comes as JSON, what it is asked goes to
//! its stdin.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program. It is killed when dropped.
pub struct Talk {
    name: String,
    child: Child,
    questions: Option<ChildStdin>,
    answers: Receiver<Value>,
}

impl Talk {
    /// Starts the program with pipes to it. Its stderr stays ours.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let command = process::tie(command).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let output = child.stdout.take().context("its stdout is a pipe")?;
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let answer = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        Ok(Self { name, questions: child.stdin.take(), child, answers })
    }

    /// Waits for the next thing that it says.
    ///
    /// # Errors
    /// When it ends or stays silent.
    pub fn hear(&self) -> Result<Value> {
        self.hear_within(PATIENCE)?.with_context(|| format!("{} does not answer", self.name))
    }

    /// Waits so long for the next thing that it says.
    ///
    /// # Errors
    /// When it ends.
    pub fn hear_within(&self, time: Duration) -> Result<Option<Value>> {
        match self.answers.recv_timeout(time) {
            Ok(said) => Ok(Some(said)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("{} has ended", self.name),
        }
    }

    /// Waits for the next event of this name; others before it are passed over.
    ///
    /// # Errors
    /// As [`Talk::hear`].
    pub fn hear_event(&self, name: &str) -> Result<Value> {
        loop {
            let said = self.hear()?;
            if said["event"] == name {
                return Ok(said);
            }
        }
    }

    /// Says a line to it.
    ///
    /// # Errors
    /// When it has ended.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let Some(questions) = &mut self.questions else { bail!("{} was told that there is no more", self.name) };
        writeln!(questions, "{line}").with_context(|| format!("{} has ended", self.name))
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// As [`Talk::say`] and [`Talk::hear`].
    pub fn ask(&mut self, question: &str) -> Result<Value> {
        self.say(question)?;
        self.hear()
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Closes its stdin and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn finish(&mut self) -> Result<ExitStatus> {
        self.questions = None;
        process::wait_for(&mut self.child, PATIENCE).with_context(|| format!("{} does not end", self.name))
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

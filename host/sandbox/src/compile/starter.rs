//! The thread that starts compilers.
//!
//! A process begins with the priority of the thread that starts it, and cannot raise that without a privilege. Who
//! asks for a compiled plugin yields to the threads that serve, by more than a compiler may that is to end in time
//! on a machine in full use. So compilers are started by a thread that is as old as the sandbox, does nothing else
//! and has the priority that the process was given.
//!
//! It also lives as long as the sandbox. A compiler asks the system to be killed when the thread that has started it
//! ends, so that none goes on when the process was killed.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{SyncSender, sync_channel};

/// What is to be started, and who is told.
type Order = (Command, SyncSender<io::Result<Child>>);

/// See the module. The thread ends when this does.
pub(crate) struct Starter {
    orders: SyncSender<Order>,
}

impl Starter {
    /// Has the priority of the thread that calls this.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(super) fn new() -> io::Result<Self> {
        let (orders, given) = sync_channel::<Order>(0);
        let body = move || {
            for (mut command, tell) in given {
                // Whoever gave the order waits for this.
                let _ = tell.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("starter".to_owned()).spawn(body)?;
        Ok(Self { orders })
    }

    /// Starts a child as [`Command::spawn`] does, whatever the priority of the calling thread is.
    pub(super) fn start(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts it has ended");
        let (tell, told) = sync_channel(1);
        self.orders.send((command, tell)).map_err(|_| gone())?;
        told.recv().map_err(|_| gone())?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Stdio;

    use super::*;

    #[test]
    fn what_a_thread_starts_that_yields_does_not_yield() {
        let starter = Starter::new().unwrap();
        let own = rustix::process::getpriority_process(None).unwrap();
        let yields = std::thread::spawn(move || {
            assert_eq!(rustix::process::nice(5).unwrap(), (own + 5).min(19));
            // `nice(1)`: without a command it tells the priority that it has.
            let mut command = Command::new("nice");
            command.stdout(Stdio::piped());
            String::from_utf8(starter.start(command).unwrap().wait_with_output().unwrap().stdout).unwrap()
        });
        assert_eq!(yields.join().unwrap().trim(), own.to_string());
    }

    #[test]
    fn what_cannot_be_started_is_an_error() {
        let error = Starter::new().unwrap().start(Command::new("/nowhere")).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}

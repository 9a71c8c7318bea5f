//! The process that serves, seen from the one that is to take over.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::{FdFlags, fcntl_setfd};
use sendfd::RecvWithFd as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{LEAVING, MAX_SOCKETS, Offer, RELEASED, TAKE, VERSION, path_in};

/// More than an offer is long.
const MESSAGE_BYTES: usize = 1024;

/// A process that serves and has given copies of its sockets. Dropped, it is left alone.
pub struct Predecessor {
    stream: UnixStream,
    /// Its number.
    pub pid: u32,
}

/// How a process that was asked to leave has done so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As it should.
    Released,
    /// It is gone; the system has taken from it what it had.
    Died,
}

/// It cannot be taken over from.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Nobody can be asked.
    #[error("cannot ask at {}: {error}", path.display())]
    Unreachable {
        /// The door.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It says something else than it should.
    #[error("the running process offers its sockets in a way that this version does not know: stop it instead")]
    Strange,
    /// It has given fewer sockets than it said.
    #[error("got {got} of {offered} sockets: raise the limit of open files (`ulimit -n`)")]
    TooFew {
        /// How many came.
        got: usize,
        /// How many were to come.
        offered: usize,
    },
    /// It has ended, has other sockets by now, or deals with another one.
    #[error("the running process has ended or changed meanwhile: start again")]
    Refused,
}

impl Predecessor {
    /// The process that has this `state_dir`, and its sockets; `None` if there is none.
    ///
    /// # Errors
    /// When there is one that cannot be taken over from.
    pub async fn find(state_dir: &Path) -> Result<Option<(Self, Vec<TcpListener>)>, NotTaken> {
        let path = path_in(state_dir);
        let stream = match UnixStream::connect(&path).await {
            Ok(stream) => stream,
            // No name, or one that a dead process has left.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(NotTaken::Unreachable { path, error }),
        };
        let (message, sockets) = match receive(&stream).await {
            Ok(received) => received,
            Err(error) => return Err(NotTaken::Unreachable { path, error }),
        };
        if message.is_empty() {
            return Err(NotTaken::Refused);
        }
        let Ok(Offer { version: VERSION, pid, sockets: offered }) = serde_json::from_slice(&message) else {
            return Err(NotTaken::Strange);
        };
        if sockets.len() != offered {
            return Err(NotTaken::TooFew { got: sockets.len(), offered });
        }
        Ok(Some((Self { stream, pid }, sockets.into_iter().map(TcpListener::from).collect())))
    }

    /// Asks it to leave, and waits until everything that it had is free. There is no way back.
    ///
    /// # Errors
    /// When it does not leave: then it serves on, or has ended already.
    pub async fn leave(mut self) -> Result<Ended, NotTaken> {
        let asked = self.stream.write_all(&[TAKE]).await;
        if asked.is_err() || self.hear().await != Some(LEAVING) {
            return Err(NotTaken::Refused);
        }
        Ok(if self.hear().await == Some(RELEASED) { Ended::Released } else { Ended::Died })
    }

    async fn hear(&mut self) -> Option<u8> {
        let mut said = [0];
        matches!(self.stream.read(&mut said).await, Ok(1)).then_some(said[0])
    }
}

/// What is said first, and the descriptors that go with it.
async fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut message, mut descriptors) = ([0; MESSAGE_BYTES], [-1; MAX_SOCKETS]);
    let (length, count) = loop {
        stream.readable().await?;
        match stream.recv_with_fd(&mut message, &mut descriptors) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => break received?,
        }
    };
    let own = |descriptor: &i32| {
        // SAFETY: the system has just made this descriptor for us, and it is in no other hands: of
        // `descriptors` the first `count` were filled by this very `recvmsg`, each with a number of its
        // own, and nobody else has seen them.
        unsafe { OwnedFd::from_raw_fd(*descriptor) }
    };
    let descriptors: Vec<OwnedFd> = descriptors.iter().take(count).map(own).collect();
    for descriptor in &descriptors {
        debug_assert!(descriptor.as_raw_fd() >= 0, "a descriptor that was received");
        // Compilers that this process starts must not keep its ports open.
        fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
    }
    Ok((message.iter().take(length).copied().collect(), descriptors))
}

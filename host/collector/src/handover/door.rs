//! The door of the process that serves.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::process::geteuid;
use sendfd::SendWithFd as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::{LEAVING, MAX_SOCKETS, Offer, RELEASED, TAKE, VERSION, path_in};
use crate::receiver::sockets::Socket;

/// How long to leave the kernel alone that cannot accept (out of files or memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where a follower knocks. Closed, and its name removed, when dropped.
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the name: another process may have put its own there.
    identity: (u64, u64),
    visitor: Option<UnixStream>,
    /// What the visitor was given.
    offered: Vec<Weak<Socket>>,
}

/// What happens at the door.
pub enum Visit {
    /// Somebody wants the sockets: see [`Door::offer`].
    Knocks(UnixStream),
    /// Who was given them takes over.
    Takes(Successor),
}

/// The process that takes over.
pub struct Successor {
    stream: UnixStream,
}

/// Nobody can take over from this process.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {}: {error}", path.display())]
pub struct NoDoor {
    path: PathBuf,
    error: io::Error,
}

impl Door {
    /// Opens the door of the process that has this `state_dir`. One that a dead process has left is
    /// put aside.
    ///
    /// # Errors
    /// When the system refuses, or a process that lives has its door there.
    pub fn open(state_dir: &Path) -> Result<Self, NoDoor> {
        let path = path_in(state_dir);
        match Self::bind(state_dir, &path) {
            Ok((listener, identity)) => Ok(Self { listener, path, identity, visitor: None, offered: Vec::new() }),
            Err(error) => Err(NoDoor { path, error }),
        }
    }

    fn bind(state_dir: &Path, path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    return Err(io::Error::other("another process has this `state_dir`"));
                }
                fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            bound => bound,
        }?;
        Ok((listener, identity(path)?))
    }

    /// Waits for what happens at the door next. Dropped before, it forgets nothing.
    pub async fn visit(&mut self) -> Visit {
        loop {
            let Self { listener, visitor, .. } = &mut *self;
            tokio::select! {
                knocks = listener.accept() => match knocks {
                    Ok((stream, _)) if is_ours(&stream) => return Visit::Knocks(stream),
                    Ok(_) => tracing::warn!(event = "handover", "turned away a process of another user"),
                    Err(error) => {
                        tracing::warn!(event = "handover", %error, "cannot accept at the door");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                takes = asks_to_take(visitor) => {
                    let visitor = visitor.take().filter(|_| takes);
                    if let Some(stream) = visitor {
                        return Visit::Takes(Successor { stream });
                    }
                    tracing::info!(event = "handover", outcome = "given_up", "who was to take over has gone");
                }
            }
        }
    }

    /// Gives copies of these sockets to who has knocked. Who was given some before, and has not taken
    /// over, is too late.
    pub async fn offer(&mut self, stream: UnixStream, sockets: &[Arc<Socket>]) {
        self.visitor = None;
        match offer(&stream, sockets).await {
            Ok(()) => {
                tracing::info!(event = "handover", sockets = sockets.len(), outcome = "offered");
                self.visitor = Some(stream);
                self.offered = sockets.iter().map(Arc::downgrade).collect();
            }
            Err(error) => tracing::warn!(event = "handover", %error, "cannot give the sockets away"),
        }
    }

    /// Tells which sockets there are now: who was not given all of them has to come again.
    pub fn keep_only_if_same(&mut self, sockets: &[Arc<Socket>]) {
        let was_offered = |socket: &Arc<Socket>| self.offered.iter().any(|one| one.as_ptr() == Arc::as_ptr(socket));
        if !sockets.iter().all(was_offered) {
            self.visitor = None;
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // A name that is left behind is put aside by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}

/// Whether the visitor takes over; false when it has gone, or says something else.
async fn asks_to_take(visitor: &mut Option<UnixStream>) -> bool {
    let Some(stream) = visitor else { return std::future::pending().await };
    let mut said = [0];
    matches!(stream.read(&mut said).await, Ok(1)) && said == [TAKE]
}

async fn offer(stream: &UnixStream, sockets: &[Arc<Socket>]) -> io::Result<()> {
    if sockets.len() > MAX_SOCKETS {
        return Err(io::Error::other(format!("{} sockets are more than the {MAX_SOCKETS} that can be", sockets.len())));
    }
    let offer = Offer { version: VERSION, pid: std::process::id(), sockets: sockets.len() };
    let message = serde_json::to_vec(&offer)?;
    let descriptors: Vec<_> = sockets.iter().map(|socket| socket.listener.as_raw_fd()).collect();
    // It is the first that goes through this stream: there is room for all of it.
    stream.writable().await?;
    let sent = stream.send_with_fd(&message, &descriptors)?;
    if sent == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

impl Successor {
    /// Tells it that this process leaves.
    pub async fn leaving(&mut self) {
        self.say(LEAVING).await;
    }

    /// Tells it that everything on disk is its own.
    pub async fn released(mut self) {
        self.say(RELEASED).await;
    }

    async fn say(&mut self, what: u8) {
        // Whatever becomes of it, this process leaves: the other one may be serving already.
        if let Err(error) = self.stream.write_all(&[what]).await {
            tracing::warn!(event = "handover", %error, "who takes over has gone");
        }
    }
}

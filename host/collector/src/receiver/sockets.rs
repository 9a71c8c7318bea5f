//! The sockets that this process listens on, and how the next generation of the configuration gets
//! its own.
//!
//! What enters is every endpoint that the next generation wants; what leaves is a [`Listener`] for
//! each, or the first one that cannot be had, and then nothing has changed. A socket outlives the
//! component that it was opened for: it is shared, and closes when nobody has it any more. So who
//! wants the address of one that is about to leave takes its socket over, with the connections that
//! wait on it, and nobody who connects is ever refused. Sockets that another process has opened
//! ([`Sockets::give`]) are taken over in the same way.

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use socket2::SockRef;
use tokio::net::TcpListener;

use super::Endpoint;
use super::listener::{bind_all, open, prepare, resolve};
use crate::config::Mark;

/// A socket that listens.
#[derive(Debug)]
pub struct Socket {
    /// Where it is bound.
    pub address: SocketAddr,
    /// Accepts.
    pub listener: TcpListener,
    /// Whether it is one of several of a host, of which an IPv6 one leaves IPv4 alone.
    only_v6: bool,
}

/// The sockets of one endpoint. Cheap to clone; the sockets close with the last clone.
#[derive(Debug, Clone)]
pub struct Listener {
    /// One for every address of the endpoint's host.
    pub sockets: Vec<Arc<Socket>>,
}

/// Two are equal when they are the same sockets.
impl PartialEq for Listener {
    fn eq(&self, other: &Self) -> bool {
        self.sockets.len() == other.sockets.len()
            && self.sockets.iter().zip(&other.sockets).all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

/// An endpoint that is to be listened on.
pub struct Want<'c> {
    /// The component: `receiver otlp`.
    pub who: String,
    /// `grpc` or `http`.
    pub protocol: &'static str,
    /// Where.
    pub endpoint: &'c Endpoint,
    /// What listens there now, for the same component by the same words.
    pub present: Option<Listener>,
}

/// An endpoint cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{mark}: error: {who}: cannot listen on {protocol} endpoint `{endpoint}`: {reason}")]
pub struct BindError {
    /// The component.
    pub who: String,
    /// `grpc` or `http`.
    pub protocol: &'static str,
    /// The endpoint as configured.
    pub endpoint: String,
    /// Where the configuration says so.
    pub mark: Mark,
    /// What is wrong.
    pub reason: String,
}

/// All sockets that this process listens on.
#[derive(Debug, Default)]
pub struct Sockets {
    open: Vec<Weak<Socket>>,
    /// Those of another process that may still be wanted.
    given: Vec<Arc<Socket>>,
}

/// What a wanted endpoint has before anything is bound for it.
enum Start {
    /// Its sockets, all of them.
    Kept(Listener),
    /// Sockets of others who leave.
    TakenOver { addresses: Vec<SocketAddr>, sockets: Vec<Arc<Socket>> },
    /// It is no address.
    Unknown(String),
}

impl Sockets {
    /// Takes sockets that another process has opened: whoever wants their addresses gets them. Must be
    /// called in the runtime that is to accept.
    ///
    /// # Errors
    /// When one is not a TCP socket that listens.
    pub fn give(&mut self, listeners: Vec<std::net::TcpListener>) -> io::Result<()> {
        for listener in listeners {
            let address = listener.local_addr()?;
            let socket = SockRef::from(&listener);
            if !socket.is_listener()? {
                return Err(io::Error::other(format!("the socket at {address} does not listen")));
            }
            let only_v6 = address.is_ipv6() && socket.only_v6()?;
            prepare(&socket)?;
            let socket = Arc::new(Socket { address, listener: TcpListener::from_std(listener)?, only_v6 });
            self.open.push(Arc::downgrade(&socket));
            self.given.push(socket);
        }
        Ok(())
    }

    /// Lets go of what was given. What nobody has taken closes; gives the addresses of that.
    pub fn unclaimed(&mut self) -> Vec<SocketAddr> {
        let alone = |socket: Arc<Socket>| Arc::into_inner(socket).map(|socket| socket.address);
        std::mem::take(&mut self.given).into_iter().filter_map(alone).collect()
    }

    /// All that listen now.
    pub fn all(&self) -> Vec<Arc<Socket>> {
        self.open.iter().filter_map(Weak::upgrade).collect()
    }

    /// A listener for each of `wants`, which are all that shall listen: what nobody of them has
    /// is about to leave, and may be taken over. Must be called in the runtime that is to accept.
    ///
    /// An address is in use when another process has it, or two of `wants` want it.
    pub fn listen(&mut self, wants: &[Want<'_>]) -> Vec<Result<Listener, BindError>> {
        self.open.retain(|socket| socket.strong_count() > 0);
        let mut leaving: Vec<_> = self.open.iter().filter_map(Weak::upgrade).collect();
        // First who stays, then who takes over: nobody is to lose a socket to one who came earlier.
        let kept: Vec<_> = wants.iter().map(|want| take_whole(&mut leaving, want.present.as_ref()?)).collect();
        let begin = |(want, kept): (&Want<'_>, Option<Listener>)| match kept {
            Some(listener) => Start::Kept(listener),
            None => match resolve(&want.endpoint.text) {
                Ok(addresses) => Start::TakenOver { sockets: take_over(&mut leaving, &addresses), addresses },
                Err(reason) => Start::Unknown(reason),
            },
        };
        let starts: Vec<_> = wants.iter().zip(kept).map(begin).collect();
        let listeners: Vec<_> = wants.iter().zip(starts).map(|(want, start)| finish(want, start, &leaving)).collect();
        for socket in listeners.iter().flatten().flat_map(|listener| &listener.sockets) {
            let socket = Arc::downgrade(socket);
            if !self.open.iter().any(|known| known.ptr_eq(&socket)) {
                self.open.push(socket);
            }
        }
        listeners
    }
}

/// Takes the sockets of a listener out of those that leave, if they are all among them.
fn take_whole(leaving: &mut Vec<Arc<Socket>>, listener: &Listener) -> Option<Listener> {
    let among = |sockets: &[Arc<Socket>], wanted: &Arc<Socket>| sockets.iter().any(|one| Arc::ptr_eq(one, wanted));
    if !listener.sockets.iter().all(|socket| among(leaving, socket)) {
        return None;
    }
    leaving.retain(|socket| !among(&listener.sockets, socket));
    Some(listener.clone())
}

/// Takes the sockets at these very addresses. A port of the system's choice is nobody else's.
fn take_over(leaving: &mut Vec<Arc<Socket>>, addresses: &[SocketAddr]) -> Vec<Arc<Socket>> {
    let wanted = |socket: &mut Arc<Socket>| {
        addresses.contains(&socket.address) && (socket.address.is_ipv4() || socket.only_v6 == (addresses.len() > 1))
    };
    leaving.extract_if(.., wanted).collect()
}

fn finish(want: &Want<'_>, start: Start, leaving: &[Arc<Socket>]) -> Result<Listener, BindError> {
    let bound = match start {
        Start::Kept(listener) => return Ok(listener),
        Start::Unknown(reason) => Err(reason),
        Start::TakenOver { addresses, sockets } => bind_all(&addresses, |address, only_v6| {
            let taken = sockets.iter().find(|socket| socket.address == address).map(Arc::clone);
            let socket = taken.map_or_else(|| bind(address, only_v6, leaving), Ok)?;
            Ok((socket.address, socket))
        }),
    };
    bound.map(|sockets| Listener { sockets }).map_err(|reason| BindError {
        who: want.who.clone(),
        protocol: want.protocol,
        endpoint: want.endpoint.text.clone(),
        mark: want.endpoint.mark.clone(),
        reason,
    })
}

/// Binds a socket. `0.0.0.0:4317` and `127.0.0.1:4317` exclude each other, but not when one of them
/// is ours and leaves.
fn bind(address: SocketAddr, only_v6: bool, leaving: &[Arc<Socket>]) -> io::Result<Arc<Socket>> {
    let listener = match open(address, only_v6, false) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let port: Vec<_> = leaving.iter().filter(|socket| socket.address.port() == address.port()).collect();
            if port.is_empty() {
                return Err(error);
            }
            bind_beside(address, only_v6, &port)
        }
        other => other,
    }?;
    let address = listener.local_addr()?;
    Ok(Arc::new(Socket { address, listener: TcpListener::from_std(listener)?, only_v6 }))
}

/// Binds a socket beside ours at the same port. They agree to share it for no longer than that
/// takes; a process that does not ask to share, such as a second collector, stays excluded.
fn bind_beside(address: SocketAddr, only_v6: bool, port: &[&Arc<Socket>]) -> io::Result<std::net::TcpListener> {
    let share =
        |shared: bool| port.iter().try_for_each(|socket| SockRef::from(&socket.listener).set_reuse_port(shared));
    let bound = share(true).and_then(|()| open(address, only_v6, true));
    let unshared = share(false);
    let bound = bound?;
    unshared.and_then(|()| SockRef::from(&bound).set_reuse_port(false))?;
    Ok(bound)
}

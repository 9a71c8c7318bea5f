//! Addresses, the sockets that are bound to them, and the loop that accepts on them.
//!
//! Which sockets are new and which serve already is decided in [`super::sockets`].

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use super::endpoint::parts;

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Go's default: a peer that has vanished is noticed, a sleeping one is not disturbed.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long to leave the kernel alone that cannot accept (out of files or memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often to look for a port that is free on all addresses.
const PORT_ATTEMPTS: usize = 16;

/// Accepts for ever. What goes wrong with one connection costs only that connection; a kernel
/// without files or memory is given a pause.
pub async fn accept(socket: &TcpListener) -> TcpStream {
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                // A connection that is already gone tells so when it is read.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(event = "accept", %error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | TimedOut)
}

/// The addresses of a `host:port`, IPv4 first. An empty host is every address of the machine.
pub(super) fn resolve(endpoint: &str) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = parts(endpoint)?;
    if host.is_empty() {
        return Ok(vec![SocketAddr::new(IpAddr::from([0u16; 8]), port)]);
    }
    let mut addresses: Vec<_> = (host, port).to_socket_addrs().map_err(|error| error.to_string())?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    Ok(addresses)
}

/// Opens a socket at every one of the addresses that this machine has. `open` is told whether an
/// IPv6 socket must leave IPv4 alone.
///
/// # Errors
/// When one of the addresses is in use, or none can be had.
pub(super) fn bind_all<S>(
    addresses: &[SocketAddr],
    mut open: impl FnMut(SocketAddr, bool) -> io::Result<(SocketAddr, S)>,
) -> Result<Vec<S>, String> {
    let mut last = "the host has no address".to_owned();
    for _ in 0..PORT_ATTEMPTS {
        match bind_once(addresses, &mut open) {
            Ok(bound) => return Ok(bound),
            Err(Unbound { reason, other_port_may_do }) => {
                last = reason;
                if !other_port_may_do {
                    break;
                }
            }
        }
    }
    Err(last)
}

struct Unbound {
    reason: String,
    other_port_may_do: bool,
}

fn bind_once<S>(
    addresses: &[SocketAddr],
    open: &mut impl FnMut(SocketAddr, bool) -> io::Result<(SocketAddr, S)>,
) -> Result<Vec<S>, Unbound> {
    let mut bound = Vec::new();
    let mut port = None;
    let mut reason = "the host has no address".to_owned();
    for &wanted in addresses {
        let mut address = wanted;
        // With port 0 the others take the port that the first was given.
        address.set_port(port.unwrap_or(wanted.port()));
        // Beside an IPv4 socket, an IPv6 one must leave IPv4 alone.
        match open(address, addresses.len() > 1) {
            Ok((address, socket)) => {
                port = Some(address.port());
                bound.push(socket);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let other_port_may_do = wanted.port() == 0 && !bound.is_empty();
                return Err(Unbound {
                    reason: format!("port {} is in use at {}", address.port(), address.ip()),
                    other_port_may_do,
                });
            }
            // An address that this machine does not have: `localhost` without IPv6.
            Err(error) => reason = format!("{address}: {error}"),
        }
    }
    if bound.is_empty() { Err(Unbound { reason, other_port_may_do: false }) } else { Ok(bound) }
}

/// Opens a socket and listens. With `shared`, beside others of this user at the port that are
/// `shared` as well.
pub(super) fn open(address: SocketAddr, only_v6: bool, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Lets a restart take the port over from connections that linger; two listeners still
    // exclude each other.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    prepare(&socket)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes a socket one of ours, whoever has opened it.
pub(super) fn prepare(socket: &Socket) -> io::Result<()> {
    // Connections inherit it.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    socket.set_nonblocking(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_endpoint_without_a_port_is_refused() {
        assert!(resolve("localhost").is_err());
        assert!(resolve("localhost:http").is_err());
        assert_eq!(resolve("[::1]:4317").unwrap(), ["[::1]:4317".parse().unwrap()]);
        assert_eq!(resolve(":4317").unwrap(), ["[::]:4317".parse().unwrap()]);
    }
}

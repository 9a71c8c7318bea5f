//! Sockets of a supervisor that opens them itself, as systemd's socket activation does: they outlive
//! every process that serves on them.

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// The sockets that `LISTEN_FDS` says were passed to this process; what they are called does not
/// matter, where they are bound does. Must be called before the process has threads, because it takes
/// the variables out of the environment: they are not for its children.
///
/// # Errors
/// When one is no TCP socket.
pub fn passed() -> io::Result<Vec<TcpListener>> {
    let mut passed = ListenFd::from_env();
    (0..passed.len()).filter_map(|index| passed.take_tcp_listener(index).transpose()).collect()
}

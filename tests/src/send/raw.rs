//! Bytes on a socket, for what no proper client would send.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;

/// How long a server may take to answer or to hang up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes these bytes, closes the sending side, and reads until the server hangs up or has been
/// silent for five seconds.
///
/// # Errors
/// When nobody listens. That the server hangs up while it is written to is no error.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Ok(answer),
        }
    }
}

/// Writes these bytes and only then reads, until the server hangs up: what many clients do.
///
/// # Errors
/// When nobody listens, or the server does not take all of it or has been silent for five seconds.
pub fn ask(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Writes these bytes and breaks the connection off.
///
/// # Errors
/// When nobody listens.
pub fn break_off(address: SocketAddr, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let _ = stream.write_all(bytes);
    Ok(())
}

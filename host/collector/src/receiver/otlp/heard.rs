//! A connection that counts what was heard on it, and hears its sender out when it is closed.
//!
//! A system resets a connection that is closed while something is unread or comes after: its sender may then see
//! nothing of what it was told last, an answer or that nothing new is taken. So the side that is written to is closed,
//! and what comes is thrown away until the sender closes its side, too.

use std::cell::Cell;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::connection::LINGER;

/// Counts the bytes that are read from a stream.
pub(super) struct Heard<S> {
    stream: S,
    bytes: Rc<Cell<usize>>,
    /// How long the sender is heard out, once the stream is closed.
    until: Option<Pin<Box<Sleep>>>,
    /// What it has said since.
    thrown: usize,
}

/// What is thrown away at a time.
const THROWN: usize = 4 << 10;

/// What is thrown away in all: more than systems have on its way for one connection.
const MOST_THROWN: usize = 16 << 20;

impl<S> Heard<S> {
    /// Counts into `bytes`.
    pub fn new(stream: S, bytes: &Rc<Cell<usize>>) -> Self {
        Self { stream, bytes: Rc::clone(bytes), until: None, thrown: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        self.bytes.set(self.bytes.get().saturating_add(into.filled().len() - before));
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, until, thrown, .. } = &mut *self;
        if until.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        }
        let until = until.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        loop {
            if until.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = [0; THROWN];
            let mut buffer = ReadBuf::new(&mut buffer);
            // However it ends: everything was said.
            let is_over = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)).is_err();
            *thrown += buffer.filled().len();
            if is_over || buffer.filled().is_empty() || *thrown > MOST_THROWN {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

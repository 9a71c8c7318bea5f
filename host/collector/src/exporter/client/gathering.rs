//! A connection that gathers what is written one after the other into fewer writes.
//!
//! HTTP/2 writes and flushes each full frame of 16 KiB by itself, and each such write is a round through the
//! network stack that wakes the peer. Copying three frames of four costs less than three of these rounds: a
//! collector without plugins uses an eighth less CPU.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

/// How much is held back at most: four full frames and their headers go out together.
const HELD_BYTES: usize = 64 * 1024;

/// More pieces than this are not written at once; what HTTP/2 itself hands over is no more.
const PIECES: usize = 64;

/// A connection to a peer. What is written waits until there is [`HELD_BYTES`] of it, or until
/// its owner flushes and, when it is called the next time, has nothing to add.
#[derive(Debug)]
pub(super) struct Gathering<T> {
    stream: T,
    held: BytesMut,
    /// Something has been written since the last flush.
    is_fresh: bool,
}

impl<T> Gathering<T> {
    /// Gathers what is written to `stream`.
    pub fn new(stream: T) -> Self {
        Self { stream, held: BytesMut::new(), is_fresh: false }
    }
}

impl<T: Write + Unpin> Gathering<T> {
    /// Writes until nothing is held.
    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Connection> Connection for Gathering<T> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl<T: Read + Write + Unpin> Read for Gathering<T> {
    /// Who has flushed and reads waits for an answer: a TLS handshake does so without a second
    /// flush. If there is no room, reading goes on all the same.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_fresh
            && let Poll::Ready(Err(error)) = self.poll_release(context)
        {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<T: Write + Unpin> Write for Gathering<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        this.is_fresh = true;
        loop {
            if this.held.len() + bytes <= HELD_BYTES {
                for slice in slices {
                    this.held.extend_from_slice(slice);
                }
                return Poll::Ready(Ok(bytes));
            }
            if this.held.is_empty() {
                return Pin::new(&mut this.stream).poll_write_vectored(context, slices);
            }
            let held = IoSlice::new(&this.held);
            let all: Vec<_> = std::iter::once(held).chain(slices.iter().copied()).take(PIECES).collect();
            let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, &all))?;
            let of_held = written.min(this.held.len());
            this.held.advance(of_held);
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if written > of_held {
                return Poll::Ready(Ok(written - of_held));
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The first flush after a write only asks for its owner to be polled again: what is ready by
    /// then goes along. HTTP/2 flushes after each frame, and a last time when it has no more.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.is_fresh) {
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use std::future::poll_fn;

    use super::*;

    /// A stream that notes what each write took, and takes no more than `room` bytes at once.
    #[derive(Default)]
    struct Pipe {
        writes: Vec<Vec<u8>>,
        flushes: usize,
        room: usize,
        /// Every other write finds no room at all.
        is_slow: bool,
        was_ready: bool,
    }

    impl Write for Pipe {
        fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(context, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.was_ready = !self.was_ready;
            if self.is_slow && self.was_ready {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let taken: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(self.room).collect();
            self.writes.push(taken);
            Poll::Ready(Ok(self.writes.last().unwrap().len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Read for Pipe {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
            if self.writes.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
        }
    }

    fn gathering(room: usize) -> Gathering<Pipe> {
        Gathering::new(Pipe { room, ..Pipe::default() })
    }

    async fn write(stream: &mut Gathering<Pipe>, bytes: &[u8]) -> usize {
        poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await.unwrap()
    }

    async fn flush(stream: &mut Gathering<Pipe>) {
        poll_fn(|context| Pin::new(&mut *stream).poll_flush(context)).await.unwrap();
    }

    #[tokio::test]
    async fn frames_that_are_flushed_one_by_one_leave_together() {
        let mut stream = gathering(usize::MAX);
        for frame in 0..4 {
            assert_eq!(write(&mut stream, &[frame; 16_000]).await, 16_000);
            flush(&mut stream).await;
        }
        assert!(stream.stream.writes.is_empty() && stream.stream.flushes == 0);
        assert_eq!(write(&mut stream, &[4; 16_000]).await, 16_000);
        let [write] = stream.stream.writes.as_slice() else { panic!("one write") };
        let frames: Vec<u8> = (0..5).flat_map(|frame| [frame; 16_000]).collect();
        assert_eq!(*write, frames);
    }

    #[tokio::test]
    async fn a_second_flush_with_nothing_new_sends_what_is_held_and_is_passed_on() {
        let mut stream = gathering(usize::MAX);
        write(&mut stream, b"answer").await;
        flush(&mut stream).await;
        flush(&mut stream).await;
        assert_eq!(stream.stream.writes, [b"answer"]);
        assert_eq!(stream.stream.flushes, 1);
        poll_fn(|context| Pin::new(&mut stream).poll_write(context, b"last")).await.unwrap();
        poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context)).await.unwrap();
        assert_eq!(stream.stream.writes.concat(), b"answerlast");
    }

    /// Who flushes once and waits is called again, or the request would stay here.
    #[tokio::test]
    async fn the_first_flush_wakes_its_owner() {
        let mut stream = gathering(usize::MAX);
        write(&mut stream, b"request").await;
        poll_fn(|context| {
            assert!(Pin::new(&mut stream).poll_flush(context).is_ready());
            if stream.stream.writes.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        assert_eq!(stream.stream.writes, [b"request"]);
    }

    /// As TLS does in its handshake: it flushes once and then only reads.
    #[tokio::test]
    async fn who_waits_for_an_answer_has_sent_its_question() {
        let mut stream = gathering(usize::MAX);
        write(&mut stream, b"question").await;
        flush(&mut stream).await;
        let mut room = [0; 8];
        let mut room = hyper::rt::ReadBuf::new(&mut room);
        poll_fn(|context| Pin::new(&mut stream).poll_read(context, room.unfilled())).await.unwrap();
        assert_eq!(stream.stream.writes, [b"question"]);
    }

    proptest::proptest! {
        /// Whatever the sizes of the writes, and however little of them the peer takes at once, it
        /// gets the same bytes in the same order.
        #[test]
        fn nothing_is_lost_doubled_or_swapped(
            sizes in proptest::collection::vec(0_usize..100_000, 0..12),
            flushed in proptest::collection::vec(proptest::bool::ANY, 12),
            room in 1_usize..120_000,
            is_slow in proptest::bool::ANY,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let bytes: Vec<u8> = (0..sizes.iter().sum()).map(|at| (at % 251) as u8).collect();
            let mut stream = gathering(room.max(1_000));
            stream.stream.is_slow = is_slow;
            runtime.block_on(async {
                let mut at = 0;
                for (size, flushed) in sizes.iter().zip(flushed) {
                    let end = at + size;
                    while at < end {
                        at += write(&mut stream, &bytes[at..end]).await;
                    }
                    if flushed {
                        flush(&mut stream).await;
                    }
                }
                flush(&mut stream).await;
                flush(&mut stream).await;
            });
            proptest::prop_assert!(stream.stream.writes.concat() == bytes);
        }
    }
}

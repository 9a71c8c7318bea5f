//! Reading a request's body: bounded in bytes, in time, and by the budget of the process.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::connection::HTTP1_BUFFER;
use crate::receiver::admission::{Charge, OverBudget};

/// A sender that sends nothing for this long in the middle of a body has gone.
const STALL: Duration = Duration::from_secs(30);

/// Memory that a sender gets for only announcing a size, while there are few. Among many it gets as much again as
/// it has sent.
const CREDIT_BYTES: usize = 256 * 1024;

/// What is smaller may be a small part of a read buffer; copying it costs less than a microsecond. What is not is a
/// quarter of the largest one over HTTP/1; over HTTP/2 the buffer has grown for it.
const SMALL_BYTES: usize = HTTP1_BUFFER / 4;

/// How much of a refused body is read and thrown away, so that its sender, still sending, sees the
/// answer and not a reset connection.
const DISCARD_BYTES: usize = 128 * 1024 * 1024;
/// How long that may take.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("the request is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    #[error("the body has stopped coming")]
    Stalled,
    #[error("the sender has gone: {0}")]
    Gone(#[from] hyper::Error),
}

/// The next bytes of a body; `None` at its end. Trailers are passed by, and so are frames without
/// a byte: many clients end a request with one, and it must not look like a second piece.
pub(super) async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Unread> {
    loop {
        match tokio::time::timeout(STALL, body.frame()).await.map_err(|_| Unread::Stalled)?.transpose()? {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads what is left of a body after `first`, at most `limit` bytes in all. A body that came in
/// one piece is not copied unless it is small. `first` is charged already.
pub(super) async fn rest(
    first: Bytes,
    expected: usize,
    body: &mut Incoming,
    limit: usize,
    charge: &mut Charge,
) -> Result<Bytes, Unread> {
    if first.len() > limit {
        return Err(Unread::TooLarge { limit });
    }
    if body.is_end_stream() {
        return Ok(by_itself(first));
    }
    let mut gathered = Gathered { bytes: Vec::new(), charged: first.len(), expected, limit, charge };
    if first.len() < expected {
        gathered.add(first).await?;
    } else {
        // Most likely there is no more.
        let Some(more) = next(body).await? else { return Ok(by_itself(first)) };
        gathered.add(first).await?;
        gathered.add(more).await?;
    }
    while let Some(more) = next(body).await? {
        gathered.add(more).await?;
    }
    // What was not announced may have room for as much again.
    gathered.bytes.shrink_to_fit();
    Ok(gathered.bytes.into())
}

/// A body that came in one piece. It is a part of what was read from the connection at a time, and keeps all of that
/// in memory, for as long as it waits in a queue, where it counts as its bytes only.
fn by_itself(piece: Bytes) -> Bytes {
    if piece.len() < SMALL_BYTES { Bytes::copy_from_slice(&piece) } else { piece }
}

/// A body that comes in pieces. A piece is a part of what was read from the connection at a time, all of which it
/// keeps in memory; so none is kept.
struct Gathered<'c> {
    bytes: Vec<u8>,
    charged: usize,
    expected: usize,
    limit: usize,
    charge: &'c mut Charge,
}

impl Gathered<'_> {
    async fn add(&mut self, piece: Bytes) -> Result<(), Unread> {
        let needed = self.bytes.len() + piece.len();
        if needed > self.limit {
            return Err(Unread::TooLarge { limit: self.limit });
        }
        if needed > self.bytes.capacity() {
            let room = self.room(needed);
            // What it grows to is what it takes, whether or not it is filled.
            self.charge.grow(room.saturating_sub(self.charged)).await?;
            self.charged = self.charged.max(room);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(&piece);
        Ok(())
    }

    /// How much to have room for when so much is needed.
    fn room(&self, needed: usize) -> usize {
        let credit = if self.charge.is_crowded() { 0 } else { CREDIT_BYTES };
        let most = needed.saturating_mul(2).max(credit);
        let wanted = if needed > self.expected { needed * 2 } else { self.expected.min(most) };
        wanted.min(self.limit)
    }
}

/// Reads a whole body.
pub(super) async fn whole(body: &mut Incoming, limit: usize, charge: &mut Charge) -> Result<Bytes, Unread> {
    let expected = body.size_hint().lower();
    if expected > limit as u64 {
        return Err(Unread::TooLarge { limit });
    }
    let Some(first) = next(body).await? else { return Ok(Bytes::new()) };
    charge.grow(first.len()).await?;
    rest(first, usize::try_from(expected).unwrap_or(limit), body, limit, charge).await
}

/// Reads and throws away, within bounds.
pub(super) async fn discard(body: &mut Incoming) {
    let mut left = DISCARD_BYTES;
    // What happens to a body that nobody wants is of no interest.
    let _ = tokio::time::timeout(DISCARD_TIME, async {
        while let Ok(Some(bytes)) = next(body).await {
            left = left.saturating_sub(bytes.len());
            if left == 0 {
                break;
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::receiver::Admission;

    const MIB: usize = 1024 * 1024;

    /// What a body has room for after each piece, when so many connections are open. All of it is charged.
    fn rooms(connections: usize, expected: usize, limit: usize, pieces: &[usize]) -> Vec<usize> {
        let admission = Admission::default();
        let shares: Vec<_> = (0..connections).map(|_| admission.connection()).collect();
        let mut charge = shares[0].charge();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            charge.grow(pieces[0]).await.unwrap();
            let charged = pieces[0];
            let mut gathered = Gathered { bytes: Vec::new(), charged, expected, limit, charge: &mut charge };
            let mut rooms = Vec::new();
            for piece in pieces {
                gathered.add(vec![7; *piece].into()).await.unwrap();
                rooms.push(gathered.bytes.capacity());
                assert_eq!(admission.used(), gathered.bytes.capacity());
            }
            assert_eq!(gathered.bytes, vec![7; pieces.iter().sum()]);
            rooms
        })
    }

    #[test]
    fn one_of_few_senders_gets_room_for_what_it_announces_within_bounds() {
        assert_eq!(rooms(1, 20_000, MIB, &[16_384, 3_616]), [20_000, 20_000]);
        assert_eq!(rooms(32, 4 * MIB, 64 * MIB, &[1, 16_384]), [CREDIT_BYTES; 2]);
    }

    #[test]
    fn one_of_many_senders_gets_as_much_again_as_it_has_sent() {
        assert_eq!(rooms(33, 4 * MIB, 64 * MIB, &[1, 1, 1, 9_997]), [2, 2, 6, 20_000]);
        assert_eq!(rooms(33, 20_000, MIB, &[16_384, 3_616]), [20_000, 20_000]);
    }

    #[test]
    fn what_is_not_announced_gets_room_for_twice_as_much_but_never_beyond_the_limit() {
        assert_eq!(rooms(1, 0, MIB, &[8_192, 1, 8_192]), [16_384, 16_384, 32_770]);
        assert_eq!(rooms(1, 0, 10_000, &[8_192, 1_808]), [10_000, 10_000]);
    }

    #[test]
    fn a_body_beyond_the_limit_is_refused_before_there_is_room_for_it() {
        let admission = Admission::default();
        let mut charge = admission.connection().charge();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut gathered = Gathered { bytes: Vec::new(), charged: 0, expected: 0, limit: 100, charge: &mut charge };
            gathered.add(vec![7; 100].into()).await.unwrap();
            assert!(matches!(gathered.add(vec![7].into()).await, Err(Unread::TooLarge { limit: 100 })));
            assert_eq!((gathered.bytes.capacity(), admission.used()), (100, 100));
        });
    }
}

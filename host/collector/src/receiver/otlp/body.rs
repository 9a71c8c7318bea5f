//! Reading a request's body: bounded in bytes, in time, and by the budget of the process.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::receiver::admission::{Charge, OverBudget};

/// A sender that sends nothing for this long in the middle of a body has gone.
const STALL: Duration = Duration::from_secs(30);

/// Memory that a sender gets for only announcing a size.
const CREDIT_BYTES: usize = 256 * 1024;

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
/// one piece is not copied. `first` is charged already.
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
        return Ok(first);
    }
    let Some(mut next_bytes) = next(body).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(
        expected.clamp(first.len() + next_bytes.len(), CREDIT_BYTES.max(first.len() + next_bytes.len())),
    );
    whole.extend_from_slice(&first);
    loop {
        charge.grow(next_bytes.len()).await?;
        if whole.len() + next_bytes.len() > limit {
            return Err(Unread::TooLarge { limit });
        }
        whole.extend_from_slice(&next_bytes);
        match next(body).await? {
            Some(more) => next_bytes = more,
            None => return Ok(whole.freeze()),
        }
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

//! A request as it lies in a log: with the pipeline whose account it is in.
//!
//! | byte | size | |
//! | --- | --- | --- |
//! | 0 | 1 | 1, the version of this form |
//! | 1 | 4 | how many spans the request holds, little-endian |
//! | 5 | 2 | length of the pipeline's id, little-endian |
//! | 7 | | the pipeline's id, UTF-8 |
//! | | | the request, an OTLP `ExportTraceServiceRequest` |
//!
//! The spans are counted when the request is put in, because then its bytes are at hand: when it is taken
//! they have long left the processor's caches. From there on a checksum sees to it that they stay.

use std::borrow::Cow;

use bytes::{BufMut as _, Bytes, BytesMut};
use sluice_log::Payload;

use super::entry;

const VERSION: u8 = 1;
const FIXED: usize = 7;

/// How long it becomes.
pub(super) fn length(pipeline: &str, request: usize) -> usize {
    FIXED + pipeline.len() + request
}

/// Puts a request into its envelope. The request's bytes are not copied.
pub(super) fn seal(pipeline: &str, request: Bytes) -> Payload {
    let id = pipeline.as_bytes();
    // No configuration names a pipeline at such length; what is cut has another account, no more.
    let length = u16::try_from(id.len()).unwrap_or(u16::MAX);
    let mut head = BytesMut::with_capacity(self::length(pipeline, 0));
    head.put_u8(VERSION);
    head.put_u32_le(entry::count(&request));
    head.put_u16_le(length);
    head.put_slice(id.get(..usize::from(length)).unwrap_or(id));
    Payload::new(head.freeze(), request)
}

/// The pipeline's id, given the beginning of an envelope.
pub(super) fn pipeline(head: &[u8]) -> Option<&[u8]> {
    read(head).map(|(_, pipeline)| pipeline)
}

/// The number of spans, and the pipeline's id.
fn read(head: &[u8]) -> Option<(u32, &[u8])> {
    let (&[version, s0, s1, s2, s3, low, high], rest) = head.split_first_chunk()?;
    if version != VERSION {
        return None;
    }
    let id = rest.get(..usize::from(u16::from_le_bytes([low, high])))?;
    Some((u32::from_le_bytes([s0, s1, s2, s3]), id))
}

/// What was in an envelope.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened<'s> {
    /// The pipeline's id.
    pub pipeline: Cow<'s, str>,
    /// The spans of the request, as they were counted when it was put in.
    pub spans: u32,
    /// The request.
    pub request: Bytes,
}

/// Takes a request out of its envelope. `None` for what this code has not written.
pub(super) fn open(sealed: &Payload) -> Option<Opened<'_>> {
    let [head, rest] = sealed.parts();
    let (spans, id) = read(if head.is_empty() { rest } else { head })?;
    // What was sealed by this process is in two parts still.
    let request = if head.is_empty() { rest.slice(FIXED + id.len()..) } else { rest.clone() };
    Some(Opened { pipeline: String::from_utf8_lossy(id), spans, request })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn it_is_as_described() {
        // Two spans: a `ResourceSpans` (field 1) with a `ScopeSpans` (field 2) with two empty spans (field 2).
        let request = Bytes::from_static(b"\x0a\x06\x12\x04\x12\x00\x12\x00");
        let sealed = seal("traces/a", request.clone());
        let whole = sealed.whole();
        assert_eq!(&whole[..], b"\x01\x02\x00\x00\x00\x08\x00traces/a\x0a\x06\x12\x04\x12\x00\x12\x00");
        assert_eq!(sealed.len(), length("traces/a", request.len()));
        assert_eq!(pipeline(&whole[..16]), Some(&b"traces/a"[..]));
        for sealed in [sealed, whole.into()] {
            let opened = Opened { pipeline: "traces/a".into(), spans: 2, request: request.clone() };
            assert_eq!(open(&sealed).unwrap(), opened);
        }
    }

    #[test]
    fn what_is_none_is_told() {
        for bytes in [&b""[..], b"\x01", b"\x02\0\0\0\0\0\0", b"\x01\0\0\0\0\x05\x00abcd"] {
            assert!(open(&bytes.into()).is_none(), "{bytes:?}");
        }
    }
}

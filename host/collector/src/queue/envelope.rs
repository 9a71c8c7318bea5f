//! A request as it lies in a log: with the pipeline whose account it is in.
//!
//! | byte | size | |
//! | --- | --- | --- |
//! | 0 | 1 | 1, the version of this form |
//! | 1 | 2 | length of the pipeline's id, little-endian |
//! | 3 | | the pipeline's id, UTF-8 |
//! | | | the request, an OTLP `ExportTraceServiceRequest` |

use bytes::{BufMut as _, Bytes, BytesMut};

const VERSION: u8 = 1;
const FIXED: usize = 3;

/// How long it becomes.
pub(super) fn length(pipeline: &str, request: usize) -> usize {
    FIXED + pipeline.len() + request
}

/// Puts a request into its envelope.
pub(super) fn seal(pipeline: &str, request: &[u8]) -> Bytes {
    let id = pipeline.as_bytes();
    // No configuration names a pipeline at such length; what is cut has another account, no more.
    let length = u16::try_from(id.len()).unwrap_or(u16::MAX);
    let mut sealed = BytesMut::with_capacity(self::length(pipeline, request.len()));
    sealed.put_u8(VERSION);
    sealed.put_u16_le(length);
    sealed.put_slice(id.get(..usize::from(length)).unwrap_or(id));
    sealed.put_slice(request);
    sealed.freeze()
}

/// The pipeline's id, given the beginning of an envelope.
pub(super) fn pipeline(head: &[u8]) -> Option<&[u8]> {
    let (&[version, low, high], rest) = head.split_first_chunk()?;
    if version != VERSION {
        return None;
    }
    rest.get(..usize::from(u16::from_le_bytes([low, high])))
}

/// Takes a request out of its envelope. `None` for what this code has not written.
pub(super) fn open(sealed: &Bytes) -> Option<(String, Bytes)> {
    let id = pipeline(sealed)?;
    let name = String::from_utf8_lossy(id).into_owned();
    Some((name, sealed.slice(FIXED + id.len()..)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn it_is_as_described() {
        let sealed = seal("traces/a", b"request");
        assert_eq!(&sealed[..], b"\x01\x08\x00traces/arequest");
        assert_eq!(sealed.len(), length("traces/a", 7));
        assert_eq!(open(&sealed).unwrap(), ("traces/a".to_owned(), Bytes::from_static(b"request")));
        assert_eq!(pipeline(&sealed[..12]), Some(&b"traces/a"[..]));
    }

    #[test]
    fn what_is_none_is_told() {
        for bytes in [&b""[..], b"\x01", b"\x02\x00\x00", b"\x01\x05\x00abcd"] {
            assert!(open(&Bytes::from_static(bytes)).is_none(), "{bytes:?}");
        }
    }
}

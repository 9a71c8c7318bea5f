//! Counts the spans of an OTLP request as its bytes pass by.

use anyhow::{Context as _, Result, bail, ensure};

/// The numbers of the fields on the way from a request to its spans, all of them messages:
/// `resource_spans`, `scope_spans`, `spans`.
const WAY: [u64; 3] = [1, 2, 2];

/// The wire types of fields that begin with a number: the value itself, or a length.
const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// Counts the spans of an OTLP request that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct SpanCounter {
    spans: u64,
    /// How far on the way we are: the bytes that are left of each message that encloses us.
    inside: Vec<u64>,
    /// Bytes of the present field that say nothing to us.
    skip: u64,
    /// The bytes so far of the number that is being read, and how many there were.
    number: (u64, u32),
    /// The key, once it was read, of the field whose length or value is being read.
    key: Option<u64>,
}

impl SpanCounter {
    /// Reads the next piece.
    ///
    /// # Errors
    /// When it is not protobuf.
    pub fn read(&mut self, mut piece: &[u8]) -> Result<()> {
        loop {
            let skipped = self.skip.min(piece.len() as u64);
            self.skip -= skipped;
            self.pass(skipped)?;
            self.leave();
            piece = piece.get(skipped as usize..).unwrap_or_default();
            // Nearly every field is passed by here; what is cut off goes byte by byte.
            if self.key.is_none()
                && self.number.1 == 0
                && let Some((key, length, rest)) = field(piece)
            {
                self.pass((piece.len() - rest.len() - 1) as u64)?;
                self.value_read(key, length)?;
                piece = rest;
                continue;
            }
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.byte(byte)?;
        }
    }

    /// How many spans there were.
    ///
    /// # Errors
    /// When the request ended within something.
    pub fn finish(self) -> Result<u64> {
        let is_whole = self.inside.is_empty() && self.skip == 0 && self.key.is_none() && self.number.1 == 0;
        ensure!(is_whole, "a request that is cut off");
        Ok(self.spans)
    }

    /// Takes a byte of a key, a length or a varint.
    fn byte(&mut self, byte: u8) -> Result<()> {
        let (value, read) = self.number;
        ensure!(read < 10, "a varint that is too long");
        let value = value | u64::from(byte & 0x7f).checked_shl(7 * read).unwrap_or(0);
        self.number = (value, read + 1);
        if byte & 0x80 == 0 {
            self.number = (0, 0);
            return match self.key.take() {
                None => self.key_read(value),
                Some(key) => self.value_read(key, value),
            };
        }
        self.pass(1)
    }

    fn key_read(&mut self, key: u64) -> Result<()> {
        match key % 8 {
            VARINT | BYTES => self.key = Some(key),
            1 => self.skip = 8,
            5 => self.skip = 4,
            other => bail!("wire type {other}"),
        }
        self.pass(1)
    }

    fn value_read(&mut self, key: u64, value: u64) -> Result<()> {
        self.pass(1)?;
        if key % 8 == VARINT {
            self.leave();
            return Ok(());
        }
        if let Some(left) = self.inside.last() {
            ensure!(value <= *left, "a field that is longer than its message");
        }
        let depth = self.inside.len();
        if WAY.get(depth) != Some(&(key >> 3)) {
            self.skip = value;
        } else if depth + 1 == WAY.len() {
            self.spans += 1;
            self.skip = value;
        } else if value > 0 {
            // What is inside counts for those around as a whole.
            if let Some(left) = self.inside.last_mut() {
                *left -= value;
            }
            self.inside.push(value);
            return Ok(());
        }
        self.leave();
        Ok(())
    }

    /// So many bytes of the innermost message have passed.
    fn pass(&mut self, bytes: u64) -> Result<()> {
        if let Some(left) = self.inside.last_mut() {
            *left = left.checked_sub(bytes).context("a message that ends within a field")?;
        }
        Ok(())
    }

    /// Leaves the messages that are over, once a field is over.
    fn leave(&mut self) {
        if self.skip == 0 && self.key.is_none() && self.number.1 == 0 {
            while self.inside.last() == Some(&0) {
                self.inside.pop();
            }
        }
    }
}

/// The key and the length of a field, if it has a length of at most two bytes and a key of one, and what
/// comes after them.
fn field(piece: &[u8]) -> Option<(u64, u64, &[u8])> {
    let ([key, low, high], _) = piece.split_first_chunk::<3>()?;
    if key & 0x80 != 0 || u64::from(key % 8) != BYTES {
        return None;
    }
    let (length, used) = match (low & 0x80, high & 0x80) {
        (0, _) => (u64::from(*low), 2),
        (_, 0) => (u64::from(low & 0x7f) | u64::from(*high) << 7, 3),
        _ => return None,
    };
    Some((u64::from(*key), length, piece.get(used..)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message as _;

    use super::SpanCounter;
    use crate::traffic;

    fn count(wire: &[u8], piece: usize) -> anyhow::Result<u64> {
        let mut counter = SpanCounter::default();
        wire.chunks(piece).try_for_each(|piece| counter.read(piece))?;
        counter.finish()
    }

    /// How many spans `prost` finds.
    fn decoded(wire: &[u8]) -> u64 {
        let request = ExportTraceServiceRequest::decode(wire).unwrap();
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.map(|scope| scope.spans.len() as u64).sum()
    }

    #[test]
    fn spans_are_counted_in_pieces_of_any_size() {
        for wire in traffic::generated(3).iter().take(5) {
            for piece in [1, 2, 7, 1000, usize::MAX] {
                assert_eq!(count(wire, piece).unwrap(), decoded(wire), "pieces of {piece}");
            }
        }
    }

    #[test]
    fn empty_messages_count_for_what_they_are() {
        let scope = |spans| ScopeSpans { spans: vec![Span::default(); spans], ..ScopeSpans::default() };
        let resource = |scope_spans| ResourceSpans { scope_spans, ..ResourceSpans::default() };
        let resource_spans = vec![
            resource(vec![scope(0), scope(3)]),
            resource(vec![]),
            resource(vec![scope(1), ScopeSpans { schema_url: "x".to_owned(), ..scope(2) }]),
        ];
        let wire = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        for piece in 1..wire.len() {
            assert_eq!(count(&wire, piece).unwrap(), 6, "pieces of {piece}");
        }
        assert_eq!(count(b"", 1).unwrap(), 0);
    }

    #[test]
    fn what_is_cut_off_is_not_counted() {
        let wire = traffic::generated(4).remove(0);
        for end in [1, 2, 10, wire.len() / 2, wire.len() - 1] {
            assert!(count(&wire[..end], 100).is_err(), "cut off at {end} of {}", wire.len());
        }
        assert!(count(&[0xff; 20], 20).is_err(), "a varint without an end");
    }
}

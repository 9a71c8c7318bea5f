//! The batch: bytes, what is known of them, and the index into them.

use bytes::Bytes;

use crate::lease::Lease;
use crate::record::SpanParts;
use crate::store::Store;
use crate::walk::{Request, validate_with};
use crate::{Malformed, Table, Verdict};

/// A batch of spans in wire format. The default is an empty one.
///
/// Reads take `&mut self` because the index is built when it is first asked for: span boundaries
/// with the first read of all, the fields and the attributes of a table with the first read of
/// them. Row numbers are dense: rows dropped by an earlier commit are not counted.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) store: Store,
    pub(crate) index: Lease,
    pub(crate) verdict: Verdict,
    /// Whether any commit has changed anything.
    pub(crate) is_changed: bool,
    /// An upper bound of what commits have added to the output, in bytes.
    pub(crate) grown: usize,
    /// The requests that it was put together from; none if it is one request.
    pub(crate) requests: Vec<Request>,
}

/// The largest request that is indexed while it is validated, in bytes: an index can be sixteen
/// times as large as what it indexes.
pub(crate) const MAX_INDEXED: usize = 1 << 18;

impl Batch {
    /// Validates `wire` and wraps it. What is going to be asked for most likely, the fields and
    /// attributes of spans, is indexed by the same walk, unless the request is so large that an
    /// index of all of it at a time would be too much. For a batch that nobody may look into,
    /// [`crate::validate`] and [`Batch::from_validated`] cost less.
    ///
    /// # Errors
    /// See [`crate::validate`].
    pub fn parse(wire: Bytes) -> Result<Self, Malformed> {
        let mut all = [Request::all_of(&wire)];
        Self::parse_requests(wire, &mut all)
    }

    /// See [`Batch::parse`]; `requests` fill `wire`.
    pub(crate) fn parse_requests(wire: Bytes, requests: &mut [Request]) -> Result<Self, Malformed> {
        if wire.len() > MAX_INDEXED {
            let (verdict, ()) = validate_with(&wire, requests, ())?;
            return Ok(Self::from_validated(wire, verdict));
        }
        let (verdict, parts) = validate_with(&wire, requests, SpanParts::with_capacity(wire.len()))?;
        let mut batch = Self::from_validated(wire, verdict);
        // Irregular spans are indexed in copies that are normalised first.
        if !verdict.irregular {
            batch.index = parts.into_index();
        }
        Ok(batch)
    }

    /// Wraps bytes that [`crate::validate`] has accepted with that verdict. Of other bytes the reads
    /// are unspecified, but nothing panics.
    pub fn from_validated(wire: Bytes, verdict: Verdict) -> Self {
        Self { store: Store { wire, arena: Vec::new() }, verdict, ..Self::default() }
    }

    /// How many rows a table has.
    pub fn len(&mut self, table: Table) -> usize {
        self.load_rows(table);
        self.index.table(table).rows.len()
    }

    /// What validating found out, with the number of spans as it is now.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// How many spans there are now. Costs nothing.
    pub fn spans(&self) -> u32 {
        self.verdict.spans
    }

    /// Whether there are no spans. Costs nothing.
    pub fn is_empty(&self) -> bool {
        self.verdict.spans == 0
    }

    /// How many bytes the batch came in as.
    pub fn wire_len(&self) -> usize {
        self.store.wire.len()
    }

    pub(crate) fn load_rows(&mut self, table: Table) {
        self.index.load_rows(&mut self.store, self.verdict, table);
    }

    pub(crate) fn load_fields(&mut self, table: Table) {
        self.index.load_fields(&mut self.store, self.verdict, table);
    }

    /// For who reads the entries of rows.
    pub(crate) fn load_attributes(&mut self, table: Table) {
        self.find_attributes(table);
        if let Some(attributes) = &mut self.index.table_mut(table).attributes {
            attributes.spread();
        }
    }

    /// For who edits attributes, or looks for a key that is not common.
    pub(crate) fn find_attributes(&mut self, table: Table) {
        self.index.find_attributes(&mut self.store, self.verdict, table);
    }

    /// For who looks for a key. Whether all rows have it in common, which then stays apart.
    pub(crate) fn find_attribute(&mut self, table: Table, key: &[u8]) -> bool {
        self.find_attributes(table);
        let attributes = self.index.table(table).attributes.as_ref();
        attributes.is_some_and(|attributes| attributes.is_common(&self.store, key))
    }
}

//! An index on loan. Its memory is that of the batch before on this thread: a chain works on one request after the
//! other, and to ask the allocator for a dozen lists anew for each costs as much as a call of a plugin.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;

use crate::index::Index;

/// What a thread keeps at most between two batches, in bytes: what the index of 512 spans takes.
const KEPT_BYTES: usize = 512 << 10;

thread_local! {
    static SPARE: Cell<Option<Box<Index>>> = const { Cell::new(None) };
}

/// What a batch knows that nobody has looked into.
static NOTHING: LazyLock<Index> = LazyLock::new(Index::default);

/// A batch's index, which the batch has from when somebody writes into it.
#[derive(Debug, Default)]
pub(crate) struct Lease(Option<Box<Index>>);

impl Deref for Lease {
    type Target = Index;

    #[inline]
    fn deref(&self) -> &Index {
        match &self.0 {
            Some(index) => index,
            None => &NOTHING,
        }
    }
}

impl DerefMut for Lease {
    #[inline]
    fn deref_mut(&mut self) -> &mut Index {
        self.0.get_or_insert_with(|| SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut index) = self.0.take() else { return };
        if index.heap_bytes() <= KEPT_BYTES {
            index.clear();
            // A thread that is ending keeps nothing any more.
            let _ = SPARE.try_with(|spare| spare.set(Some(index)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::{Batch, Table};

    /// A request of so many spans with an attribute `k` of one letter, an event and a status each, by hand.
    fn request(spans: usize) -> Vec<u8> {
        let attribute = [0x4A, 8, 0x0A, 1, b'k', 0x12, 3, 0x0A, 1, b'v'];
        let event = [0x5A, 3, 0x12, 1, b'e'];
        let status = [0x7A, 2, 0x18, 2];
        let ids = [&[0x0A, 16][..], &[7; 16], &[0x12, 8], &[9; 8]].concat();
        let span = [&ids[..], &attribute, &event, &status].concat();
        let framed = |key: u8, content: &[u8]| {
            let len = content.len();
            [&[key, (len & 0x7F | 0x80) as u8, (len >> 7 & 0x7F | 0x80) as u8, (len >> 14) as u8], content].concat()
        };
        framed(0x0A, &framed(0x12, &framed(0x12, &span).repeat(spans)))
    }

    /// What is there of a batch: rows of all tables, and a column of each kind.
    fn look(batch: &mut Batch) -> (Vec<usize>, Vec<u64>, Vec<u8>, Vec<u8>) {
        let rows = Table::ALL.map(|table| batch.len(table)).to_vec();
        let codes = batch.numbers(Table::Spans, crate::fields::span::STATUS_CODE).unwrap();
        let names = batch.texts(Table::Events, crate::fields::event::NAME).unwrap().bytes;
        (rows, codes, names, batch.attribute(Table::Spans, b"k").unwrap().values.texts.bytes)
    }

    #[test]
    fn nothing_of_the_batch_before_is_seen() {
        for spans in [3, 40, 1, 0, 2] {
            let mut batch = Batch::parse(request(spans).into()).unwrap();
            let seen = look(&mut batch);
            assert_eq!(seen.0, [1, 1, spans, spans, 0]);
            assert_eq!((seen.1, seen.2), (vec![2; spans], vec![b'e'; spans]));
            assert_eq!(seen.3, vec![b'v'; spans]);
        }
    }

    #[test]
    fn memory_is_kept_for_the_next_batch_but_not_that_of_a_large_one() {
        let kept = || {
            let spare = SPARE.take();
            let bytes = spare.as_ref().map(|index| index.heap_bytes());
            SPARE.set(spare);
            bytes
        };
        SPARE.set(None);
        look(&mut Batch::parse(request(40).into()).unwrap());
        let after_forty = kept().expect("an index is kept");
        assert!(after_forty > 40 * size_of::<crate::index::Row>());
        look(&mut Batch::parse(request(1).into()).unwrap());
        assert_eq!(kept(), Some(after_forty), "a smaller batch needs no more");
        look(&mut Batch::parse(request(4000).into()).unwrap());
        assert_eq!(kept(), None, "that of a large batch is given back");
    }
}

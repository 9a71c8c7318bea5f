//! Every string of a batch in one piece.

use std::ops::Range;

use crate::batch::{Refusal, Table};
use crate::columns::{Texts, kind};

/// The refusal code of an answer that is not understood.
const UNKNOWN: u32 = 2;

/// Every string that a plugin may read, section after section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strings {
    /// The sections, in the order of their texts. One in which there is no byte to be read is left
    /// out.
    pub sections: Vec<Section>,
    /// The type of each text; see [`kind`].
    pub types: Vec<u8>,
    /// The texts; what is neither string, bytes, array nor map is empty.
    pub texts: Texts,
}

/// The attribute entries of a table, or one of its text fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The table.
    pub table: Table,
    /// The field; none for attributes.
    pub field: Option<u32>,
    /// Which texts are its own. Of attributes they are the entries in order, else the rows.
    pub texts: Range<usize>,
}

impl Strings {
    pub(crate) fn new(sections: &[u32], types: Vec<u8>, texts: Texts) -> Result<Self, Refusal> {
        let mut from = 0;
        let section = |&[table, field, count]: &[u32; 3]| {
            let table = Table::ALL.get(table as usize).copied();
            let message = "the host shows a table that this plugin does not know".to_owned();
            let table = table.ok_or(Refusal { code: UNKNOWN, message })?;
            let texts = from..from + count as usize;
            from = texts.end;
            Ok(Section { table, field: (field != 0).then_some(field), texts })
        };
        let sections = sections.as_chunks().0.iter().map(section).collect::<Result<_, Refusal>>()?;
        Ok(Self { sections, types, texts })
    }

    /// The type of text `i`.
    pub fn kind(&self, i: usize) -> u8 {
        self.types.get(i).copied().unwrap_or(kind::ABSENT)
    }
}

//! Values out of bytes: mostly such that mean something, often such that nearly do.

use super::super::generated::sluice::plugin::columns::{Texts, Values};

/// Items of a list, seldom one more than any function takes.
const ITEMS: u32 = 5;
const TOO_MANY: usize = (1 << 16) + 1;

/// Keys, names and columns, some of which the batch, the table and the grants know.
const WORDS: [&str; 12] = ["a", "ab", "t", "name", "value", "schlüssel", "", "plugin", "a.0", "*", "host", "x y"];

const TABLES: [&str; 7] = ["resources", "scopes", "spans", "events", "links", "tables", "nothing"];
const RIGHTS: [&str; 8] =
    ["name", "ids", "drop", "status_code", "attributes:a", "attributes:a*", "attributes:*", "nothing"];

/// Fields of tables, and a number that is none.
const FIELDS: [u32; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 1003, 1502, 1503, 99];

/// Bytes that choose. When they are used up it is all zeros.
pub(super) struct Source<'b> {
    bytes: &'b [u8],
}

impl<'b> Source<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    pub(super) fn below(&mut self, most: u32) -> u32 {
        u32::from(self.byte()) % most.max(1)
    }

    /// Never when the bytes are used up.
    pub(super) fn one_in(&mut self, many: u32) -> bool {
        self.below(many) == many - 1
    }

    fn pick<T: Copy>(&mut self, from: &[T], default: T) -> T {
        let place = self.below(from.len() as u32) as usize;
        from.get(place).copied().unwrap_or(default)
    }

    pub(super) fn u64(&mut self) -> u64 {
        match self.below(8) {
            0 => u64::MAX - u64::from(self.byte() % 4),
            1 => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
            _ => u64::from(self.byte() % 8),
        }
    }

    pub(super) fn u32(&mut self) -> u32 {
        match self.below(8) {
            0 => u32::MAX - self.below(4),
            1 => self.u64() as u32,
            _ => self.below(4),
        }
    }

    pub(super) fn f64(&mut self) -> f64 {
        let odd = [0.0, 1.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE];
        if self.one_in(4) { f64::from_bits(self.u64()) } else { self.pick(&odd, 0.0) }
    }

    /// A table, seldom one that is none.
    pub(super) fn table(&mut self) -> u32 {
        if self.one_in(16) { self.u32() } else { self.below(5) }
    }

    pub(super) fn field(&mut self) -> u32 {
        if self.one_in(16) { self.u32() } else { self.pick(&FIELDS, 1) }
    }

    pub(super) fn text(&mut self) -> String {
        match self.below(16) {
            0 => "k".repeat(1 << 11),
            // As the way through a record of a `MaxMind` database.
            2 => ".".repeat(1 << (8 + self.below(8))),
            1 => String::from_utf8_lossy(&self.list(Self::byte)).into_owned(),
            _ => self.pick(&WORDS, "a").to_owned(),
        }
    }

    /// What stands in a plugin's access.
    pub(super) fn grant(&mut self) -> String {
        match self.below(6) {
            0 => self.text(),
            1 => format!("tables:{}", self.text()),
            2 => "*".to_owned(),
            _ => format!("{}.{}", self.pick(&TABLES, "spans"), self.pick(&RIGHTS, "name")),
        }
    }

    pub(super) fn list<T: Clone>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        if self.one_in(200) {
            return vec![item(self); TOO_MANY];
        }
        (0..self.below(ITEMS)).map(|_| item(self)).collect()
    }

    /// Texts whose ends mostly fit.
    pub(super) fn texts(&mut self) -> Texts {
        let (mut ends, mut bytes) = (Vec::new(), Vec::new());
        if self.one_in(3) {
            return Texts { ends, bytes };
        }
        for text in self.list(Self::text) {
            if self.one_in(32) {
                bytes.push(0xff);
            }
            bytes.extend(text.into_bytes());
            ends.push(bytes.len() as u32);
        }
        if self.one_in(8) {
            ends = self.list(Self::u32);
        }
        Texts { ends, bytes }
    }

    /// Values whose columns mostly have one length.
    pub(super) fn values(&mut self) -> Values {
        if self.one_in(4) {
            return Values { types: self.list(Self::byte), numbers: self.list(Self::u64), texts: self.texts() };
        }
        let (mut types, mut numbers, mut texts) =
            (Vec::new(), Vec::new(), Texts { ends: Vec::new(), bytes: Vec::new() });
        for _ in 0..=self.below(3) {
            types.push(self.below(10) as u8);
            numbers.push(self.u64());
            texts.bytes.extend(self.text().into_bytes());
            texts.ends.push(texts.bytes.len() as u32);
        }
        Values { types, numbers, texts }
    }
}

//! Columns: flat lists of integers and bytes.

/// The types of attribute values: the field numbers of OTLP's `AnyValue`.
pub mod kind {
    /// No value.
    pub const ABSENT: u8 = 0;
    /// Text.
    pub const STRING: u8 = 1;
    /// 0 or 1.
    pub const BOOL: u8 = 2;
    /// A signed integer.
    pub const INT: u8 = 3;
    /// A double, as bits.
    pub const DOUBLE: u8 = 4;
    /// An array, as protobuf bytes.
    pub const ARRAY: u8 = 5;
    /// A map, as protobuf bytes.
    pub const KVLIST: u8 = 6;
    /// Bytes.
    pub const BYTES: u8 = 7;
}

/// Strings back to back: string `i` is `bytes[ends[i - 1]..ends[i]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// Where each ends.
    pub ends: Vec<u32>,
    /// All of them.
    pub bytes: Vec<u8>,
}

impl Texts {
    /// One text.
    pub fn one(text: &str) -> Self {
        let mut texts = Self::default();
        texts.push(text.as_bytes());
        texts
    }

    /// Adds a text.
    pub fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len() as u32);
    }

    /// Text `i`; empty if there is none.
    pub fn get(&self, i: usize) -> &[u8] {
        let from = if i == 0 { 0 } else { self.ends.get(i - 1).copied().unwrap_or(0) as usize };
        let to = self.ends.get(i).copied().unwrap_or(0) as usize;
        self.bytes.get(from..to).unwrap_or_default()
    }

    /// Text `i` as a string; the host gives nothing that is not UTF-8 as text.
    pub fn str(&self, i: usize) -> &str {
        match self.get(i) {
            // Most fields that may be empty are.
            [] => "",
            text => str::from_utf8(text).unwrap_or_default(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Attribute values: a type each, and a number or a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// See [`kind`].
    pub types: Vec<u8>,
    /// One each, or none at all if no value is a number.
    pub numbers: Vec<u64>,
    /// One each, or none at all if no value is a text.
    pub texts: Texts,
}

impl Values {
    /// One string.
    pub fn string(text: &str) -> Self {
        Self { types: vec![kind::STRING], numbers: Vec::new(), texts: Texts::one(text) }
    }

    /// One integer.
    pub fn int(value: i64) -> Self {
        Self::number(kind::INT, value as u64)
    }

    /// One boolean.
    pub fn bool(value: bool) -> Self {
        Self::number(kind::BOOL, u64::from(value))
    }

    /// One double.
    pub fn double(value: f64) -> Self {
        Self::number(kind::DOUBLE, value.to_bits())
    }

    fn number(kind: u8, bits: u64) -> Self {
        Self { types: vec![kind], numbers: vec![bits], texts: Texts::default() }
    }

    /// One value that is not there.
    pub fn absent() -> Self {
        Self { types: vec![kind::ABSENT], ..Self::default() }
    }

    /// Strings.
    pub fn strings(texts: Texts) -> Self {
        Self { types: vec![kind::STRING; texts.len()], numbers: Vec::new(), texts }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// The type of value `i`.
    pub fn kind(&self, i: usize) -> u8 {
        self.types.get(i).copied().unwrap_or(kind::ABSENT)
    }

    /// Value `i` if it is a string.
    pub fn str(&self, i: usize) -> Option<&str> {
        (self.kind(i) == kind::STRING).then(|| self.texts.str(i))
    }

    /// The bits of value `i`; 0 if it is no number.
    pub fn bits(&self, i: usize) -> u64 {
        self.numbers.get(i).copied().unwrap_or(0)
    }

    /// Adds value `i` of `other`.
    pub fn push_from(&mut self, other: &Self, i: usize) {
        self.push(other.kind(i), other.bits(i), other.texts.get(i));
    }

    /// Adds a value: a type, its bits if it is a number, its bytes if it is a text.
    pub fn push(&mut self, kind: u8, bits: u64, bytes: &[u8]) {
        self.types.push(kind);
        self.numbers.push(bits);
        self.texts.push(bytes);
    }
}

/// One attribute over all rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// A value a row, of the key's first occurrence.
    pub values: Values,
    /// Rows in which the key occurs again.
    pub duplicates: Vec<u32>,
}

/// Every occurrence of every granted attribute of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// The row of each.
    pub owners: Vec<u32>,
    /// The value of each.
    pub values: Values,
}

/// The keys of entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryKeys {
    /// For each entry, its key's place in the dictionary.
    pub keys: Vec<u32>,
    /// The keys.
    pub dictionary: Texts,
}

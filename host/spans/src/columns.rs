//! The shapes of column reads and writes: flat lists of integers and bytes.

/// `n` strings back to back: string `i` is `bytes[ends[i - 1]..ends[i]]`, from 0 for the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// Where each string ends; never falls, and its last item is the length of `bytes`.
    pub ends: Vec<u32>,
    /// The strings themselves.
    pub bytes: Vec<u8>,
}

impl Texts {
    /// No strings.
    pub fn new() -> Self {
        Self::default()
    }

    /// No strings yet, but room for so many, with so many bytes in all.
    pub fn with_capacity(texts: usize, bytes: usize) -> Self {
        Self { ends: Vec::with_capacity(texts), bytes: Vec::with_capacity(bytes) }
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no strings.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// String `i`; empty if there is none, or if `ends` is not well formed.
    pub fn get(&self, i: usize) -> &[u8] {
        let start = match i.checked_sub(1) {
            None => 0,
            Some(before) => self.ends.get(before).copied().unwrap_or(0),
        };
        let end = self.ends.get(i).copied().unwrap_or(start);
        self.bytes.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Appends a string.
    pub fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len() as u32);
    }

    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Whether `ends` never falls and ends with the length of `bytes`.
    pub fn is_well_formed(&self) -> bool {
        self.ends.is_sorted() && self.ends.last().copied().unwrap_or(0) as usize == self.bytes.len()
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Texts {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut texts = Self::new();
        for item in items {
            texts.push(item.as_ref());
        }
        texts
    }
}

/// `n` attribute values (OTLP `AnyValue`).
///
/// A bool is 0 or 1 in `numbers`, an int its two's complement, a double its IEEE 754 bits. A
/// string and a byte value are in `texts` as they are, an array and a kvlist as the protobuf
/// bytes of their `ArrayValue` or `KeyValueList`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// The `AnyValue`'s field number: 0 absent, 1 string, 2 bool, 3 int, 4 double, 5 array,
    /// 6 kvlist, 7 bytes, 8 string table index.
    pub types: Vec<u8>,
    /// `n` items, or none if no value is a number.
    pub numbers: Vec<u64>,
    /// `n` texts, or none if no value is a text; empty for what is not a text.
    pub texts: Texts,
}

impl Values {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// One string value, to be set on every row that an edit names.
    pub fn string(text: &str) -> Self {
        Self::strings([text])
    }

    /// String values.
    pub fn strings<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Self {
        let texts: Texts = texts.into_iter().collect();
        Self { types: vec![1; texts.len()], numbers: Vec::new(), texts }
    }

    /// One int value.
    pub fn int(value: i64) -> Self {
        Self::number(3, value as u64)
    }

    /// One bool value.
    pub fn bool(value: bool) -> Self {
        Self::number(2, u64::from(value))
    }

    /// One double value.
    pub fn double(value: f64) -> Self {
        Self::number(4, value.to_bits())
    }

    fn number(kind: u8, number: u64) -> Self {
        Self { types: vec![kind], numbers: vec![number], texts: Texts::new() }
    }
}

/// One attribute key over all rows of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// The value of the key's first occurrence in each row; type 0 where there is none.
    pub values: Values,
    /// The rows in which the key occurs again, ascending.
    pub duplicates: Vec<u32>,
}

/// Every occurrence of every granted attribute of a table, in the order of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// The row of each entry; never falls.
    pub owners: Vec<u32>,
    /// The value of each entry.
    pub values: Values,
}

/// The keys of [`Entries`]: item `i` of `keys` says which text of the dictionary is the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryKeys {
    /// One number an entry.
    pub keys: Vec<u32>,
    /// The keys that occur, each once, in the order of their first use.
    pub dictionary: Texts,
}

//! One value, and values as columns.

use std::hash::{Hash, Hasher};

use sluice_spans::{Refusal, Values};

/// What an entry costs beside the bytes of its key and value: its place in the map and in the order
/// of expiry, and what allocating them costs. Measured with keys of 16 bytes.
pub const ENTRY_BYTES: usize = 200;

/// The types of values, as in the contract: the field numbers of OTLP's `AnyValue`.
const ABSENT: u8 = 0;
const STRING: u8 = 1;
const BOOL: u8 = 2;
pub(super) const INT: u8 = 3;
const DOUBLE: u8 = 4;
const BYTES: u8 = 7;

/// A stored value. Its type is that of an attribute.
#[derive(Debug, Clone)]
pub enum Value {
    /// A bool, an int or a double.
    Number {
        /// Its type.
        kind: u8,
        /// Its bits.
        bits: u64,
    },
    /// Anything else.
    Text {
        /// Its type.
        kind: u8,
        /// Its bytes.
        bytes: Box<[u8]>,
    },
}

/// Equal is what has the same type and the same bits; so a NaN equals itself.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.bits() == other.bits() && self.bytes() == other.bytes()
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.kind(), self.bits(), self.bytes()).hash(state);
    }
}

impl Value {
    /// An int.
    pub fn int(value: i64) -> Self {
        Self::Number { kind: INT, bits: value as u64 }
    }

    /// A string.
    pub fn string(text: &str) -> Self {
        Self::Text { kind: STRING, bytes: text.as_bytes().into() }
    }

    /// The value of an int.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Number { kind: INT, bits } => Some(*bits as i64),
            _ => None,
        }
    }

    /// Its type.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Number { kind, .. } | Self::Text { kind, .. } => *kind,
        }
    }

    fn bits(&self) -> u64 {
        match self {
            Self::Number { bits, .. } => *bits,
            Self::Text { .. } => 0,
        }
    }

    /// The bytes of a text; none of a number.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Number { .. } => &[],
            Self::Text { bytes, .. } => bytes,
        }
    }

    /// What it costs to keep it under this key.
    pub(super) fn cost(&self, key: &[u8]) -> usize {
        cost(key.len(), self.bytes().len())
    }

    /// Value `i` of a column that [`check`] has found well formed; `None` if it is absent.
    pub fn of(values: &Values, i: usize) -> Option<Self> {
        let kind = values.types.get(i).copied().unwrap_or(ABSENT);
        match kind {
            ABSENT => None,
            BOOL..=DOUBLE => Some(Self::Number { kind, bits: values.numbers.get(i).copied().unwrap_or(0) }),
            _ => Some(Self::Text { kind, bytes: values.texts.get(i).into() }),
        }
    }

    /// Adds a value, or its absence, to a column.
    pub fn push_to(value: Option<&Self>, values: &mut Values) {
        values.types.push(value.map_or(ABSENT, Self::kind));
        values.numbers.push(value.map_or(0, Self::bits));
        values.texts.push(value.map_or(&[], Self::bytes));
    }
}

pub(super) fn cost(key: usize, value: usize) -> usize {
    ENTRY_BYTES.saturating_add(key).saturating_add(value)
}

/// Checks that a column is well formed and has one value a key, or one for all.
pub(super) fn check(values: &Values, keys: usize) -> Result<(), Refusal> {
    let count = values.types.len();
    if count != keys && count != 1 {
        return Err(Refusal::malformed("one value for each key, or one for all"));
    }
    let fits =
        |have: usize, is: fn(u8) -> bool| have == count || have == 0 && !values.types.iter().any(|&kind| is(kind));
    let is_number = |kind| (BOOL..=DOUBLE).contains(&kind);
    let is_text = |kind| kind == STRING || kind > DOUBLE;
    if !fits(values.numbers.len(), is_number) || !fits(values.texts.len(), is_text) || !values.texts.is_well_formed() {
        return Err(Refusal::malformed("values whose lengths do not fit"));
    }
    for (i, &kind) in values.types.iter().enumerate() {
        let fine = match kind {
            STRING => str::from_utf8(values.texts.get(i)).is_ok(),
            BOOL => values.numbers.get(i).is_some_and(|&bits| bits <= 1),
            kind => kind <= BYTES,
        };
        if !fine {
            return Err(Refusal::malformed(
                "a value of an unknown type, a text that is not UTF-8, or a bool that is none",
            ));
        }
    }
    Ok(())
}

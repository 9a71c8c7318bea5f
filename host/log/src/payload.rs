//! What a record holds.

use bytes::Bytes;

/// A record's payload, in two parts that lie one behind the other on disk. So what an owner puts in front
/// of what it was given needs no copy of that.
///
/// What was read from disk is all in the second part, unless that part was compressed.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    head: Bytes,
    rest: Bytes,
}

impl Payload {
    /// The two parts together are the payload.
    pub fn new(head: Bytes, rest: Bytes) -> Self {
        Self { head, rest }
    }

    /// How many bytes there are in both parts.
    pub fn len(&self) -> usize {
        self.head.len() + self.rest.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts, one behind the other. Where they meet says nothing.
    pub fn parts(&self) -> [&Bytes; 2] {
        [&self.head, &self.rest]
    }

    /// All of it in one piece. That is a copy if there are two parts.
    pub fn whole(&self) -> Bytes {
        match self.parts() {
            [none, all] | [all, none] if none.is_empty() => all.clone(),
            parts => parts.map(AsRef::<[u8]>::as_ref).concat().into(),
        }
    }
}

impl From<Bytes> for Payload {
    fn from(rest: Bytes) -> Self {
        Self::new(Bytes::new(), rest)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(rest: Vec<u8>) -> Self {
        Bytes::from(rest).into()
    }
}

impl From<&'static [u8]> for Payload {
    fn from(rest: &'static [u8]) -> Self {
        Bytes::from_static(rest).into()
    }
}

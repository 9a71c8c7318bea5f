//! Writes small `MaxMind` databases for tests, by their published format (`MaxMind` DB 2.0). Databases that one can
//! download must not lie in this repository.
//!
//! The tree is one of IPv6 with 32 bits a record, in which IPv4 networks stand below `::/96`. Every network has a
//! record of its own; pointers and the format's rarer types are left out.
//!
//! ```
//! use sluice_test_mmdb::{Database, map};
//!
//! let city = map([("city", map([("names", map([("en", "London".into())]))]))]);
//! let bytes = Database::new("GeoLite2-City").network("81.2.69.0/24", city).bytes();
//! # assert!(!bytes.is_empty());
//! ```

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "what fails here fails a test"
)]

use std::net::IpAddr;

/// Zeros between the tree and the records.
const SEPARATOR: usize = 16;

/// A value of a record.
#[derive(Debug, Clone)]
pub enum Value {
    /// Text.
    String(String),
    /// A number with a fraction.
    Double(f64),
    /// A number of up to 16 bits.
    Short(u16),
    /// A number of up to 32 bits.
    Int(u32),
    /// A number of up to 64 bits.
    Long(u64),
    /// Names and values.
    Map(Vec<(String, Value)>),
    /// Values.
    Array(Vec<Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(number)
    }
}

/// A map.
pub fn map<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Map(members.map(|(name, value)| (name.to_owned(), value)).into())
}

/// An array.
pub fn array<const N: usize>(items: [Value; N]) -> Value {
    Value::Array(items.into())
}

/// A database under construction.
#[derive(Debug, Clone)]
pub struct Database {
    kind: String,
    networks: Vec<Network>,
}

#[derive(Debug, Clone)]
struct Network {
    /// The first bits of an address, from the highest.
    bits: u128,
    len: u32,
    record: Value,
}

/// Where a branch of the tree leads.
#[derive(Debug, Clone, Copy)]
enum Branch {
    Nowhere,
    Node(usize),
    Record(usize),
}

impl Database {
    /// An empty one that says that it is of this kind: `GeoLite2-City`.
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), networks: Vec::new() }
    }

    /// With what is known of a network: `81.2.69.0/24`, `2001:db8::/32`. Of two networks that hold an address the
    /// smaller one counts.
    #[must_use]
    pub fn network(mut self, network: &str, record: Value) -> Self {
        let (address, len) = network.split_once('/').expect("a network is ADDRESS/LENGTH");
        let len: u32 = len.parse().expect("a length is a number");
        let (bits, len) = match address.parse().expect("an IP address") {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 96 + len),
            IpAddr::V6(address) => (address.to_bits(), len),
        };
        self.networks.push(Network { bits, len, record });
        self
    }

    /// The file.
    pub fn bytes(mut self) -> Vec<u8> {
        // So that a smaller network comes into what a larger one has.
        self.networks.sort_by_key(|network| network.len);
        let mut nodes = vec![[Branch::Nowhere; 2]];
        let (mut records, mut starts) = (Vec::new(), Vec::new());
        for (number, network) in self.networks.iter().enumerate() {
            insert(&mut nodes, network, number);
            starts.push(records.len());
            encode(&network.record, &mut records);
        }
        let mut bytes = Vec::new();
        for branch in nodes.iter().flatten() {
            let number = match *branch {
                Branch::Nowhere => nodes.len(),
                Branch::Node(node) => node,
                Branch::Record(record) => nodes.len() + SEPARATOR + starts[record],
            };
            bytes.extend(u32::try_from(number).expect("a small database").to_be_bytes());
        }
        bytes.extend([0; SEPARATOR]);
        bytes.extend(records);
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        let about = map([
            ("binary_format_major_version", Value::Short(2)),
            ("binary_format_minor_version", Value::Short(0)),
            ("build_epoch", Value::Long(1_767_225_600)),
            ("database_type", self.kind.as_str().into()),
            ("description", map([("en", "a test".into())])),
            ("ip_version", Value::Short(6)),
            ("languages", array(["en".into()])),
            ("node_count", Value::Int(u32::try_from(nodes.len()).expect("a small database"))),
            ("record_size", Value::Short(32)),
        ]);
        encode(&about, &mut bytes);
        bytes
    }
}

/// Leads the addresses of a network to a record.
fn insert(nodes: &mut Vec<[Branch; 2]>, network: &Network, record: usize) {
    let bit = |depth: u32| usize::from(network.bits >> (127 - depth) & 1 == 1);
    let mut node = 0;
    for depth in 0..network.len - 1 {
        let next = nodes.len();
        let branch = &mut nodes[node][bit(depth)];
        node = match *branch {
            Branch::Node(node) => node,
            above => {
                // What holds for all below stays for what this network leaves.
                *branch = Branch::Node(next);
                nodes.push([above; 2]);
                next
            }
        };
    }
    nodes[node][bit(network.len - 1)] = Branch::Record(record);
}

/// Types above 7 stand in a byte of their own; sizes from 29 on in up to three more.
fn head(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (in_five_bits, rest) = match size {
        0..29 => (size as u8, vec![]),
        29..285 => (29, vec![(size - 29) as u8]),
        _ => (30, u16::try_from(size - 285).expect("a small value").to_be_bytes().to_vec()),
    };
    if kind <= 7 {
        out.push(kind << 5 | in_five_bits);
    } else {
        out.extend([in_five_bits, kind - 7]);
    }
    out.extend(rest);
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    let mut plain = |kind, bytes: &[u8]| {
        head(kind, bytes.len(), out);
        out.extend(bytes);
    };
    match value {
        Value::String(text) => plain(2, text.as_bytes()),
        Value::Double(number) => plain(3, &number.to_be_bytes()),
        Value::Short(number) => plain(5, &number.to_be_bytes()),
        Value::Int(number) => plain(6, &number.to_be_bytes()),
        Value::Long(number) => plain(9, &number.to_be_bytes()),
        Value::Map(members) => {
            head(7, members.len(), out);
            for (name, value) in members {
                encode(&Value::String(name.clone()), out);
                encode(value, out);
            }
        }
        Value::Array(items) => {
            head(11, items.len(), out);
            for item in items {
                encode(item, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use maxminddb::{PathElement, Reader};

    use super::*;

    /// The reader is the format as others have written it down.
    fn name(reader: &Reader<Vec<u8>>, address: &str) -> Option<String> {
        let path = [PathElement::Key("city"), PathElement::Key("name")];
        reader.lookup(address.parse().unwrap()).unwrap().decode_path(&path).unwrap()
    }

    fn city(name: &str) -> Value {
        map([("city", map([("name", name.into())]))])
    }

    #[test]
    fn a_reader_finds_the_smallest_network_of_either_family() {
        let database = Database::new("Places")
            .network("10.1.2.0/24", city("small"))
            .network("10.0.0.0/8", city("large"))
            .network("10.1.2.3/32", city("one"))
            .network("2001:db8::/32", city("documents"))
            .network("128.0.0.0/1", city("half"));
        let reader = Reader::from_source(database.bytes()).unwrap();
        reader.verify().unwrap();
        let cases = [
            ("10.1.2.4", Some("small")),
            ("10.1.2.3", Some("one")),
            ("10.1.3.0", Some("large")),
            ("10.255.255.255", Some("large")),
            ("11.0.0.0", None),
            ("200.0.0.1", Some("half")),
            ("2001:db8:ffff::1", Some("documents")),
            ("2001:db9::", None),
            ("::1", None),
        ];
        for (address, expected) in cases {
            assert_eq!(name(&reader, address).as_deref(), expected, "{address}");
        }
        assert_eq!(reader.metadata().database_type, "Places");
    }

    #[test]
    fn a_reader_understands_every_type_and_size() {
        let texts = [0, 28, 29, 284, 285, 65_000].map(|size| "x".repeat(size));
        let record = map([
            ("texts", Value::Array(texts.iter().map(|text| text.as_str().into()).collect())),
            ("double", (-0.125).into()),
            ("short", Value::Short(u16::MAX)),
            ("int", u32::MAX.into()),
            ("long", Value::Long(u64::MAX)),
        ]);
        let reader = Reader::from_source(Database::new("Types").network("::/1", record).bytes()).unwrap();
        reader.verify().unwrap();
        let found = reader.lookup("::1".parse().unwrap()).unwrap();
        let text = |i| [PathElement::Key("texts"), PathElement::Index(i)];
        for (i, expected) in texts.iter().enumerate() {
            assert_eq!(found.decode_path::<String>(&text(i)).unwrap().as_ref(), Some(expected));
        }
        assert_eq!(found.decode_path(&[PathElement::Key("double")]).unwrap(), Some(-0.125_f64));
        assert_eq!(found.decode_path(&[PathElement::Key("short")]).unwrap(), Some(u16::MAX));
        assert_eq!(found.decode_path(&[PathElement::Key("int")]).unwrap(), Some(u32::MAX));
        assert_eq!(found.decode_path(&[PathElement::Key("long")]).unwrap(), Some(u64::MAX));
    }
}

//! `MaxMind` databases, written here by their published format (`MaxMind` DB 2.0).

use super::super::{BadTable, Format, LiveTable, Table};
use super::{MOST, found, some};

/// A value begins with its type in three bits and its size in five; types above 7 are in a byte of
/// their own.
fn string(text: &str) -> Vec<u8> {
    [&[2 << 5 | text.len() as u8], text.as_bytes()].concat()
}

fn map(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![7 << 5 | members.len() as u8];
    for (name, value) in members {
        bytes.extend([string(name), value.clone()].concat());
    }
    bytes
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [&[items.len() as u8, 11 - 7][..], &items.concat()].concat()
}

fn unsigned(number: u32) -> Vec<u8> {
    [&[6 << 5 | 4][..], &number.to_be_bytes()].concat()
}

fn short(number: u16) -> Vec<u8> {
    [&[5 << 5 | 2][..], &number.to_be_bytes()].concat()
}

fn long(number: u64) -> Vec<u8> {
    [&[8, 9 - 7][..], &number.to_be_bytes()].concat()
}

fn double(number: f64) -> Vec<u8> {
    [&[3 << 5 | 8][..], &number.to_be_bytes()].concat()
}

/// A database that knows the addresses from 128.0.0.0 on, whose first bit is 1: a tree of one node,
/// 16 zeros, the record, and what is said of it all. In the node a number is that of a node; the
/// number of nodes is nothing, and what is above it by 16 and more is a place behind the zeros.
pub fn database(kind: &str, record: &[u8]) -> Vec<u8> {
    let tree = [0, 0, 1, 0, 0, 1 + 16];
    let about = map(&[
        ("binary_format_major_version", short(2)),
        ("binary_format_minor_version", short(0)),
        ("build_epoch", long(1_767_225_600)),
        ("database_type", string(kind)),
        ("description", map(&[("en", string("a test"))])),
        ("ip_version", short(4)),
        ("languages", array(&[])),
        ("node_count", unsigned(1)),
        ("record_size", short(24)),
    ]);
    [&tree[..], &[0; 16], record, b"\xab\xcd\xefMaxMind.com", &about].concat()
}

pub fn geneva() -> Vec<u8> {
    map(&[
        ("country", map(&[("iso_code", string("CH"))])),
        ("cities", array(&[string("Geneva"), string("Carouge")])),
        ("asn", unsigned(3303)),
        ("latitude", double(46.5)),
    ])
}

fn read(bytes: &[u8]) -> Result<Table, BadTable> {
    Table::read(Format::MaxMind, bytes, "", MOST)
}

#[test]
fn a_database_answers_for_addresses() {
    let table = read(&database("Places", &geneva())).unwrap();
    let asked = ["203.0.113.9", "10.0.0.1", "no address", "2001:db8::1", "128.0.0.0"];
    assert_eq!(found(&table, "country.iso_code", &asked), [some("CH"), None, None, None, some("CH")]);
    let one = |column| found(&table, column, &asked[..1])[0].clone();
    assert_eq!(one("cities.1"), some("Carouge"));
    assert_eq!((one("cities.-1"), one("cities.-2"), one("cities.-3")), (some("Carouge"), some("Geneva"), None));
    assert_eq!(one("cities"), some("[\"Geneva\",\"Carouge\"]"));
    assert_eq!((one("asn"), one("latitude")), (some("3303"), some("46.5")));
    for nowhere in ["cities.2", "cities.-0", "cities.-", "country.name", "asn.x", "cities.x", "", "country."] {
        assert_eq!(one(nowhere), None, "{nowhere:?}");
    }
}

#[test]
fn a_database_that_is_cut_off_or_too_large_is_refused() {
    let whole = database("Places", &geneva());
    for length in [0, 10, whole.len() / 2, whole.len() - 1] {
        assert!(matches!(read(&whole[..length]), Err(BadTable::MaxMind(_))), "{length}");
    }
    // The record of the network is not where the tree says.
    let mut pointless = whole.clone();
    pointless[4] = 0xff;
    assert!(matches!(read(&pointless), Err(BadTable::MaxMind(_))));
    let small = Table::read(Format::MaxMind, &whole[..], "", whole.len() - 1);
    assert!(matches!(small, Err(BadTable::TooLarge(_))));
    assert_eq!(Table::read(Format::MaxMind, &whole[..], "", whole.len()).unwrap().bytes(), whole.len());
}

#[test]
fn a_database_is_replaced_by_one_of_its_kind() {
    let live = LiveTable::new(read(&database("Places", &geneva())).unwrap());
    let moved = database("Places", &map(&[("asn", unsigned(1))]));
    live.replace(read(&moved).unwrap()).unwrap();
    assert_eq!(found(&live.now(), "asn", &["203.0.113.9"]), [some("1")]);
    let refused = live.replace(read(&database("Other", &geneva())).unwrap()).unwrap_err();
    assert!(matches!(refused, BadTable::OtherDatabase(kind) if kind == "Places"));
}

proptest::proptest! {
    #[test]
    fn whatever_is_asked_is_answered_or_refused(column in "[a-z0-9_.*]{0,20}", keys in proptest::collection::vec("[0-9a-f:.]{0,16}", 0..5)) {
        let table = read(&database("Places", &geneva())).unwrap();
        let keys: sluice_spans::Texts = keys.iter().collect();
        if let Ok(found) = table.look_up(&column, &keys, 8) {
            assert_eq!((found.present.len(), found.values.len()), (keys.len(), keys.len()));
            assert!(found.values.bytes.len() <= 8, "no more than was asked for");
        }
    }
}

#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::read;

#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Outer {
    #[serde(default)]
    items: Vec<Inner>,
    by_number: Option<BTreeMap<u32, bool>>,
    pair: Option<(u8, i8)>,
    mode: Option<Mode>,
}

#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Inner {
    key: String,
}

#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Plain,
    Named(String),
    Keyed { key: u8 },
    Both(u8, u8),
}

#[test]
fn what_is_wrong_is_told_with_its_path() {
    let cases = [
        (r#"{"items": [{"key": "a"}, {"key": 3}]}"#, "items[1].key", "invalid type: integer `3`, expected a string"),
        (r#"{"items": [{"key": 1.5}]}"#, "items[0].key", "invalid type: floating point number, expected a string"),
        (r#"{"items": [{}]}"#, "items[0]", "missing field `key`"),
        (r#"{"items": [{"kye": ""}]}"#, "items[0].kye", "unknown field `kye`, expected `key`"),
        (r#"{"items": {}}"#, "items", "invalid type: map, expected a sequence"),
        (r#"{"pair": [1, 200]}"#, "pair[1]", "invalid value: integer `200`, expected i8"),
        (r#"{"pair": [1, 2, 3]}"#, "pair", "there is more than expected"),
        (r#"{"by_number": {"x": true}}"#, "by_number.x", "invalid type: string \"x\", expected u32"),
        (r#"{"mode": "plian"}"#, "mode", "unknown variant `plian`, expected one of `plain`, `named`, `keyed`, `both`"),
        (r#"{"mode": {"keyed": {"key": null}}}"#, "mode.keyed.key", "invalid type: null, expected u8"),
        (r#"{"mode": "named"}"#, "mode", "expected a map with a value"),
        ("[]", "", "invalid length 1, expected struct Outer with 4 elements"),
        ("{} {}", "", "the configuration is no JSON from byte 3 on"),
    ];
    for (json, path, message) in cases {
        let problem = read::<Outer>(json).unwrap_err();
        assert_eq!((problem.path.as_str(), problem.message.as_str()), (path, message), "{json}");
    }
}

#[test]
fn every_form_of_an_enum_and_every_key_is_read() {
    let mode = |json: &str| read::<Mode>(json).unwrap();
    assert_eq!(mode(r#""plain""#), Mode::Plain);
    assert_eq!(mode(r#"{"plain": null}"#), Mode::Plain);
    assert_eq!(mode(r#"{"named": "a"}"#), Mode::Named("a".to_owned()));
    assert_eq!(mode(r#"{"keyed": {"key": 1}}"#), Mode::Keyed { key: 1 });
    assert_eq!(mode(r#"{"both": [1, 2]}"#), Mode::Both(1, 2));
    let by_number: BTreeMap<i64, Option<f64>> = read(r#"{"-1": 2, "7": null}"#).unwrap();
    assert_eq!(by_number, BTreeMap::from([(-1, Some(2.0)), (7, None)]));
    let modes: BTreeMap<String, Vec<Mode>> = read(r#" { "a" : [ "plain" , "plain" ] } "#).unwrap();
    assert_eq!(modes.get("a").map(Vec::len), Some(2));
}

/// The reader of `serde_json` is the reference: both take the same texts, and read the same out of them.
fn agrees(json: &str) {
    let (ours, theirs) = (read::<Value>(json).ok(), serde_json::from_str::<Value>(json).ok());
    assert_eq!(ours, theirs, "{json}");
}

#[test]
fn json_is_read_as_others_read_it() {
    let cases = [
        "",
        " ",
        "nul",
        "null",
        "nulls",
        "true",
        "[]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r"{a:1}",
        "0",
        "-0",
        "01",
        "-01",
        "-",
        "+1",
        ".5",
        "5.",
        "5.e1",
        "5.E1",
        "1e",
        "1e5",
        "1E+5",
        "1e-7",
        "0.1",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "1e400",
        "1-1",
        "1e5.5",
        "--1",
        "0x1",
        "Infinity",
        "NaN",
        r#""\u00e9\n\"\\\/\b\f\r\t""#,
        r#""\ud83d\ude00""#,
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ud83dx""#,
        r#""\u12g4""#,
        r#""\u+123""#,
        r#""\x""#,
        "\"a\nb\"",
        "\"é😀\"",
        "\"open",
        r#"{"a":{"b":[1,{"c":null}]}}"#,
        "\u{a0}1",
        "[1]]",
        r#"{"a":1 "b":2}"#,
        "\"\u{7f}\"",
    ];
    cases.into_iter().for_each(agrees);
    for depth in [127, 128, 129] {
        agrees(&("[".repeat(depth) + &"]".repeat(depth)));
    }
}

proptest! {
    #[test]
    fn any_text_is_read_as_others_read_it(text in r#"[\[\]{},:" \\a-u0-9.eE+-]{0,24}"#) {
        // Not what is read, because `serde_json` rounds long numbers with a small error.
        prop_assert_eq!(read::<Value>(&text).is_ok(), serde_json::from_str::<Value>(&text).is_ok());
    }

    #[test]
    fn any_string_and_any_number_survive(text in ".*", float in any::<f64>(), signed in any::<i64>()) {
        let float = if float.is_finite() { float } else { 0.5 };
        let value = serde_json::json!({ text.clone(): [text, float, signed] });
        prop_assert_eq!(read::<Value>(&value.to_string()).unwrap(), value);
    }
}

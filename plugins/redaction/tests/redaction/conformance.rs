//! Every key of the Collector's processor, and every key beside them. The README's table names these
//! tests.

use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
use sluice_sdk::testing::Problem;

use super::*;

/// The example of the Collector's README.
#[test]
fn blocked_values_mask_the_match_and_allowed_values_win() {
    let config = r#"{"allow_all_keys": true, "blocked_values": ["4[0-9]{12}(?:[0-9]{3})?", "mycompany.com"], "allowed_values": [".+@mycompany.com"]}"#;
    let before = vec![
        text("a", "card 4111111111111111!"),
        text("b", "x@mycompany.com"),
        text("c", "mycompany.com/x"),
        text("d", "ok"),
    ];
    assert_eq!(
        attributes(config, before),
        [text("a", "card ****!"), text("b", "x@mycompany.com"), text("c", "****/x"), text("d", "ok")]
    );
}

#[test]
fn keys_that_are_not_allowed_go_and_ignored_ones_pass_whole() {
    let config = format!(
        r#"{{"allowed_keys": ["a"], "ignored_keys": ["i"], "ignored_key_patterns": ["^safe\\."], "blocked_values": ["{CARD}"]}}"#
    );
    let before = vec![text("a", CARD), text("b", "gone"), text("i", CARD), text("safe.x", CARD)];
    assert_eq!(attributes(&config, before), [text("a", "****"), text("i", CARD), text("safe.x", CARD)]);
    assert_eq!(attributes("{}", vec![text("a", "x")]), [], "without allowed keys nothing passes");
}

#[test]
fn blocked_keys_lose_their_whole_value_whatever_its_type() {
    let config = r#"{"allow_all_keys": true, "blocked_key_patterns": [".*token.*", "(?i)PASSWORD$"]}"#;
    let before =
        vec![text("api_token_x", "secret\nvalue"), attribute("my.password", Value::IntValue(1234)), text("other", "x")];
    assert_eq!(
        attributes(config, before),
        [text("api_token_x", "****"), text("my.password", "****"), text("other", "x")]
    );
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

/// As in the Collector, an allowed value passes under a blocked key, too.
#[test]
fn allowed_values_win_over_blocked_keys() {
    let config = r#"{"allow_all_keys": true, "blocked_key_patterns": ["token"], "allowed_values": ["^public"]}"#;
    let before = vec![text("token.a", "public-1"), text("token.b", "secret")];
    assert_eq!(attributes(config, before), [text("token.a", "public-1"), text("token.b", "****")]);
}

/// `4111111111111111` and `secret` by Python's `hashlib`.
#[test]
fn hash_function_hashes_what_was_found_and_whole_values_of_blocked_keys() {
    for (function, card, secret) in [
        ("md5", "5910f4ea0062a0e29afd3dccc741e3ce", "5ebe2294ecd0e0f08eab7690d2a6ee69"),
        ("SHA1", "68bfb396f35af3876fc509665b3dc23a0930aab1", "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4"),
        (
            "sha3",
            "6099154214406cce6105a4688ab66533d3a55d1d7dd393cbccf22b487a22d922",
            "f5a5207a8729b1f709cb710311751eb2fc8acad5a1fb8ac991b736e69b6529a3",
        ),
    ] {
        let config = format!(
            r#"{{"allow_all_keys": true, "hash_function": "{function}", "blocked_values": ["4[0-9]{{15}}"], "blocked_key_patterns": ["password"]}}"#
        );
        let before = vec![text("a", "card 4111111111111111!"), text("password", "secret")];
        assert_eq!(attributes(&config, before), [text("a", &format!("card {card}!")), text("password", secret)]);
    }
}

/// By Python's `hmac`.
#[test]
fn hashes_with_a_key_are_hmacs_under_either_name_of_the_key() {
    let (sha256, sha512) = (
        "6ab68ca2a9a5093ababdf00856c5692bf32152e770d12450e6c24d6e122a0086",
        "7819d3c3d64f9db639566db5c186fc0c5ff2d2f3ba6c1ba868edb8bd5aa179c9ded434a16c37a797117d2051cd70a620e073d6e4e2dbcf994f3c62487c9b7d4f",
    );
    for (settings, expected) in [
        (r#""mode": "hash", "hash_key": "0123456789abcdef""#, sha256),
        (r#""hash_function": "hmac-sha256", "hmac_key": "0123456789abcdef""#, sha256),
        (r#""hash_function": "hmac-sha512", "hash_key": "0123456789abcdef""#, sha512),
    ] {
        let config = format!(r#"{{"allow_all_keys": true, "detectors": ["payment_card"], {settings}}}"#);
        assert_eq!(value(&config, "card 4111111111111111!"), format!("card {expected}!"), "{settings}");
    }
}

#[test]
fn mode_drop_takes_attributes_whole_and_cuts_texts() {
    let config =
        r#"{"allow_all_keys": true, "mode": "drop", "detectors": ["payment_card"], "blocked_key_patterns": ["^pin$"]}"#;
    let list =
        Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(Value::StringValue(CARD.to_owned())) }] });
    let before = Span {
        name: format!("pay {CARD} now"),
        attributes: vec![
            text("a", &format!("card {CARD}")),
            text("b", "fine"),
            attribute("c", list),
            text("pin", "1234"),
        ],
        ..Span::default()
    };
    let after = span(config, before);
    assert_eq!((after.name.as_str(), after.attributes), ("pay  now", vec![text("b", "fine")]));
}

#[test]
fn mode_tokenise_keeps_the_format_and_tells_equal_values_from_others() {
    let config = |key: &str| {
        format!(
            r#"{{"allow_all_keys": true, "mode": "tokenise", "hash_key": "{key}", "detectors": ["payment_card", "email"]}}"#
        )
    };
    let (one, two) = (config("0123456789abcdef"), config("fedcba9876543210"));
    let after = value(&one, "card 4111-1111-1111-1111 of ada@example.com");
    let shape: String = after
        .chars()
        .map(|c| {
            if c.is_ascii_digit() {
                '9'
            } else if c.is_ascii_alphabetic() {
                'a'
            } else {
                c
            }
        })
        .collect();
    assert_eq!(shape, "aaaa 9999-9999-9999-9999 aa aaa@aaaaaaa.aaa");
    assert!(!after.contains("4111-1111-1111-1111") && !after.contains("ada@"), "{after}");
    assert_eq!(after, value(&one, "card 4111-1111-1111-1111 of ada@example.com"));
    assert_ne!(after, value(&two, "card 4111-1111-1111-1111 of ada@example.com"));
}

/// The Collector's names and counts, each beside what it is about; nothing where nothing was done.
#[test]
fn summary_tells_how_many_and_which() {
    let config = |summary: &str| {
        format!(
            r#"{{"summary": "{summary}", "allowed_keys": ["a", "b", "c", "ok"], "ignored_keys": ["i"], "blocked_values": ["secret"], "allowed_values": ["^ok"]}}"#
        )
    };
    let before = || {
        vec![
            text("b", "secret"),
            text("a", "secret"),
            text("c", "fine"),
            text("ok", "ok secret"),
            text("i", "secret"),
            text("z", "x"),
            text("y", "x"),
        ]
    };
    let kept = [text("b", "****"), text("a", "****"), text("c", "fine"), text("ok", "ok secret"), text("i", "secret")];
    assert_eq!(attributes(&config("silent"), before()), kept);
    let sorted = |mut entries: Vec<KeyValue>| {
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        entries
    };
    let counts = [
        int("redaction.redacted.count", 2),
        int("redaction.masked.count", 2),
        int("redaction.allowed.count", 1),
        int("redaction.ignored.count", 1),
    ];
    let keys = [
        text("redaction.redacted.keys", "y,z"),
        text("redaction.masked.keys", "a,b"),
        text("redaction.allowed.keys", "ok"),
    ];
    let info = [&kept[..], &counts].concat();
    assert_eq!(sorted(attributes(&config("info"), before())), sorted(info));
    let debug = [&kept[..], &counts, &keys].concat();
    let once = attributes(&config("debug"), before());
    assert_eq!(sorted(once), sorted(debug));
    assert_eq!(attributes(&config("debug"), vec![text("c", "fine")]), [text("c", "fine")], "nothing was done");
}

/// What a first processor has said survives a second one and is added to.
#[test]
fn summaries_of_processors_in_a_row_add_up() {
    let config = r#"{"summary": "debug", "allowed_keys": ["a"], "blocked_values": ["secret"]}"#;
    let before = vec![text("a", "secret"), text("redaction.masked.keys", "x"), int("redaction.masked.count", 1)];
    let after = attributes(config, before);
    assert!(
        after.contains(&text("redaction.masked.keys", "a,x")) && after.contains(&int("redaction.masked.count", 2)),
        "{after:?}"
    );
    assert_eq!(after.len(), 3);
}

/// The text of a number is what the Collector's `AsString` gives.
#[test]
fn redact_all_types_looks_at_numbers_and_booleans_too() {
    let list = |value: Value| Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(value) }] });
    let map = |value: Value| Value::KvlistValue(KeyValueList { values: vec![attribute("n", value)] });
    let before = || {
        vec![
            int("card", 4_111_111_111_111_111),
            int("other", 17),
            attribute("double", Value::DoubleValue(4_111_111_111_111_111.0)),
            attribute("bool", Value::BoolValue(true)),
            attribute("list", list(Value::IntValue(4_111_111_111_111_111))),
            attribute("map", map(Value::DoubleValue(4_111_111_111_111_111.0))),
            attribute("bools", map(Value::BoolValue(true))),
        ]
    };
    let config = r#"{"allow_all_keys": true, "redact_all_types": true, "detectors": ["payment_card"], "blocked_values": ["^true$"]}"#;
    let masked = || Value::StringValue("****".to_owned());
    let expected = vec![
        text("card", "****"),
        int("other", 17),
        text("double", "****"),
        text("bool", "****"),
        attribute("list", list(masked())),
        attribute("map", map(masked())),
        attribute("bools", map(masked())),
    ];
    assert_eq!(attributes(config, before()), expected);
    let strings = r#"{"allow_all_keys": true, "detectors": ["payment_card"], "blocked_values": ["^true$"]}"#;
    assert_eq!(attributes(strings, before()), before(), "by default only strings are looked at");
}

#[test]
fn what_is_wrong_is_refused_where_it_is() {
    let cases = [
        (r#"{"hash_function": "md4"}"#, "hash_function", "unknown function `md4`"),
        (r#"{"hash_function": "md5", "mode": "mask"}"#, "hash_function", "hashes nothing"),
        (r#"{"hash_function": "md5", "hash_key": "0123456789abcdef"}"#, "hash_key", "nothing uses it"),
        (r#"{"hash_function": "hmac-sha256"}"#, "mode", "needs `hash_key`"),
        (r#"{"mode": "tokenise"}"#, "mode", "needs `hash_key`"),
        (r#"{"mode": "hash", "hash_key": "short"}"#, "hash_key", "needs 16 at least"),
        (
            r#"{"mode": "hash", "hash_key": "0123456789abcdef", "hmac_key": "0123456789abcdef"}"#,
            "hmac_key",
            "give one of them",
        ),
        (r#"{"mode": "encrypt"}"#, "mode", "unknown mode `encrypt`"),
        (r#"{"skip_conditions": ["true"]}"#, "skip_conditions", "`skip_conditions` is not supported yet"),
        (r#"{"summary": "verbose"}"#, "summary", "unknown summary `verbose`"),
        (r#"{"scan": ["span", "body"]}"#, "scan[1]", "unknown place `body`"),
        (r#"{"unknown_fields": "keep"}"#, "unknown_fields", "no key that could be allowed"),
        (r#"{"unknown_fields": "mask"}"#, "unknown_fields", "neither `keep` nor `drop`"),
        (r#"{"detectors": ["email", "national_id/XX"]}"#, "detectors[1]", "`national_id/XX` is not supported yet"),
        (r#"{"detectors": ["cards"]}"#, "detectors[0]", "unknown detector `cards`"),
        (r#"{"blocked_values": ["a", "("]}"#, "blocked_values[1]", "unclosed group"),
        (r#"{"ignored_key_patterns": ["("]}"#, "ignored_key_patterns[0]", "unclosed group"),
        (r#"{"allowed_key": []}"#, "allowed_key", "unknown field `allowed_key`"),
        (r#"{"url_sanitizer": {"enable": true}}"#, "url_sanitizer.enable", "unknown field `enable`"),
        (r#"{"db_sanitizer": {"cassandra": {}}}"#, "db_sanitizer.cassandra", "unknown field `cassandra`"),
    ];
    for (config, path, message) in cases {
        let result = run::<Redaction>(config, b"");
        let Err(Problem::Config(errors)) = result else { unreachable!("{config}: {result:?}") };
        assert_eq!(errors.len(), 1, "{config}: {errors:?}");
        assert_eq!(errors[0].path, path, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
}

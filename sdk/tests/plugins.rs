//! What a plugin can rely on: the per-span view, access, configuration errors, nested values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use sluice_sdk::prelude::*;
use sluice_sdk::testing::{Outcome, Problem, run};
use sluice_sdk::{Rows, any_value, fields, kind};

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

/// The spans a and b of the service `shop`, and c of `bank`.
fn request() -> ExportTraceServiceRequest {
    let span = |name: &str, attributes: Vec<KeyValue>| Span {
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: 100,
        end_time_unix_nano: 350,
        attributes,
        status: Some(Status { code: 1, message: format!("fine {name}") }),
        ..Span::default()
    };
    let all = vec![
        text("s", "x"),
        attribute("i", Value::IntValue(-3)),
        attribute("d", Value::DoubleValue(0.5)),
        attribute("b", Value::BoolValue(true)),
    ];
    let of = |service: &str, spans| ResourceSpans {
        resource: Some(Resource { attributes: vec![text("service.name", service)], ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    let shop = of("shop", vec![span("a", all), span("b", vec![])]);
    ExportTraceServiceRequest { resource_spans: vec![shop, of("bank", vec![span("c", vec![])])] }
}

fn spans(outcome: &Outcome) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

type Work = fn(&Batch<'_>) -> Result<(), Failure>;

/// Declares a plugin that asks for `$grants` to read and to write, and does `$work`.
macro_rules! plugin {
    ($name:ident, read: $read:expr, write: $write:expr, $work:expr) => {
        struct $name;
        impl Plugin for $name {
            type Config = NoConfig;
            fn describe() -> Description {
                let description =
                    $read.into_iter().fold(Description::new("test", "1"), |all, grant: &str| all.read(grant));
                $write.into_iter().fold(description, |all, grant: &str| all.write(grant))
            }
            fn configure(_: NoConfig) -> Result<Configured<Self>, Vec<ConfigError>> {
                Ok(Configured::new(Self))
            }
            fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
                let work: Work = $work;
                work(batch)
            }
        }
    };
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoConfig {}

fn outcome<P: Plugin>() -> Result<Outcome, Problem> {
    run::<P>("{}", &request().encode_to_vec())
}

#[test]
fn a_span_shows_its_own_row_and_its_owners() {
    plugin!(Reads, read: ["*"], write: [""; 0], |batch| {
        let mut seen = Vec::new();
        for span in batch.spans()? {
            let service = span.resource_attribute("service.name")?;
            seen.push(format!("{} {} {}", &*span.name()?, &*span.status_message()?, service.as_str().unwrap_or("?")));
            assert_eq!((span.kind()?, span.status_code()?, span.duration_nanos()?), (2, 1, 250));
            assert_eq!(span.trace_id()?, [7; 16]);
            let is_first = span.row() == 0;
            assert_eq!(span.attribute("s")?.as_str(), is_first.then_some("x"));
            assert_eq!(span.attribute("i")?.as_int(), is_first.then_some(-3));
            assert_eq!(span.attribute("d")?.as_double(), is_first.then_some(0.5));
            assert_eq!(span.attribute("b")?.as_bool(), is_first.then_some(true));
            assert_eq!(span.attribute("i")?.as_str(), None, "an integer is no string");
            assert_eq!(span.attribute("i")?.exists(), is_first);
        }
        assert_eq!(seen, ["a fine a shop", "b fine b shop", "c fine c bank"]);
        Ok(())
    });
    let outcome = outcome::<Reads>().unwrap();
    assert_eq!(outcome.wire, request().encode_to_vec(), "what was only read is untouched");
}

#[test]
fn edits_of_the_view_are_applied_together() {
    plugin!(Edits, read: ["spans.name"], write: ["spans.*"], |batch| {
        for span in batch.spans()? {
            match &*span.name()? {
                "a" => {
                    span.set_attribute("i", 4_i64);
                    span.set_attribute("new", "text");
                    span.remove_attribute("s");
                }
                "b" => span.drop(),
                name => {
                    span.set_name(&name.to_uppercase());
                    span.set_attribute("new", 1.5);
                }
            }
        }
        Ok(())
    });
    let outcome = outcome::<Edits>().unwrap();
    assert_eq!((outcome.dropped, outcome.edited), (1, 2));
    let spans = spans(&outcome);
    assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["a", "C"]);
    let ours = &spans[0].attributes;
    assert!(ours.contains(&attribute("i", Value::IntValue(4))) && ours.contains(&text("new", "text")));
    assert!(!ours.iter().any(|attribute| attribute.key == "s"));
    assert_eq!(spans[1].attributes, [attribute("new", Value::DoubleValue(1.5))]);
}

#[test]
fn edits_vanish_when_the_plugin_fails() {
    plugin!(Fails, read: [""; 0], write: ["spans.drop"], |batch| {
        batch.drop_rows(Table::Spans, &[0])?;
        Err(Failure::new("no luck"))
    });
    assert_eq!(outcome::<Fails>(), Err(Problem::Failed(Failure::new("no luck"))));
}

#[test]
fn what_was_not_asked_for_is_denied() {
    plugin!(ReadsName, read: ["spans.attributes:*"], write: ["*"], |batch| batch.texts(Table::Spans, 5).map(drop).map_err(Into::into));
    plugin!(ReadsKey, read: ["spans.attributes:a*", "spans.name"], write: ["*"], |batch| {
        batch.attribute(Table::Spans, "b").map(drop).map_err(Into::into)
    });
    plugin!(ReadsIds, read: ["spans.name"], write: ["*"], |batch| batch.trace_ids(Table::Spans).map(drop).map_err(Into::into));
    plugin!(Writes, read: ["*"], write: ["spans.attributes:a"], |batch| {
        batch.set_attribute(Table::Spans, "b", &[0], Values::int(1)).map_err(Into::into)
    });
    plugin!(Drops, read: ["*"], write: ["spans.name"], |batch| {
        batch.spans()?.for_each(|span| span.drop());
        Ok(())
    });
    plugin!(Cleans, read: [], write: ["resources.*", "scopes.*", "spans.*", "events.unknown", "links.*"], |batch| {
        batch.clean(2)?;
        Ok(batch.clean(1)?)
    });
    let denied = |result: Result<Outcome, Problem>, what: &str| match result {
        Err(Problem::Failed(failure)) => assert!(failure.message.contains(what), "{}", failure.message),
        other => unreachable!("{other:?}"),
    };
    denied(outcome::<ReadsName>(), "reading `spans.name` is denied");
    denied(outcome::<ReadsKey>(), "reading `spans.attributes:b` is denied");
    denied(outcome::<ReadsIds>(), "reading `spans.ids` is denied");
    denied(outcome::<Writes>(), "writing `spans.attributes:b` is denied");
    denied(outcome::<Drops>(), "writing `spans.drop` is denied");
    denied(outcome::<Cleans>(), "writing `events.overridden` is denied");
}

#[test]
fn entries_show_what_is_granted_and_are_edited_by_the_numbers_they_show() {
    plugin!(Scans, read: ["spans.attributes:i", "spans.attributes:d"], write: ["spans.attributes:*"], |batch| {
        let entries = batch.entries(Table::Spans)?;
        assert_eq!((entries.owners.as_slice(), entries.values.types.as_slice()), (&[0, 0][..], &[kind::INT, kind::DOUBLE][..]));
        let keys = batch.entry_keys(Table::Spans)?;
        assert_eq!((keys.keys.as_slice(), keys.dictionary.bytes.as_slice()), (&[0, 1][..], &b"id"[..]));
        batch.set_entries(Table::Spans, &[1], Values::string("edited"))?;
        Ok(batch.remove_entries(Table::Spans, &[0])?)
    });
    let after = spans(&outcome::<Scans>().unwrap()).remove(0).attributes;
    assert_eq!(after, [text("s", "x"), text("d", "edited"), attribute("b", Value::BoolValue(true))]);
}

#[test]
fn configuration_errors_say_where() {
    let Err(Problem::Config(errors)) = run::<Nested>(r#"{"rules": [{"name": "a"}, {"nam": "b"}]}"#, b"") else {
        unreachable!("it is refused")
    };
    assert_eq!(errors[0].path, "rules[1].nam");
    assert_eq!(errors[0].message, "unknown field `nam`, expected `name`");
}

struct Nested;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
}

impl Plugin for Nested {
    type Config = Rules;
    fn describe() -> Description {
        Description::new("nested", "1")
    }
    fn configure(config: Rules) -> Result<Configured<Self>, Vec<ConfigError>> {
        let named = config.rules.iter().all(|rule| !rule.name.is_empty());
        if named { Ok(Configured::new(Self)) } else { Err(vec![ConfigError::new("rules", "a name is needed")]) }
    }
    fn process(&mut self, _: &Batch<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn string(text: &str) -> AnyValue {
    value(Value::StringValue(text.to_owned()))
}

/// A map in an array in a map, with `leaf` in it everywhere.
fn nested(leaf: &str) -> KeyValueList {
    let map = KeyValueList { values: vec![text(leaf, leaf), attribute("n", Value::IntValue(1))] };
    let bytes = value(Value::BytesValue(leaf.as_bytes().to_vec()));
    let array = ArrayValue { values: vec![string(leaf), value(Value::KvlistValue(map)), bytes, AnyValue::default()] };
    KeyValueList { values: vec![attribute("list", Value::ArrayValue(array)), text("k", leaf)] }
}

#[test]
fn strings_in_nested_values_are_replaced_and_lengths_fit() {
    let long = "y".repeat(300);
    let mut replace = |text: &[u8]| (text == b"secret").then(|| long.clone().into_bytes());
    let bytes =
        any_value::replace_strings(kind::KVLIST, &nested("secret").encode_to_vec(), &mut replace).unwrap().unwrap();
    assert_eq!(KeyValueList::decode(bytes.as_slice()).unwrap(), nested(&long));
    let none = any_value::replace_strings(kind::KVLIST, &nested("fine").encode_to_vec(), &mut replace);
    assert_eq!(none, Ok(None), "nothing is rebuilt where nothing is replaced");
}

/// An `AnyValue` whose string is overridden by an integer: readers see 1, the bytes hold the string.
#[test]
fn overridden_strings_are_seen() {
    let any = [string("secret").encode_to_vec(), value(Value::IntValue(1)).encode_to_vec()].concat();
    let array = [vec![0x0a, any.len() as u8], any].concat();
    let mut replace = |text: &[u8]| (text == b"secret").then(|| b"****".to_vec());
    let bytes = any_value::replace_strings(kind::ARRAY, &array, &mut replace).unwrap().unwrap();
    assert!(!bytes.windows(6).any(|window| window == b"secret"));
    assert_eq!(ArrayValue::decode(bytes.as_slice()).unwrap().values, [value(Value::IntValue(1))]);
}

/// A field that OTLP does not know, as a group, before the string: it must not end the walk.
#[test]
fn unknown_groups_do_not_hide_what_follows() {
    // Field 9: group start, a fixed64, a nested group, a string, group end.
    let group = [&[0x4b, 0x09][..], &[0; 8], &[0x53, 0x54, 0x12, 1, b'x', 0x4c]].concat();
    let any = [group, string("secret").encode_to_vec()].concat();
    let array = [vec![0x0a, any.len() as u8], any].concat();
    assert_eq!(ArrayValue::decode(array.as_slice()).unwrap().values, [string("secret")], "it is valid");
    let mut replace = |text: &[u8]| (text == b"secret").then(|| b"****".to_vec());
    let bytes = any_value::replace_strings(kind::ARRAY, &array, &mut replace).unwrap().unwrap();
    assert_eq!(ArrayValue::decode(bytes.as_slice()).unwrap().values, [string("****")]);
}

#[test]
fn damaged_nested_values_are_told_apart_from_those_without_strings() {
    let whole = nested("secret").encode_to_vec();
    let mut replace = |_: &[u8]| Some(b"x".to_vec());
    for end in 1..whole.len() {
        // A cut between two fields leaves a valid value; any other must be an error.
        let cut = any_value::replace_strings(kind::KVLIST, &whole[..end], &mut replace);
        assert_eq!(cut.is_ok(), KeyValueList::decode(&whole[..end]).is_ok(), "cut at {end}");
    }
    assert!(any_value::replace_strings(kind::ARRAY, &[0xff; 40], &mut replace).is_err());
    assert!(any_value::replace_strings(kind::ARRAY, &[0x0b; 1000], &mut replace).is_err(), "groups in groups");
}

#[test]
fn strings_come_in_sections_without_those_that_are_empty_or_not_granted() {
    plugin!(Scans, read: ["resources.*", "spans.attributes:*", "spans.name"], write: [""; 0], |batch| {
        let strings = batch.strings()?;
        let sections: Vec<_> =
            strings.sections.iter().map(|section| (section.table, section.field, section.texts.clone())).collect();
        assert_eq!(
            sections,
            [
                (Table::Resources, None, 0..2),
                (Table::Spans, None, 2..6),
                (Table::Spans, Some(fields::SPAN_NAME), 6..9),
            ]
        );
        let texts: Vec<_> = (0..9).map(|i| strings.texts.str(i)).collect();
        assert_eq!(texts, ["shop", "bank", "x", "", "", "", "a", "b", "c"]);
        let kinds: Vec<_> = (2..7).map(|i| strings.kind(i)).collect();
        assert_eq!(kinds, [kind::STRING, kind::INT, kind::DOUBLE, kind::BOOL, kind::STRING]);
        Ok(())
    });
    outcome::<Scans>().unwrap();
}

#[test]
fn an_attribute_is_filled_where_it_is_or_is_not() {
    plugin!(Fills, read: [""; 0], write: ["spans.attributes:*"], |batch| {
        batch.fill_attribute(Table::Spans, "s", Rows::Without, Values::string("new"))?;
        batch.fill_attribute(Table::Spans, "i", Rows::With, Values::int(4))?;
        batch.fill_attribute(Table::Spans, "d", Rows::All, Values::double(1.5))?;
        assert_eq!(batch.fill_attribute(Table::Spans, "d", Rows::All, Values::default()).unwrap_err().code, 4);
        Ok(())
    });
    let outcome = outcome::<Fills>().unwrap();
    let attributes: Vec<_> = spans(&outcome).into_iter().map(|span| span.attributes).collect();
    let added = vec![text("s", "new"), attribute("d", Value::DoubleValue(1.5))];
    let all = vec![
        text("s", "x"),
        attribute("i", Value::IntValue(4)),
        attribute("d", Value::DoubleValue(1.5)),
        attribute("b", Value::BoolValue(true)),
    ];
    assert_eq!(attributes, [all, added.clone(), added]);
}

//! Every column of a batch against the same of a decoded request.

use crate::generator::{KEYS, NEW_KEYS};
use crate::model::{attributes, rows, span};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use prost::Message;
use sluice_spans::{Batch, Table, Texts, Values};

/// Type, number and text of a value, as columns show them.
pub fn shown(value: Option<&AnyValue>) -> (u8, u64, Vec<u8>) {
    match value.and_then(|value| value.value.as_ref()) {
        None => (0, 0, vec![]),
        Some(Value::StringValue(text)) => (1, 0, text.as_bytes().to_vec()),
        Some(Value::BoolValue(b)) => (2, u64::from(*b), vec![]),
        Some(Value::IntValue(i)) => (3, *i as u64, vec![]),
        Some(Value::DoubleValue(d)) => (4, d.to_bits(), vec![]),
        Some(Value::ArrayValue(array)) => (5, 0, array.encode_to_vec()),
        Some(Value::KvlistValue(list)) => (6, 0, list.encode_to_vec()),
        Some(Value::BytesValue(bytes)) => (7, 0, bytes.clone()),
        Some(Value::StringValueStrindex(i)) => (8, i64::from(*i) as u64, vec![]),
    }
}

fn check_values(values: &Values, expected: &[Option<AnyValue>], what: &str) {
    assert_eq!(values.types.len(), expected.len(), "{what}");
    let mut has = (false, false);
    for (i, value) in expected.iter().enumerate() {
        let (kind, number, text) = shown(value.as_ref());
        assert_eq!(values.types[i], kind, "{what} {i}");
        assert_eq!(values.numbers.get(i).copied().unwrap_or(0), number, "{what} {i}");
        if kind == 5 || kind == 6 {
            // What is nested may be written in another way; what it means must be the same.
            let again = crate::model::any_value(
                &Values { types: vec![kind], numbers: vec![], texts: [values.texts.get(i)].into_iter().collect() },
                0,
            );
            assert_eq!(Some(&again), value.as_ref(), "{what} {i}");
        } else {
            assert!(values.texts.get(i) == text, "{what} {i}");
        }
        has.0 |= [2, 3, 4, 8].contains(&kind);
        has.1 |= [1, 5, 6, 7].contains(&kind);
    }
    let n = expected.len();
    assert_eq!(values.numbers.len(), if has.0 { n } else { 0 }, "{what}");
    assert_eq!(values.texts.len(), if has.1 { n } else { 0 }, "{what}");
    assert!(values.texts.is_well_formed(), "{what}");
}

fn texts_of(items: Vec<&str>) -> Texts {
    items.into_iter().collect()
}

/// Checks every column that can be read.
pub fn check(batch: &mut Batch, request: &ExportTraceServiceRequest) {
    let spans = rows(request, Table::Spans);
    assert_eq!(batch.spans() as usize, spans.len(), "spans");
    check_parents(batch, request);
    check_wrappers(batch, request);
    check_spans(batch, request);
    check_children(batch, request);
    for table in Table::ALL {
        check_attributes(batch, request, table);
    }
}

fn check_parents(batch: &mut Batch, request: &ExportTraceServiceRequest) {
    for (table, owners, depth) in [
        (Table::Scopes, Table::Resources, 1),
        (Table::Spans, Table::Scopes, 2),
        (Table::Events, Table::Spans, 3),
        (Table::Links, Table::Spans, 3),
    ] {
        let owners = rows(request, owners);
        let parent =
            |path: &[usize; 4]| owners.iter().position(|owner| owner[..depth] == path[..depth]).unwrap() as u32;
        let expected: Vec<u32> = rows(request, table).iter().map(parent).collect();
        assert_eq!(batch.len(table), expected.len());
        assert_eq!(batch.parents(table).unwrap(), expected, "{table:?}");
    }
    assert!(batch.parents(Table::Resources).is_err());
}

fn check_wrappers(batch: &mut Batch, request: &ExportTraceServiceRequest) {
    let resources = &request.resource_spans;
    let urls = resources.iter().map(|r| r.schema_url.as_str()).collect();
    assert_eq!(batch.texts(Table::Resources, 1003).unwrap(), texts_of(urls));
    let dropped = |r: &opentelemetry_proto::tonic::trace::v1::ResourceSpans| {
        let resource = r.resource.clone().unwrap_or_default();
        u64::from(resource.dropped_attributes_count)
    };
    let expected: Vec<u64> = resources.iter().map(dropped).collect();
    assert_eq!(batch.numbers(Table::Resources, 2).unwrap(), expected);
    let wrappers: Vec<_> = resources.iter().flat_map(|r| &r.scope_spans).collect();
    let urls = wrappers.iter().map(|s| s.schema_url.as_str()).collect();
    assert_eq!(batch.texts(Table::Scopes, 1003).unwrap(), texts_of(urls));
    let none = InstrumentationScope::default();
    let scopes: Vec<_> = wrappers.iter().map(|s| s.scope.as_ref().unwrap_or(&none)).collect();
    let names = scopes.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(batch.texts(Table::Scopes, 1).unwrap(), texts_of(names));
    let versions = scopes.iter().map(|s| s.version.as_str()).collect();
    assert_eq!(batch.texts(Table::Scopes, 2).unwrap(), texts_of(versions));
    let dropped: Vec<u64> = scopes.iter().map(|s| s.dropped_attributes_count.into()).collect();
    assert_eq!(batch.numbers(Table::Scopes, 4).unwrap(), dropped);
}

fn check_spans(batch: &mut Batch, request: &ExportTraceServiceRequest) {
    let paths = rows(request, Table::Spans);
    let spans: Vec<_> = paths.iter().map(|&path| span(request, path)).collect();
    let status: Vec<_> = spans.iter().map(|s| s.status.clone().unwrap_or_default()).collect();
    let t = Table::Spans;
    let ids: Vec<u8> = spans.iter().flat_map(|s| s.trace_id.clone()).collect();
    assert_eq!(batch.trace_ids(t).unwrap(), ids);
    let ids: Vec<u8> = spans.iter().flat_map(|s| s.span_id.clone()).collect();
    assert_eq!(batch.span_ids(t).unwrap(), ids);
    let parent = |s: &&opentelemetry_proto::tonic::trace::v1::Span| {
        if s.parent_span_id.is_empty() { vec![0; 8] } else { s.parent_span_id.clone() }
    };
    let ids: Vec<u8> = spans.iter().flat_map(parent).collect();
    assert_eq!(batch.parent_span_ids().unwrap(), ids);
    let texts = |get: fn(&opentelemetry_proto::tonic::trace::v1::Span) -> &String| {
        texts_of(spans.iter().map(|s| get(s).as_str()).collect())
    };
    assert!(batch.texts(t, 3).unwrap() == texts(|s| &s.trace_state));
    assert!(batch.texts(t, 5).unwrap() == texts(|s| &s.name));
    let messages = texts_of(status.iter().map(|s| s.message.as_str()).collect());
    assert!(batch.texts(t, 1502).unwrap() == messages);
    let codes: Vec<u64> = status.iter().map(|s| i64::from(s.code) as u64).collect();
    assert_eq!(batch.numbers(t, 1503).unwrap(), codes);
    let numbers = |get: fn(&opentelemetry_proto::tonic::trace::v1::Span) -> u64| {
        spans.iter().map(|s| get(s)).collect::<Vec<u64>>()
    };
    assert_eq!(batch.numbers(t, 6).unwrap(), numbers(|s| i64::from(s.kind) as u64));
    assert_eq!(batch.numbers(t, 7).unwrap(), numbers(|s| s.start_time_unix_nano));
    assert_eq!(batch.numbers(t, 8).unwrap(), numbers(|s| s.end_time_unix_nano));
    assert_eq!(batch.numbers(t, 10).unwrap(), numbers(|s| s.dropped_attributes_count.into()));
    assert_eq!(batch.numbers(t, 12).unwrap(), numbers(|s| s.dropped_events_count.into()));
    assert_eq!(batch.numbers(t, 14).unwrap(), numbers(|s| s.dropped_links_count.into()));
    assert_eq!(batch.numbers(t, 16).unwrap(), numbers(|s| s.flags.into()));
    let durations = numbers(|s| s.end_time_unix_nano.max(s.start_time_unix_nano) - s.start_time_unix_nano);
    assert_eq!(batch.durations(), durations);
}

fn check_children(batch: &mut Batch, request: &ExportTraceServiceRequest) {
    let paths = rows(request, Table::Events);
    let events: Vec<_> = paths.iter().map(|&p| &span(request, p).events[p[3]]).collect();
    let t = Table::Events;
    let names = texts_of(events.iter().map(|e| e.name.as_str()).collect());
    assert!(batch.texts(t, 2).unwrap() == names);
    let times: Vec<u64> = events.iter().map(|e| e.time_unix_nano).collect();
    assert_eq!(batch.numbers(t, 1).unwrap(), times);
    let dropped: Vec<u64> = events.iter().map(|e| e.dropped_attributes_count.into()).collect();
    assert_eq!(batch.numbers(t, 4).unwrap(), dropped);
    assert!(batch.trace_ids(t).is_err());
    let paths = rows(request, Table::Links);
    let links: Vec<_> = paths.iter().map(|&p| &span(request, p).links[p[3]]).collect();
    let t = Table::Links;
    let ids: Vec<u8> = links.iter().flat_map(|l| l.trace_id.clone()).collect();
    assert_eq!(batch.trace_ids(t).unwrap(), ids);
    let ids: Vec<u8> = links.iter().flat_map(|l| l.span_id.clone()).collect();
    assert_eq!(batch.span_ids(t).unwrap(), ids);
    let states = texts_of(links.iter().map(|l| l.trace_state.as_str()).collect());
    assert!(batch.texts(t, 3).unwrap() == states);
    let dropped: Vec<u64> = links.iter().map(|l| l.dropped_attributes_count.into()).collect();
    assert_eq!(batch.numbers(t, 5).unwrap(), dropped);
    let flags: Vec<u64> = links.iter().map(|l| l.flags.into()).collect();
    assert_eq!(batch.numbers(t, 6).unwrap(), flags);
}

fn check_attributes(batch: &mut Batch, request: &ExportTraceServiceRequest, table: Table) {
    let paths = rows(request, table);
    let all: Vec<Vec<KeyValue>> = paths.iter().map(|&p| attributes(request, table, p)).collect();
    for key in KEYS.into_iter().chain(["absent"]).chain(NEW_KEYS) {
        for has in [true, false] {
            let is_in = |entries: &Vec<KeyValue>| entries.iter().any(|entry| entry.key == key);
            let rows: Vec<u32> = (0..).zip(&all).filter(|row| is_in(row.1) == has).map(|row| row.0).collect();
            assert_eq!(batch.rows_by_key(table, key.as_bytes(), has), rows, "{key}");
        }
        let column = batch.attribute(table, key.as_bytes()).unwrap();
        let find = |entries: &Vec<KeyValue>| {
            let entry = entries.iter().find(|entry| entry.key == key)?;
            entry.value.clone()
        };
        let expected: Vec<_> = all.iter().map(find).collect();
        check_values(&column.values, &expected, key);
        let again = |entries: &Vec<KeyValue>| entries.iter().filter(|e| e.key == key).count() > 1;
        let duplicates: Vec<u32> = (0..).zip(&all).filter(|x| again(x.1)).map(|x| x.0).collect();
        assert_eq!(column.duplicates, duplicates);
    }
    let is_granted = |key: &[u8]| key.first() != Some(&b'u');
    check_entries(batch, table, &all, None);
    check_entries(batch, table, &all, Some(&is_granted));
}

fn check_entries(batch: &mut Batch, table: Table, all: &[Vec<KeyValue>], granted: Option<&dyn Fn(&[u8]) -> bool>) {
    let (entries, numbers) = batch.entries(table, granted).unwrap();
    let keys = batch.entry_keys(table, granted).unwrap();
    let flat = (0u32..).zip(all).flat_map(|(row, entries)| entries.iter().map(move |entry| (row, entry)));
    let expected: Vec<(usize, (u32, &KeyValue))> =
        flat.enumerate().filter(|(_, (_, entry))| granted.is_none_or(|g| g(entry.key.as_bytes()))).collect();
    let owners: Vec<u32> = expected.iter().map(|x| x.1.0).collect();
    assert_eq!(entries.owners, owners);
    let values: Vec<_> = expected.iter().map(|x| x.1.1.value.clone()).collect();
    check_values(&entries.values, &values, "entries");
    let got: Vec<&[u8]> = keys.keys.iter().map(|&k| keys.dictionary.get(k as usize)).collect();
    let wanted: Vec<&[u8]> = expected.iter().map(|x| x.1.1.key.as_bytes()).collect();
    assert_eq!(got, wanted);
    let physical: Vec<u32> = expected.iter().map(|x| x.0 as u32).collect();
    assert_eq!(numbers, granted.map(|_| physical));
}

//! What a batch should be after edits: the same edits made on `prost`'s structs.

mod fields;

use fields::{set_number, set_text};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use sluice_spans::{Table, Values};

/// One edit, with what `Edits` is told.
#[derive(Clone, Debug)]
pub enum Op {
    Drop(Table, Vec<u32>),
    Set(Table, String, Vec<u32>, Values),
    Remove(Table, String, Vec<u32>),
    Rename(Table, String, String, Vec<u32>),
    SetEntries(Table, Vec<u32>, Values),
    RemoveEntries(Table, Vec<u32>),
    Texts(Table, u32, Vec<u32>, Vec<String>),
    Numbers(Table, u32, Vec<u32>, Vec<u64>),
    Clean(u32),
}

/// Where a row is: resource, scope, span, event or link; what a table does not need is 0.
type Path = [usize; 4];

pub fn rows(request: &ExportTraceServiceRequest, table: Table) -> Vec<Path> {
    let mut all = Vec::new();
    for (r, resource) in request.resource_spans.iter().enumerate() {
        if table == Table::Resources {
            all.push([r, 0, 0, 0]);
        }
        for (s, scope) in resource.scope_spans.iter().enumerate() {
            if table == Table::Scopes {
                all.push([r, s, 0, 0]);
            }
            for (i, span) in scope.spans.iter().enumerate() {
                let below = match table {
                    Table::Spans => 1,
                    Table::Events => span.events.len(),
                    Table::Links => span.links.len(),
                    _ => 0,
                };
                all.extend((0..below).map(|n| [r, s, i, n]));
            }
        }
    }
    all
}

fn span_mut(request: &mut ExportTraceServiceRequest, [r, s, i, _]: Path) -> &mut Span {
    &mut request.resource_spans[r].scope_spans[s].spans[i]
}

pub fn span(request: &ExportTraceServiceRequest, [r, s, i, _]: Path) -> &Span {
    &request.resource_spans[r].scope_spans[s].spans[i]
}

pub fn attributes(request: &ExportTraceServiceRequest, table: Table, path: Path) -> Vec<KeyValue> {
    let resource = &request.resource_spans[path[0]];
    match table {
        Table::Resources => {
            let resource = resource.resource.as_ref();
            resource.map_or_else(Vec::new, |resource| resource.attributes.clone())
        }
        Table::Scopes => {
            let scope = resource.scope_spans[path[1]].scope.as_ref();
            scope.map_or_else(Vec::new, |scope| scope.attributes.clone())
        }
        Table::Spans => span(request, path).attributes.clone(),
        Table::Events => span(request, path).events[path[3]].attributes.clone(),
        Table::Links => span(request, path).links[path[3]].attributes.clone(),
    }
}

fn set_attributes(request: &mut ExportTraceServiceRequest, table: Table, path: Path, attributes: Vec<KeyValue>) {
    let wrapper = &mut request.resource_spans[path[0]];
    let place = match table {
        Table::Resources => &mut wrapper.resource.get_or_insert_default().attributes,
        Table::Scopes => {
            let scope = &mut wrapper.scope_spans[path[1]].scope;
            &mut scope.get_or_insert_default().attributes
        }
        Table::Spans => &mut span_mut(request, path).attributes,
        Table::Events => &mut span_mut(request, path).events[path[3]].attributes,
        Table::Links => &mut span_mut(request, path).links[path[3]].attributes,
    };
    *place = attributes;
}

/// The `AnyValue` that item `i` of a list of values stands for.
pub fn any_value(values: &Values, i: usize) -> AnyValue {
    let i = if values.types.len() == 1 { 0 } else { i };
    let number = values.numbers.get(i).copied().unwrap_or(0);
    let text = values.texts.get(i);
    let value = match values.types[i] {
        0 => None,
        1 => Some(Value::StringValue(String::from_utf8(text.to_vec()).unwrap())),
        2 => Some(Value::BoolValue(number == 1)),
        3 => Some(Value::IntValue(number as i64)),
        4 => Some(Value::DoubleValue(f64::from_bits(number))),
        5 => Some(Value::ArrayValue(ArrayValue::decode(text).unwrap())),
        6 => Some(Value::KvlistValue(KeyValueList::decode(text).unwrap())),
        7 => Some(Value::BytesValue(text.to_vec())),
        8 => Some(Value::StringValueStrindex(number as i32)),
        _ => panic!("no such type"),
    };
    AnyValue { value }
}

/// The attributes of one row while a commit goes on.
struct Work {
    path: Path,
    /// Each with its number among the table's entries, if it had one before.
    entries: Vec<(Option<u32>, KeyValue, bool)>,
    changed: bool,
}

impl Work {
    fn with_key<'a>(&'a mut self, key: &'a str) -> impl Iterator<Item = &'a mut (Option<u32>, KeyValue, bool)> {
        self.entries.iter_mut().filter(move |(_, entry, is_there)| *is_there && entry.key == key)
    }

    fn set(&mut self, key: &str, value: AnyValue) {
        self.changed = true;
        if self.with_key(key).next().is_none() {
            let entry = KeyValue { key: key.to_owned(), value: Some(value), key_strindex: 0 };
            self.entries.push((None, entry, true));
            return;
        }
        let mut occurrences = self.with_key(key);
        occurrences.next().unwrap().1.value = Some(value);
        occurrences.for_each(|other| other.2 = false);
    }

    fn remove(&mut self, key: &str) {
        let mut found = false;
        for entry in self.with_key(key) {
            entry.2 = false;
            found = true;
        }
        self.changed |= found;
    }

    fn rename(&mut self, key: &str, to: &str) {
        if key == to || self.with_key(key).next().is_none() {
            return;
        }
        self.remove(to);
        self.changed = true;
        let mut occurrences = self.with_key(key);
        let first = occurrences.next().unwrap();
        occurrences.for_each(|other| other.2 = false);
        to.clone_into(&mut first.1.key);
    }
}

/// Applies the edits of one call. Answers how many spans it dropped.
pub fn apply(request: &mut ExportTraceServiceRequest, ops: &[Op]) -> usize {
    let tables: Vec<Vec<Path>> = Table::ALL.iter().map(|&t| rows(request, t)).collect();
    let mut works: Vec<Vec<Work>> = Vec::new();
    for (&table, paths) in Table::ALL.iter().zip(&tables) {
        let mut number = 0;
        let work = |&path: &Path| {
            let entries = attributes(request, table, path).into_iter().map(|entry| {
                number += 1;
                (Some(number - 1), entry, true)
            });
            Work { path, entries: entries.collect(), changed: false }
        };
        works.push(paths.iter().map(work).collect());
    }
    let mut dropped: Vec<Vec<Path>> = vec![Vec::new(); 5];
    for op in ops {
        match op {
            Op::Drop(t, rows) => {
                let paths = rows.iter().map(|&row| tables[*t as usize][row as usize]);
                dropped[*t as usize].extend(paths);
            }
            Op::Set(t, key, rows, values) => {
                for (i, &row) in rows.iter().enumerate() {
                    works[*t as usize][row as usize].set(key, any_value(values, i));
                }
            }
            Op::Remove(t, key, rows) => {
                for &row in rows {
                    works[*t as usize][row as usize].remove(key);
                }
            }
            Op::Rename(t, key, to, rows) => {
                for &row in rows {
                    works[*t as usize][row as usize].rename(key, to);
                }
            }
            Op::SetEntries(t, entries, values) => {
                for (i, entry) in entries.iter().enumerate() {
                    on_entry(&mut works[*t as usize], *entry, |(_, key_value, is_there)| {
                        key_value.value = Some(any_value(values, i));
                        *is_there = true;
                    });
                }
            }
            Op::RemoveEntries(t, entries) => {
                for entry in entries {
                    on_entry(&mut works[*t as usize], *entry, |entry| entry.2 = false);
                }
            }
            Op::Texts(t, field, rows, texts) => {
                for (i, &row) in rows.iter().enumerate() {
                    let text = if texts.len() == 1 { &texts[0] } else { &texts[i] };
                    set_text(request, *t, tables[*t as usize][row as usize], *field, text);
                }
            }
            Op::Numbers(t, field, rows, numbers) => {
                for (i, &row) in rows.iter().enumerate() {
                    let number = if numbers.len() == 1 { numbers[0] } else { numbers[i] };
                    set_number(request, *t, tables[*t as usize][row as usize], *field, number);
                }
            }
            Op::Clean(_) => {}
        }
    }
    for (&table, works) in Table::ALL.iter().zip(works) {
        for work in works.into_iter().filter(|work| work.changed) {
            let left = work.entries.into_iter().filter(|entry| entry.2);
            let left = left.map(|entry| entry.1).collect();
            set_attributes(request, table, work.path, left);
        }
    }
    drop_rows(request, &dropped)
}

fn on_entry(works: &mut [Work], number: u32, edit: impl Fn(&mut (Option<u32>, KeyValue, bool))) {
    for work in works {
        for entry in &mut work.entries {
            if entry.0 == Some(number) {
                edit(entry);
                work.changed = true;
            }
        }
    }
}

fn drop_rows(request: &mut ExportTraceServiceRequest, dropped: &[Vec<Path>]) -> usize {
    let mut count = 0;
    for (r, resource) in request.resource_spans.iter_mut().enumerate() {
        for (s, scope) in resource.scope_spans.iter_mut().enumerate() {
            for (i, span) in scope.spans.iter_mut().enumerate() {
                let mut n = 0..;
                span.events.retain(|_| !dropped[3].contains(&[r, s, i, n.next().unwrap()]));
                let mut n = 0..;
                span.links.retain(|_| !dropped[4].contains(&[r, s, i, n.next().unwrap()]));
            }
        }
    }
    let mut r = 0..;
    request.resource_spans.retain_mut(|resource| {
        let r = r.next().unwrap();
        let spans = |scopes: &[opentelemetry_proto::tonic::trace::v1::ScopeSpans]| {
            scopes.iter().map(|scope| scope.spans.len()).sum::<usize>()
        };
        let before = spans(&resource.scope_spans);
        let mut s = 0..;
        resource.scope_spans.retain_mut(|scope| {
            let s = s.next().unwrap();
            let had = scope.spans.len();
            let mut i = 0..;
            scope.spans.retain(|_| !dropped[2].contains(&[r, s, i.next().unwrap(), 0]));
            count += had - scope.spans.len();
            had == 0 || !scope.spans.is_empty()
        });
        before == 0 || spans(&resource.scope_spans) > 0
    });
    count
}

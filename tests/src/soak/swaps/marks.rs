//! Which versions processed a span, by what they left on it.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};
use bytes::Bytes;

use super::load::Sent;
use super::{FIRST, SECOND};
use crate::soak::{SpanId, id};
use crate::wire;

/// How attributes of the versions begin; the place, the version's mark and the note follow.
const PREFIX: &[u8] = b"soak.";
/// An `AnyValue` whose integer is 1: marked once. Field 3, a varint.
const ONCE: [u8; 2] = [0x18, 1];

/// What arrived, by span.
#[derive(Default)]
pub(super) struct Arrived {
    spans: HashMap<SpanId, Seen>,
    /// The different sets of marks, by a number of ours.
    marks: HashMap<Vec<String>, usize>,
}

struct Seen {
    times: u64,
    marks: usize,
    /// Marked once by one version at each place.
    is_whole: bool,
}

/// What is wrong with what arrived. All of it must be 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Spans that did not arrive.
    pub(super) lost: u64,
    /// Arrivals that were not the first of their span.
    pub(super) duplicates: u64,
    /// Spans with no mark, or more than one, of one of the two places; or marked twice.
    pub(super) marked: u64,
    /// Spans with a mark of a version that must not have served.
    pub(super) foreign: u64,
    /// Requests whose spans do not all bear the same marks.
    pub(super) mixed: u64,
    /// Versions that were to serve and that no span has seen.
    pub(super) unseen: u64,
}

impl Arrived {
    /// With room for so many spans, so that it does not have to move them all when there are more.
    pub(super) fn with_room(spans: usize) -> Self {
        Self { spans: HashMap::with_capacity(spans), marks: HashMap::new() }
    }

    /// Adds a request that arrived upstream.
    pub(super) fn add(&mut self, request: &Bytes) -> Result<()> {
        for span in wire::spans(request)? {
            let (mut marks, mut once) = (Vec::new(), true);
            // OTLP's `Span`: 9 is an attribute, of which 1 is the key and 2 the value.
            for attribute in wire::fields(&span.span)?.iter().filter(|field| field.number == 9) {
                let parts = wire::fields(&attribute.value)?;
                let part = |number| parts.iter().find(|part| part.number == number).map(|part| part.value.clone());
                let Some(key) = part(1).filter(|key| key.starts_with(PREFIX)) else { continue };
                once &= part(2).is_some_and(|value| value == ONCE[..]);
                marks.push(String::from_utf8(key.to_vec())?);
            }
            marks.sort();
            let is_whole = once && matches!(&marks[..], [one, other] if is_at(one, FIRST) && is_at(other, SECOND));
            let next = self.marks.len();
            let marks = *self.marks.entry(marks).or_insert(next);
            let seen = self.spans.entry(id(&span.span)?).or_insert(Seen { times: 0, marks, is_whole });
            seen.times += 1;
            // An arrival with other marks counts as wrong, as well as twice.
            seen.is_whole &= is_whole && seen.marks == marks;
        }
        Ok(())
    }

    /// How many different spans arrived.
    pub(super) fn distinct(&self) -> u64 {
        self.spans.len() as u64
    }

    /// Whether spans bear the marks of all these versions.
    pub(super) fn has_seen(&self, versions: &HashSet<String>) -> bool {
        let seen: HashSet<_> = self.marks.keys().flatten().filter_map(|mark| mark.split('.').nth(2)).collect();
        versions.iter().all(|version| seen.contains(version.as_str()))
    }

    /// Compares it with what was sent and with the marks of all versions that were to serve.
    pub(super) fn judge(&self, sent: &[Sent], good: &HashSet<String>) -> Result<Wrong> {
        let mut wrong = Wrong::default();
        let (mut foreign, mut unseen) = (HashSet::new(), good.clone());
        for (marks, number) in &self.marks {
            for mark in marks {
                let [_, _, version, _] = mark.split('.').collect::<Vec<_>>()[..] else { bail!("the mark `{mark}`") };
                unseen.remove(version);
                if !good.contains(version) {
                    foreign.insert(*number);
                }
            }
        }
        wrong.unseen = unseen.len() as u64;
        for seen in self.spans.values() {
            wrong.duplicates += seen.times - 1;
            wrong.marked += u64::from(!seen.is_whole);
            wrong.foreign += u64::from(foreign.contains(&seen.marks));
        }
        for request in sent {
            let arrived: Vec<_> = request.spans.iter().filter_map(|span| self.spans.get(span)).collect();
            wrong.lost += (request.spans.len() - arrived.len()) as u64;
            wrong.mixed += u64::from(arrived.windows(2).any(|two| matches!(two, [a, b] if a.marks != b.marks)));
        }
        Ok(wrong)
    }
}

fn is_at(mark: &str, place: &str) -> bool {
    mark.split('.').nth(1) == Some(place)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::{Duration, Instant};

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message as _;

    use super::*;

    /// A request of spans that are marked so, encoded by `prost`.
    fn request(spans: &[(u8, &[(&str, i64)])]) -> Bytes {
        let attribute = |(key, value): &(&str, i64)| KeyValue {
            key: (*key).to_owned(),
            value: Some(AnyValue { value: Some(any_value::Value::IntValue(*value)) }),
            ..KeyValue::default()
        };
        let span = |(id, marks): &(u8, &[(&str, i64)])| Span {
            trace_id: vec![1; 16],
            span_id: vec![*id; 8],
            attributes: marks.iter().map(attribute).chain([attribute(&("http.status", 200))]).collect(),
            ..Span::default()
        };
        let scope = ScopeSpans { spans: spans.iter().map(span).collect(), ..ScopeSpans::default() };
        let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![resource] }.encode_to_vec().into()
    }

    fn judge(sent: &[u8], arrived: &[Bytes]) -> Wrong {
        let id = |id: &u8| [[1; 16].as_slice(), &[*id; 8]].concat().try_into().unwrap();
        let sent = Sent {
            spans: sent.iter().map(id).collect(),
            began: Instant::now(),
            lasted: Duration::ZERO,
            held: Duration::ZERO,
            refused: 0,
        };
        let mut all = Arrived::default();
        for request in arrived {
            all.add(request).unwrap();
        }
        all.judge(&[sent], &["a", "b"].map(str::to_owned).into()).unwrap()
    }

    #[test]
    fn what_is_wrong_is_told_each_under_its_own_name() {
        const A: (&str, i64) = ("soak.first.a.0", 1);
        const B: (&str, i64) = ("soak.second.b.0", 1);
        let right = request(&[(1, &[A, B]), (2, &[B, A])]);
        let wrong = Wrong::default;
        assert_eq!(judge(&[1, 2], std::slice::from_ref(&right)), wrong());
        assert_eq!(judge(&[1, 2, 3], std::slice::from_ref(&right)), Wrong { lost: 1, ..wrong() });
        assert_eq!(judge(&[1, 2], &[right.clone(), right]), Wrong { duplicates: 2, ..wrong() });
        // No mark of the second place; marked by two versions; marked twice.
        let spans: [(u8, &[(&str, i64)]); 3] =
            [(1, &[A]), (2, &[A, B, ("soak.first.b.0", 1)]), (3, &[A, ("soak.second.b.0", 2)])];
        assert_eq!(judge(&[1], &[request(&spans)]), Wrong { marked: 3, ..wrong() });
        let two = request(&[(1, &[A, B]), (2, &[("soak.first.b.0", 1), B])]);
        assert_eq!(judge(&[1, 2], &[two]), Wrong { mixed: 1, ..wrong() });
        let mut arrived = Arrived::default();
        arrived.add(&request(&[(1, &[A, B])])).unwrap();
        let has_seen = |versions: &[&str]| arrived.has_seen(&versions.iter().map(|one| (*one).to_owned()).collect());
        assert!(has_seen(&["a", "b"]) && has_seen(&["b"]) && !has_seen(&["a", "c"]));
        let foreign = request(&[(1, &[A, ("soak.second.bad.0", 1)])]);
        assert_eq!(judge(&[1], &[foreign]), Wrong { foreign: 1, unseen: 1, ..wrong() });
    }
}

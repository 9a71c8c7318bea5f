//! Which versions processed a span, by what they left on it.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;

use super::history::History;
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
    /// Requests whose spans do not all bear the same marks, or marks with different notes.
    pub(super) mixed: u64,
    /// Requests with a mark of a version, or a note, that was to serve no more when they began.
    pub(super) stale: u64,
    /// Versions and notes that were to serve and that no span has seen.
    pub(super) unseen: u64,
}

/// What a version leaves on a span, taken apart.
struct Mark<'m> {
    place: &'m str,
    version: &'m str,
    note: u32,
}

impl<'m> Mark<'m> {
    fn read(mark: &'m str) -> Result<Self> {
        let [_, place, version, note] = mark.split('.').collect::<Vec<_>>()[..] else { bail!("the mark `{mark}`") };
        Ok(Self { place, version, note: note.parse().with_context(|| format!("the mark `{mark}`"))? })
    }

    fn all(marks: &'m [String]) -> Result<Vec<Self>> {
        marks.iter().map(|mark| Self::read(mark)).collect()
    }
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

    /// Whether spans bear the marks of all versions and the last note.
    pub(super) fn has_seen(&self, history: &History) -> Result<bool> {
        Ok(self.unseen(history)? == 0)
    }

    /// How many versions and notes no span has seen.
    fn unseen(&self, history: &History) -> Result<u64> {
        let (mut versions, mut notes) = (HashSet::new(), HashSet::new());
        for marks in self.marks.keys() {
            let marks = Mark::all(marks)?;
            versions.extend(marks.iter().map(|mark| (mark.place, mark.version)));
            // Those of a configuration that only one of the plugins has do not count.
            let note = marks.first().map(|mark| mark.note).filter(|note| marks.iter().all(|mark| mark.note == *note));
            notes.extend(note);
        }
        let versions = history.versions().filter(|version| !versions.contains(version)).count();
        let notes = (0..=history.note).filter(|note| !notes.contains(note)).count();
        Ok((versions + notes) as u64)
    }

    /// Compares it with what was sent and with the versions that were to serve.
    pub(super) fn judge(&self, sent: &[Sent], history: &History) -> Result<Wrong> {
        let mut wrong = Wrong { unseen: self.unseen(history)?, ..Wrong::default() };
        let mut by_number = HashMap::new();
        for (marks, number) in &self.marks {
            by_number.insert(*number, Mark::all(marks)?);
        }
        let of = |seen: &Seen| by_number.get(&seen.marks).map(Vec::as_slice).unwrap_or_default();
        for seen in self.spans.values() {
            wrong.duplicates += seen.times - 1;
            wrong.marked += u64::from(!seen.is_whole);
            wrong.foreign += u64::from(of(seen).iter().any(|mark| !history.knows(mark.place, mark.version)));
        }
        for request in sent {
            let arrived: Vec<_> = request.spans.iter().filter_map(|span| self.spans.get(span)).collect();
            wrong.lost += (request.spans.len() - arrived.len()) as u64;
            let marks = || arrived.iter().flat_map(|seen| of(seen));
            let is_mixed = arrived.windows(2).any(|two| matches!(two, [a, b] if a.marks != b.marks))
                || marks().zip(marks().skip(1)).any(|(one, next)| one.note != next.note);
            wrong.mixed += u64::from(is_mixed);
            let allowed = [FIRST, SECOND].map(|place| (place, history.allowed(place, request.began)));
            let is_stale = |mark: &Mark<'_>| {
                let mut here = allowed.iter().filter(|(place, _)| *place == mark.place);
                here.any(|(place, allowed)| history.is_over(place, mark.version, mark.note, allowed))
            };
            wrong.stale += u64::from(marks().any(is_stale));
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

    use super::super::version::Version;
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

    fn version(mark: &str, number: u32) -> Version {
        Version { mark: mark.to_owned(), number, digest: String::new(), file: Vec::new() }
    }

    fn sent(spans: &[u8], began: Instant) -> Sent {
        let id = |id: &u8| [[1; 16].as_slice(), &[*id; 8]].concat().try_into().unwrap();
        Sent { spans: spans.iter().map(id).collect(), began, lasted: Duration::ZERO, held: Duration::ZERO, refused: 0 }
    }

    fn arrived(requests: &[Bytes]) -> Arrived {
        let mut all = Arrived::default();
        for request in requests {
            all.add(request).unwrap();
        }
        all
    }

    /// One version at each place.
    fn history() -> History {
        let mut history = History::default();
        for (place, mark) in [(FIRST, "a"), (SECOND, "b")] {
            history.put(place, &version(mark, 1));
            history.serves(place, Instant::now());
        }
        history
    }

    fn judge(spans: &[u8], requests: &[Bytes]) -> Wrong {
        arrived(requests).judge(&[sent(spans, Instant::now())], &history()).unwrap()
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
            [(1, &[A]), (2, &[A, B, ("soak.first.a.1", 1)]), (3, &[A, ("soak.second.b.0", 2)])];
        assert_eq!(judge(&[1], &[request(&spans)]), Wrong { marked: 3, ..wrong() });
        let two = request(&[(1, &[A, B]), (2, &[("soak.first.a.1", 1), ("soak.second.b.1", 1)])]);
        assert_eq!(judge(&[1, 2], &[two]), Wrong { mixed: 1, ..wrong() });
        let half = request(&[(1, &[A, B]), (2, &[A, ("soak.second.b.1", 1)])]);
        assert_eq!(judge(&[2], &[half]), Wrong { mixed: 1, ..wrong() });
        let foreign = request(&[(1, &[A, ("soak.second.bad.0", 1)])]);
        assert_eq!(judge(&[1], &[foreign]), Wrong { foreign: 1, unseen: 1, ..wrong() });
        let elsewhere = request(&[(1, &[A, B]), (2, &[("soak.first.b.0", 1), B])]);
        assert_eq!(judge(&[1], &[elsewhere]), Wrong { foreign: 1, ..wrong() });
    }

    #[test]
    fn what_was_put_is_seen_when_spans_bear_its_mark_and_its_note() {
        let mut history = history();
        let has_seen = |history: &History, marks: &[(&str, i64)]| {
            let before: &[(&str, i64)] = &[("soak.first.a.0", 1), ("soak.second.b.0", 1)];
            arrived(&[request(&[(1, before), (2, marks)])]).has_seen(history).unwrap()
        };
        assert!(has_seen(&history, &[]));
        history.put(FIRST, &version("c", 2));
        assert!(!has_seen(&history, &[]) && has_seen(&history, &[("soak.first.c.0", 1), ("soak.second.b.0", 1)]));
        history.note = 1;
        assert!(!has_seen(&history, &[("soak.first.c.0", 1), ("soak.second.b.0", 1)]));
        assert!(!has_seen(&history, &[("soak.first.c.1", 1), ("soak.second.b.0", 1)]));
        assert!(has_seen(&history, &[("soak.first.c.1", 1), ("soak.second.b.1", 1)]));
    }

    #[test]
    fn what_was_replaced_before_a_request_began_is_stale() {
        let (mut history, second) = (history(), Duration::from_secs(1));
        let start = Instant::now();
        // The second of these is late and goes, and the one before it comes back.
        for (number, mark) in (2..).zip(["c", "late", "c", "d"]) {
            history.put(FIRST, &version(mark, number));
            history.serves(FIRST, start + second * number);
        }
        history.stands_in(FIRST, "003");
        let request = |mark: &str| {
            let first = format!("soak.first.{mark}.0");
            arrived(&[request(&[(1, &[(first.as_str(), 1), ("soak.second.b.0", 1)])])])
        };
        let stale = |at: u32| {
            let is_stale = |mark: &&str| {
                let sent = sent(&[1], start + second * at + second / 2);
                request(mark).judge(&[sent], &history).unwrap().stale > 0
            };
            ["a", "c", "late", "d"].into_iter().filter(is_stale).collect::<Vec<_>>()
        };
        assert_eq!(stale(1), [""; 0], "the next one may serve already");
        assert_eq!(stale(2), ["a"]);
        assert_eq!(stale(3), ["a"], "the one before stands in for the one that is late");
        assert_eq!(stale(4), ["a", "late"]);
        assert_eq!(stale(5), ["a", "c", "late"], "nobody was told to stand in for this one");
    }

    #[test]
    fn a_note_is_stale_when_another_was_seen_before_the_next_version_was_put() {
        let (mut history, second) = (history(), Duration::from_secs(1));
        let (start, serve) = (Instant::now(), |history: &mut History, mark, at| {
            history.is_shown();
            history.put(FIRST, &version(mark, 2));
            history.serves(FIRST, at);
        });
        history.note = 1;
        let stale = |history: &History, note: u32| {
            let marks = ["first.d", "second.b"].map(|mark| format!("soak.{mark}.{note}"));
            let arrived = arrived(&[request(&[(1, &[(marks[0].as_str(), 1), (marks[1].as_str(), 1)])])]);
            arrived.judge(&[sent(&[1], start + second * 2)], history).unwrap().stale
        };
        history.put(FIRST, &version("d", 2));
        history.serves(FIRST, start);
        assert_eq!((stale(&history, 0), stale(&history, 1)), (0, 0), "it came with the version or after it");
        serve(&mut history, "d", start + second);
        assert_eq!((stale(&history, 0), stale(&history, 1)), (1, 0));
    }
}

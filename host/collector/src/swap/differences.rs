//! In what the work of two versions on one batch differs, span by span: which attributes and fields, but
//! no values.
//!
//! Senders choose what is compared, and requests of others may wait for the thread that does it. So the work grows
//! hardly faster than the batch, whatever is in it, and a batch that is too large is not compared.

use std::collections::{BTreeMap, HashMap};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// Bytes of a name that are told; senders choose the keys of attributes.
const MAX_NAME: usize = 128;

/// What a version may have made of a batch to be compared, in bytes: usually some 250 KiB. Decoded, the same may take
/// forty times as much.
const MAX_BYTES: usize = 2 << 20;

/// The spans of a request by their ids, and what holds them.
#[derive(Default)]
struct Spans<'r> {
    /// Ids may come again; their order is kept.
    by_id: HashMap<(&'r [u8], &'r [u8]), Vec<Held<'r>>>,
    /// The attributes of all scopes, and of all resources.
    scopes: Vec<&'r [KeyValue]>,
    resources: Vec<&'r [KeyValue]>,
}

/// A span, and the numbers of its scope and resource.
struct Held<'r> {
    span: &'r Span,
    scope: usize,
    resource: usize,
}

/// What differs, and on how many of the spans that are in both: attributes of spans by their keys, those of
/// scopes and resources and fields by their grants (`resources.attributes:KEY`, `spans.name`). Nothing if they are too
/// large to be compared.
pub fn between(before: &[u8], after: &[u8]) -> Option<BTreeMap<String, u64>> {
    let mut differ = BTreeMap::new();
    if before == after {
        return Some(differ);
    }
    if before.len().max(after.len()) > MAX_BYTES {
        return None;
    }
    // Both are what the host has put together.
    let (before, after) = (ExportTraceServiceRequest::decode(before), ExportTraceServiceRequest::decode(after));
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let (before, after) = (Spans::of(&before), Spans::of(&after));
    let mut note = |prefix: &str, name: &str, spans: u64| {
        let name = format!("{prefix}{name}");
        let cut = name.char_indices().take_while(|(at, _)| *at < MAX_NAME).map(|(_, letter)| letter);
        *differ.entry(cut.collect()).or_default() += spans;
    };
    // Many spans share them: each is compared once.
    let (mut scopes, mut resources) = (HashMap::new(), HashMap::new());
    for (id, ones) in &before.by_id {
        // If one of those with the same ids is gone, nobody knows which.
        let others = after.by_id.get(id).filter(|others| others.len() == ones.len());
        for (one, other) in ones.iter().zip(others.into_iter().flatten()) {
            attributes(&one.span.attributes, &other.span.attributes, |key| note("", key, 1));
            fields(one.span, other.span, |name| note("", name, 1));
            *scopes.entry((one.scope, other.scope)).or_default() += 1;
            *resources.entry((one.resource, other.resource)).or_default() += 1;
        }
    }
    let mut shared = |prefix, befores: &[&[KeyValue]], afters: &[&[KeyValue]], pairs: HashMap<(usize, usize), u64>| {
        for ((one, other), spans) in pairs {
            let (one, other) = (befores.get(one).copied(), afters.get(other).copied());
            attributes(one.unwrap_or_default(), other.unwrap_or_default(), |key| note(prefix, key, spans));
        }
    };
    shared("scopes.attributes:", &before.scopes, &after.scopes, scopes);
    shared("resources.attributes:", &before.resources, &after.resources, resources);
    Some(differ)
}

impl<'r> Spans<'r> {
    fn of(request: &'r ExportTraceServiceRequest) -> Self {
        let mut all = Self::default();
        for within in &request.resource_spans {
            let resource = all.resources.len();
            all.resources.push(within.resource.as_ref().map(|resource| &*resource.attributes).unwrap_or_default());
            for within in &within.scope_spans {
                let scope = all.scopes.len();
                all.scopes.push(within.scope.as_ref().map(|scope| &*scope.attributes).unwrap_or_default());
                for span in &within.spans {
                    let same = all.by_id.entry((&span.trace_id, &span.span_id)).or_default();
                    same.push(Held { span, scope, resource });
                }
            }
        }
        all
    }
}

/// The keys whose values differ, in their order; a key may have several.
fn attributes(before: &[KeyValue], after: &[KeyValue], mut note: impl FnMut(&str)) {
    if before == after {
        return;
    }
    let all = before.iter().map(|attribute| (attribute, false));
    let mut all: Vec<_> = all.chain(after.iter().map(|attribute| (attribute, true))).collect();
    // It is stable: of each key there are first those before, then those after, in their order.
    all.sort_by(|(one, _), (other, _)| one.key.cmp(&other.key));
    for same in all.chunk_by(|(one, _), (other, _)| one.key == other.key) {
        let (before, after) = same.split_at(same.partition_point(|(_, is_after)| !is_after));
        let is_same = before.iter().map(|(one, _)| one).eq(after.iter().map(|(other, _)| other));
        if let [(attribute, _), ..] = same
            && !is_same
        {
            note(&attribute.key);
        }
    }
}

fn fields(before: &Span, after: &Span, note: impl FnMut(&str)) {
    let times = |span: &Span| (span.start_time_unix_nano, span.end_time_unix_nano);
    let all = [
        ("spans.name", before.name != after.name),
        ("spans.kind", before.kind != after.kind),
        ("spans.trace_state", before.trace_state != after.trace_state),
        ("spans.times", times(before) != times(after)),
        ("spans.status", before.status != after.status),
        ("spans.flags", before.flags != after.flags),
        ("spans.events", before.events != after.events),
        ("spans.links", before.links != after.links),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).for_each(note);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, any_value::Value};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

    use super::*;
    use crate::chain::{SLICE_SPANS, thread_cpu_time};

    /// Far more than what is asked for takes if it grows with the batch, and far less than if it grows with its square.
    const GENEROUS: Duration = Duration::from_secs(3);

    fn text(key: &str, value: &str) -> KeyValue {
        let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
        KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
    }

    fn span(id: u8, name: &str, attributes: &[(&str, &str)]) -> Span {
        let attributes = attributes.iter().map(|(key, value)| text(key, value)).collect();
        Span { trace_id: vec![1; 16], span_id: vec![id; 8], name: name.to_owned(), attributes, ..Span::default() }
    }

    fn request(service: &str, spans: Vec<Span>) -> Vec<u8> {
        let resource = Some(Resource { attributes: vec![text("service.name", service)], ..Resource::default() });
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    fn told(before: &[u8], after: &[u8]) -> Vec<(String, u64)> {
        between(before, after).unwrap().into_iter().collect()
    }

    /// What differs, and the CPU time that it took to tell.
    fn timed(before: &[u8], after: &[u8]) -> (Vec<(String, u64)>, Duration) {
        let began = thread_cpu_time();
        let told = told(before, after);
        (told, thread_cpu_time().saturating_sub(began))
    }

    #[test]
    fn what_differs_is_told_with_the_number_of_spans_and_no_values() {
        let before = request("a", vec![span(1, "x", &[("same", "1"), ("other", "1")]), span(2, "x", &[("gone", "1")])]);
        assert_eq!(told(&before, &before), []);
        let after =
            request("b", vec![span(1, "y", &[("same", "1"), ("other", "2")]), span(2, "x", &[("new", "secret")])]);
        let expected =
            [("gone", 1), ("new", 1), ("other", 1), ("resources.attributes:service.name", 2), ("spans.name", 1)];
        assert_eq!(told(&before, &after), expected.map(|(name, spans)| (name.to_owned(), spans)));
    }

    #[test]
    fn spans_that_only_one_has_kept_are_none_that_differ() {
        let (one, two) = (span(1, "x", &[("a", "1")]), span(2, "x", &[("b", "1")]));
        let (both, second) = (request("a", vec![one.clone(), two.clone()]), request("a", vec![two.clone()]));
        assert_eq!((told(&both, &second), told(&second, &both)), (vec![], vec![]));
        // The order is no difference, and what comes twice is compared one by one.
        let turned = request("a", vec![two.clone(), one.clone()]);
        assert_eq!(told(&both, &turned), []);
        let (named, more) = (span(1, "y", &[("a", "1")]), span(1, "x", &[("a", "1"), ("b", "1")]));
        let (before, after) = (request("a", vec![one, named.clone()]), request("a", vec![more, named]));
        assert_eq!(told(&before, &after), [("b".to_owned(), 1)]);
    }

    #[test]
    fn of_spans_with_the_same_ids_of_which_one_is_gone_nobody_knows_which() {
        let spans = ["1", "2", "3"].map(|value| span(1, "x", &[("a", value)]));
        let [all, rest] = [&spans[..], &spans[1..]].map(|spans| request("a", spans.to_vec()));
        assert_eq!((told(&all, &rest), told(&rest, &all)), (vec![], vec![]));
    }

    /// Attributes, and the keys of those that differ.
    type Case<'c> = (&'c [(&'c str, &'c str)], &'c [&'c str]);

    #[test]
    fn all_values_of_a_key_count_in_their_order() {
        let of = |values: &[(&str, &str)]| request("a", vec![span(1, "x", values)]);
        let before = of(&[("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")]);
        let cases: [Case<'_>; 5] = [
            (&[("c", "1"), ("a", "1"), ("a", "2"), ("b", "1")], &[]),
            (&[("a", "2"), ("b", "1"), ("a", "1"), ("c", "1")], &["a"]),
            (&[("a", "1"), ("b", "1"), ("c", "1")], &["a"]),
            (&[("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("b", "1")], &["b"]),
            (&[("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("d", "1")], &["b", "c", "d"]),
        ];
        for (after, differ) in cases {
            let expected: Vec<_> = differ.iter().map(|key| ((*key).to_owned(), 1)).collect();
            assert_eq!(told(&before, &of(after)), expected, "{after:?}");
        }
    }

    #[test]
    fn a_span_of_very_many_attributes_is_compared_in_no_time() {
        const ATTRIBUTES: usize = 100_000;
        let keys: Vec<_> = (0..ATTRIBUTES).map(|key| format!("k{key:06}")).collect();
        let of = |value| {
            let attributes: Vec<_> = keys.iter().map(|key| (key.as_str(), value)).collect();
            request("a", vec![span(1, "x", &attributes)])
        };
        let (told, took) = timed(&of("v"), &of("w"));
        assert_eq!((told.len(), told.iter().all(|(_, spans)| *spans == 1)), (ATTRIBUTES, true));
        assert!(took < GENEROUS, "{took:?}");
    }

    #[test]
    fn what_spans_share_is_compared_once_for_all_of_them() {
        const ATTRIBUTES: usize = 10_000;
        let of = |value: &str| {
            let attributes = || (0..ATTRIBUTES).map(|key| text(&format!("k{key:06}"), value)).collect();
            let ids = || (0..SLICE_SPANS as u64).map(u64::to_be_bytes);
            let spans = ids().map(|id| Span { span_id: id.to_vec(), ..span(0, "x", &[]) }).collect();
            let scope = Some(InstrumentationScope { attributes: attributes(), ..InstrumentationScope::default() });
            let scope_spans = vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }];
            let resource = Some(Resource { attributes: attributes(), ..Resource::default() });
            let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
            ExportTraceServiceRequest { resource_spans }.encode_to_vec()
        };
        let (told, took) = timed(&of("v"), &of("w"));
        assert_eq!(
            (told.len(), told.first()),
            (2 * ATTRIBUTES, Some(&("resources.attributes:k000000".to_owned(), 512)))
        );
        assert!(told.iter().all(|(_, spans)| *spans == 512));
        assert!(took < GENEROUS, "{took:?}");
    }

    #[test]
    fn what_is_too_large_is_not_compared_unless_it_is_the_same() {
        let of = |value: &str| request("a", vec![span(1, "x", &[("a", value)])]);
        let (small, large) = (of("1"), of(&"1".repeat(MAX_BYTES)));
        assert_eq!((between(&small, &large), between(&large, &small)), (None, None));
        assert_eq!(between(&large, &large), Some(BTreeMap::new()));
    }

    #[test]
    fn names_are_cut() {
        let long = "k".repeat(1000);
        let (before, after) =
            (request("a", vec![span(1, "x", &[])]), request("a", vec![span(1, "x", &[(&long, "1")])]));
        assert_eq!(told(&before, &after), [("k".repeat(MAX_NAME), 1)]);
    }
}

//! In what the work of two versions on one batch differs, span by span: which attributes and fields, but
//! no values.

use std::collections::{BTreeMap, HashMap, VecDeque};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// Bytes of a name that are told; senders choose the keys of attributes.
const MAX_NAME: usize = 128;

/// The spans of a request, each with what it belongs to.
type Spans<'r> = Vec<(&'r Span, Option<&'r InstrumentationScope>, Option<&'r Resource>)>;

/// What differs, and on how many of the spans that are in both: attributes of spans by their keys, those of
/// scopes and resources and fields by their grants (`resources.attributes:KEY`, `spans.name`).
pub fn between(before: &[u8], after: &[u8]) -> BTreeMap<String, u64> {
    let mut differ = BTreeMap::new();
    if before == after {
        return differ;
    }
    // Both are what the host has put together.
    let (before, after) = (ExportTraceServiceRequest::decode(before), ExportTraceServiceRequest::decode(after));
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    // Ids may come again; their order is kept.
    let mut others: HashMap<(&[u8], &[u8]), VecDeque<_>> = HashMap::new();
    for other in spans(&after) {
        others.entry((&other.0.trace_id, &other.0.span_id)).or_default().push_back(other);
    }
    for (span, scope, resource) in spans(&before) {
        let other = others.get_mut(&(span.trace_id.as_slice(), span.span_id.as_slice()));
        let Some((other, other_scope, other_resource)) = other.and_then(VecDeque::pop_front) else { continue };
        let mut note = |name: &str| {
            let name = name.char_indices().take_while(|(at, _)| *at < MAX_NAME).map(|(_, letter)| letter).collect();
            *differ.entry(name).or_default() += 1;
        };
        attributes(&span.attributes, &other.attributes, "", &mut note);
        fields(span, other, &mut note);
        let of = |scope: Option<&InstrumentationScope>| scope.map(|scope| scope.attributes.clone()).unwrap_or_default();
        attributes(&of(scope), &of(other_scope), "scopes.attributes:", &mut note);
        let of = |resource: Option<&Resource>| resource.map(|resource| resource.attributes.clone()).unwrap_or_default();
        attributes(&of(resource), &of(other_resource), "resources.attributes:", &mut note);
    }
    differ
}

fn spans(request: &ExportTraceServiceRequest) -> Spans<'_> {
    let mut all = Vec::new();
    for resource in &request.resource_spans {
        for scope in &resource.scope_spans {
            all.extend(scope.spans.iter().map(|span| (span, scope.scope.as_ref(), resource.resource.as_ref())));
        }
    }
    all
}

fn attributes(before: &[KeyValue], after: &[KeyValue], prefix: &str, note: &mut impl FnMut(&str)) {
    if before == after {
        return;
    }
    let mut keys: Vec<&str> = before.iter().chain(after).map(|attribute| attribute.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let of = |attributes: &'_ [KeyValue]| {
            attributes.iter().filter(|attribute| attribute.key == key).cloned().collect::<Vec<_>>()
        };
        if of(before) != of(after) {
            note(&format!("{prefix}{key}"));
        }
    }
}

fn fields(before: &Span, after: &Span, note: &mut impl FnMut(&str)) {
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
    all.into_iter().filter(|(_, differs)| *differs).for_each(|(name, _)| note(name));
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

    use super::*;

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
        between(before, after).into_iter().collect()
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
    fn names_are_cut() {
        let long = "k".repeat(1000);
        let (before, after) =
            (request("a", vec![span(1, "x", &[])]), request("a", vec![span(1, "x", &[(&long, "1")])]));
        assert_eq!(told(&before, &after), [("k".repeat(MAX_NAME), 1)]);
    }
}

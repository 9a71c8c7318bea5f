//! Filter, redaction, attributes and sampling in one chain: each span is what the four rules make of it, worked out
//! here on spans that `prost` has decoded, and a span that no rule is about leaves byte for byte as it came.

use std::collections::HashMap;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use sluice_tests::collector::{Config, Sluice};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::wire::RawSpan;
use sluice_tests::{corpus, send, traffic, wire};

/// The number of `Span.trace_state`.
const TRACE_STATE: u32 = 3;

const UPDATED: [&str; 2] = ["http.method", "rpc.system"];
const DELETED: [&str; 2] = ["net.peer.ip", "net.host.port"];
const BLOCKED: [&str; 2] = ["user.email", "enduser.id"];

/// Its rules are those of [`expected`]. The detectors look at every string and find nothing in these traces.
fn chain(upstream: &Sink, dropped: &str) -> Config {
    let dropped = dropped.replace('\\', r"\\").replace('"', r#"\""#).replace('\'', "''");
    let actions: Vec<String> = UPDATED
        .iter()
        .map(|key| format!("{{ key: {key}, action: update, value: known }}"))
        .chain(DELETED.iter().map(|key| format!("{{ key: {key}, action: delete }}")))
        .collect();
    Config::to(upstream)
        .processor("filter", &format!("trace_conditions: ['span.name == \"{dropped}\"']"))
        .processor(
            "redaction",
            &format!(
                "allow_all_keys: true\nblocked_key_patterns: ['^({})$']\ndetectors: [iban, jwt, bearer_token, api_key]",
                BLOCKED.join("|").replace('.', r"\.")
            ),
        )
        .processor("attributes", &format!("actions: [{}]", actions.join(", ")))
        .processor("probabilistic_sampler", "mode: proportional\nsampling_percentage: 50")
}

/// What becomes of a span; none if it goes.
fn expected(span: &Span, dropped: &str) -> Option<Span> {
    // OTEP 235: of a probability of 1/2 the threshold is half of 2^56, over the low 56 bits of the trace id.
    let id = u128::from_be_bytes(span.trace_id.as_slice().try_into().expect("16 bytes"));
    if span.name == dropped || (id as u64) & ((1 << 56) - 1) < 1 << 55 {
        return None;
    }
    assert!(!span.trace_state.contains("ot="), "{span:?} was sampled before");
    let mut span = span.clone();
    let members = ["ot=th:8", &span.trace_state];
    span.trace_state = members.into_iter().filter(|member| !member.is_empty()).collect::<Vec<_>>().join(",");
    let text = |text: &str| Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
    let is_one_of = |keys: &[&str], entry: &KeyValue| keys.contains(&entry.key.as_str());
    span.attributes.retain(|entry| !is_one_of(&DELETED, entry));
    for entry in &mut span.attributes {
        if is_one_of(&UPDATED, entry) {
            entry.value = text("known");
        } else if is_one_of(&BLOCKED, entry) {
            entry.value = text("****");
        }
    }
    for entry in span.events.iter_mut().flat_map(|event| &mut event.attributes) {
        if is_one_of(&BLOCKED, entry) {
            entry.value = text("****");
        }
    }
    Some(span)
}

/// What stands around a span, and the span without its `tracestate`.
type Rest = (Bytes, Bytes, Vec<u8>);

fn without_state(raw: &RawSpan) -> Rest {
    let fields = wire::fields(&raw.span).unwrap();
    let rest = fields.iter().filter(|field| field.number != TRACE_STATE).flat_map(|field| field.raw.to_vec());
    (raw.resource.clone(), raw.scope.clone(), rest.collect())
}

/// How many spans were left alone, changed and dropped.
#[derive(Default)]
struct Tally {
    untouched: u64,
    changed: u64,
    dropped: u64,
}

fn passes_through_the_chain(name: &str, requests: &[Bytes], tally: &mut Tally) {
    let sent: Vec<RawSpan> = requests.iter().flat_map(|request| wire::spans(request).unwrap()).collect();
    let decoded = |raw: &RawSpan| Span::decode(raw.span.clone()).unwrap();
    let dropped = decoded(sent.last().expect("there are spans")).name;
    let mut untouched = HashMap::<Rest, i64>::new();
    let mut changed = HashMap::<Rest, i64>::new();
    for raw in &sent {
        let before = decoded(raw);
        let Some(after) = expected(&before, &dropped) else {
            tally.dropped += 1;
            continue;
        };
        if after.attributes == before.attributes && after.events == before.events {
            tally.untouched += 1;
            *untouched.entry(without_state(raw)).or_default() += 1;
        } else {
            tally.changed += 1;
            *changed.entry((raw.resource.clone(), raw.scope.clone(), after.encode_to_vec())).or_default() += 1;
        }
    }
    let upstream = Sink::start();
    let sluice = Sluice::start(&chain(&upstream, &dropped));
    send::all(sluice.grpc(), requests).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{name}: {}", end.stderr);
    assert_eq!(end.account.sum("receiver", "received"), sent.len() as i64, "{name}");
    assert_eq!(end.account.sum("destination", "delivered"), upstream.spans() as i64, "{name}");
    for raw in upstream.wires().iter().flat_map(|request| wire::spans(request).unwrap()) {
        let after = decoded(&raw);
        assert!(after.trace_state.starts_with("ot=th:8"), "{name}: {after:?}");
        let bytes = without_state(&raw);
        let place = match untouched.get_mut(&bytes) {
            Some(left) if *left > 0 => left,
            _ => changed.entry((raw.resource, raw.scope, after.encode_to_vec())).or_default(),
        };
        *place -= 1;
    }
    let wrong =
        |(of, left): (&Rest, &i64)| (*left != 0).then(|| format!("{left} of {:?}", String::from_utf8_lossy(&of.2)));
    assert_eq!(untouched.iter().find_map(wrong), None, "{name}: an untouched span was changed or lost");
    assert_eq!(changed.iter().find_map(wrong), None, "{name}: a span is not what the rules make of it");
}

#[test]
fn four_rules_change_what_they_are_about_and_nothing_else() {
    let mut tally = Tally::default();
    passes_through_the_chain("the shop", &Exporter::new(17).requests(40, 40), &mut tally);
    passes_through_the_chain("generated", &traffic::generated(18), &mut tally);
    assert!(tally.untouched > 0 && tally.dropped > 0, "{} {}", tally.untouched, tally.dropped);
    let files = corpus::files().unwrap();
    if files.is_empty() {
        println!("SKIPPED four rules on real traces: {} is not set", corpus::VARIABLE);
        return;
    }
    let mut tally = Tally::default();
    for file in files {
        passes_through_the_chain(&file.display().to_string(), &corpus::read(&file).unwrap(), &mut tally);
    }
    let Tally { untouched, changed, dropped } = tally;
    println!("{untouched} spans as they were, {changed} changed, {dropped} dropped");
    assert!(untouched > 0 && changed > 0 && dropped > 0);
}

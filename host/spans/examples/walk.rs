//! What a span costs at each step, in nanoseconds, next to `prost` in the same run.
//!
//! `cargo run --release -p sluice-spans --example walk`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "it prints a table")]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use sluice_spans::{Batch, Edits, Table, Texts, Values, count_spans, fields, validate};

const SPANS: usize = 512;
const ROUNDS: usize = 200;

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// A server span of a web shop, 12 attributes.
fn span(i: usize) -> Span {
    let start = 1_700_000_000_000_000_000 + i as u64 * 1_000;
    Span {
        trace_id: (i as u128 * 0x1234_5678_9ABC_DEF1).to_be_bytes().to_vec(),
        span_id: (i as u64 + 1).to_be_bytes().to_vec(),
        parent_span_id: (i as u64 + 2).to_be_bytes().to_vec(),
        name: "GET /api/products/{id}".to_owned(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 5_000_000,
        attributes: vec![
            text("http.request.method", "GET"),
            text("url.full", &format!("https://shop.example.com/api/products/{i:06}?session=8f14e45f")),
            text("url.path", &format!("/api/products/{i:06}")),
            text("url.scheme", "https"),
            attribute("http.response.status_code", Value::IntValue(200)),
            text("server.address", "shop.example.com"),
            attribute("server.port", Value::IntValue(443)),
            text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"),
            text("client.address", "203.0.113.17"),
            text("network.protocol.version", "1.1"),
            attribute("app.cart.is_empty", Value::BoolValue(false)),
            text("http.route", "/api/products/{id}"),
        ],
        ..Span::default()
    }
}

fn request() -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans { spans: (0..SPANS).map(span).collect(), ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

/// The median of the rounds, in nanoseconds a span; `prepare` is not timed.
fn measure<T, R>(name: &str, mut prepare: impl FnMut() -> T, mut run: impl FnMut(T) -> R) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let input = prepare();
            let start = Instant::now();
            let result = black_box(run(input));
            let time = start.elapsed();
            drop(result);
            time.as_nanos() as f64 / SPANS as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
    println!("{name:<44} {median:>8.1}");
}

fn main() {
    let request = request();
    let wire = Bytes::from(request.encode_to_vec());
    let verdict = validate(&wire).unwrap();
    let fresh = || Batch::from_validated(wire.clone(), verdict);
    println!("{} bytes a span, batches of {SPANS}; ns a span", wire.len() / SPANS);
    measure("prost decode", || (), |()| ExportTraceServiceRequest::decode(&wire[..]).unwrap());
    measure("prost encode", || (), |()| request.encode_to_vec());
    measure("validate", || (), |()| validate(&wire).unwrap());
    measure("count_spans", || (), |()| count_spans(&wire).unwrap());
    measure("boundaries", fresh, |mut batch| {
        batch.len(Table::Spans);
        batch
    });
    measure("boundaries, fields, names", fresh, |mut batch| {
        let names = batch.texts(Table::Spans, fields::span::NAME);
        (batch, names)
    });
    let loaded = || {
        let mut batch = fresh();
        batch.attribute(Table::Spans, b"").unwrap();
        batch.len(Table::Spans);
        batch
    };
    measure("boundaries, attributes, one absent column", fresh, |mut batch| {
        let column = batch.attribute(Table::Spans, b"absent");
        (batch, column)
    });
    for key in ["url.full", "http.route", "absent"] {
        let name = format!("column {key} of an index");
        measure(&name, loaded, |mut batch| {
            let column = batch.attribute(Table::Spans, key.as_bytes());
            (batch, column)
        });
    }
    measure("all entries", loaded, |mut batch| {
        let entries = batch.entries(Table::Spans, None);
        (batch, entries)
    });
    measure("all keys of entries", loaded, |mut batch| {
        let keys = batch.entry_keys(Table::Spans, None);
        (batch, keys)
    });
    measure_edits(&fresh, &loaded);
    measure("copy of the bytes", || (), |()| wire.to_vec());
}

fn measure_edits(fresh: &dyn Fn() -> Batch, loaded: &dyn Fn() -> Batch) {
    let rows: Vec<u32> = (0..SPANS as u32).collect();
    let set = |batch: &mut Batch| {
        let mut edits = Edits::new();
        let value = Values::string("https://shop.example.com/api");
        edits.set_attribute(batch, Table::Spans, "url.full", &rows, value).unwrap();
        edits
    };
    let staged = || {
        let mut batch = loaded();
        let edits = set(&mut batch);
        (batch, edits)
    };
    measure("commit, one attribute set a span", staged, |(mut batch, edits)| {
        batch.commit(edits);
        batch
    });
    let committed = || {
        let (mut batch, edits) = staged();
        batch.commit(edits);
        batch
    };
    measure("encode, one attribute set a span", committed, |mut batch| (batch.encode(), batch));
    let renamed = || {
        let mut batch = fresh();
        let mut edits = Edits::new();
        let name: Texts = ["GET"].into_iter().collect();
        edits.set_texts(&mut batch, Table::Spans, fields::span::NAME, &rows, name).unwrap();
        batch.commit(edits);
        batch
    };
    measure("encode, one name set a span", renamed, |mut batch| (batch.encode(), batch));
    let halved = || {
        let mut batch = fresh();
        let mut edits = Edits::new();
        let odd: Vec<u32> = rows.iter().copied().filter(|row| row % 2 == 1).collect();
        edits.drop_rows(&mut batch, Table::Spans, &odd).unwrap();
        batch.commit(edits);
        batch
    };
    measure("encode, every other span dropped", halved, |mut batch| (batch.encode(), batch));
}

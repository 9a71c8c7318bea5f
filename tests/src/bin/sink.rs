//! An upstream for the demonstration and the benchmarks: takes OTLP over gRPC and HTTP and tells
//! what it got.
//!
//! The first line on stdout is where it listens. Then every line on stdin is a question and gets
//! one line of JSON: `totals`; `checks` (the numbers of the shop's health checks that arrived);
//! `search ["text", …]` (which of these texts are anywhere in what arrived); `span HEX` (a span by
//! its id); `forget` (what arrived is forgotten and what comes is not kept, so that only `totals` still
//! means anything; answered as that is). The end of stdin ends it.

#![expect(clippy::print_stdout, reason = "stdout is this program's interface")]

use std::io::BufRead as _;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};
use sluice_tests::sink::{CountingSink, Sink, Totals};
use sluice_tests::{process, wait};

/// Takes spans and tells what it got.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Keep nothing and take uncompressed gRPC only, as cheaply as can be: for benchmarks. Only
    /// `totals` is answered.
    #[arg(long)]
    count_only: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.count_only {
        // As if we were on another machine than the one that is measured.
        process::never_interrupt()?;
        let sink = CountingSink::start(&args.listen)?;
        return serve(sink.address(), |question, _| {
            ensure!(question == "totals", "a sink that only counts is asked for {question}");
            Ok(totals(sink.totals()))
        });
    }
    let sink = wait::runtime().block_on(Sink::bind(&args.listen))?;
    serve(sink.address(), |question, rest| {
        Ok(match question {
            "totals" => totals(sink.totals()),
            "checks" => checks(&sink),
            "search" => search(&sink, &serde_json::from_str::<Vec<String>>(rest).context("search wants texts")?),
            "span" => span(&sink, rest.trim()),
            "forget" => {
                sink.forget();
                totals(sink.totals())
            }
            other => json!({"error": format!("no such question: {other}")}),
        })
    })
}

/// Says where the sink listens and answers questions until there are no more.
fn serve(address: SocketAddr, answer: impl Fn(&str, &str) -> Result<Value>) -> Result<()> {
    println!("{}", json!({"event": "listening", "address": address.to_string()}));
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (question, rest) = line.split_once(' ').unwrap_or((&line, ""));
        println!("{}", answer(question, rest)?);
    }
    Ok(())
}

fn totals(totals: Totals) -> Value {
    json!({"attempts": totals.attempts, "requests": totals.requests, "spans": totals.spans, "bytes": totals.bytes})
}

fn checks(sink: &Sink) -> Value {
    let number = |attribute: &KeyValue| match &attribute.value {
        Some(AnyValue { value: Some(any_value::Value::IntValue(number)) }) if attribute.key == "shop.check" => {
            Some(*number)
        }
        _ => None,
    };
    let spans = sink.decoded_spans();
    let mut checks: Vec<i64> = spans.iter().filter_map(|span| span.attributes.iter().find_map(number)).collect();
    checks.sort_unstable();
    json!({ "checks": checks })
}

fn search(sink: &Sink, needles: &[String]) -> Value {
    let found: Vec<&String> = needles.iter().filter(|needle| sink.holds(needle)).collect();
    json!({"looked_for": needles.len(), "found": found, "bytes": sink.totals().bytes})
}

fn span(sink: &Sink, id: &str) -> Value {
    let wanted = u64::from_str_radix(id, 16).map(u64::to_be_bytes).unwrap_or_default();
    let spans = sink.decoded_spans();
    spans.into_iter().find(|span| span.span_id == wanted).map_or(Value::Null, |span| shown(&span))
}

fn shown(span: &Span) -> Value {
    let events: Vec<Value> =
        span.events.iter().map(|event| json!({"name": event.name, "attributes": pairs(&event.attributes)})).collect();
    json!({
        "name": span.name, "attributes": pairs(&span.attributes), "events": events,
        "status": span.status.as_ref().map(|status| status.message.clone()),
    })
}

fn pairs(attributes: &[KeyValue]) -> Vec<Value> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| json!([attribute.key, text(&attribute.value)])).collect()
}

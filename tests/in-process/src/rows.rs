//! What is measured.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use sluice_spans::Batch;

use crate::measure::cpu_time;
use crate::native;
use crate::requests::Requests;
use crate::sandboxed::{Plugins, encoded, unwritten};
use crate::tables;

/// Does a job on a batch and gives it back with the edits committed.
pub type Job = Box<dyn FnMut(Batch) -> Result<Batch>>;

/// What is measured: a job on a batch, and whatever is done then. Gives the bytes that it has written.
pub type Subject = Box<dyn FnMut(Batch) -> Result<Bytes>>;

/// The plugins of `examples/bench/four.yaml` with their configurations there.
const FILTER: &str = r#"{"traces":{"span":["name == \"router flagservice egress\"","attributes[\"rpc.service\"] == \"flagd.evaluation.v1.Service\""]}}"#;
const REDACTION: &str = r#"{"allow_all_keys":true,"detectors":["payment_card","email"]}"#;
const ATTRIBUTES: &str = r#"{"actions":[{"key":"deployment.environment.name","value":"production","action":"upsert"},{"key":"collector.node","value":"edge-1","action":"insert"}]}"#;
const SAMPLER: &str = r#"{"sampling_percentage":99}"#;
// Others, by themselves.
/// Nothing is remembered, because natively there is no store to remember it in.
const STRATEGIES: &str =
    r#"{"decision_ttl":"0s","strategies":{"default_strategy":{"type":"probabilistic","param":0.99}}}"#;
const TRANSFORM: &str = r#"{"trace_statements":["set(span.attributes[\"collector.node\"], \"edge-1\")","truncate_all(span.attributes, 4096)"]}"#;
const DETECTION: &str = r#"{"detectors":["env","system"]}"#;
const ENRICH: &str = r#"{"lookups":[{"table":"servers","key":"server.address","set":{"server.name":"name"}}],"envoy":{},"url":{},"user_agent":{},"span_name":{}}"#;
const GEOIP: &str = r#"{"context":"record","providers":{"maxmind":{"database_path":"made"}}}"#;
const SPAN: &str = r#"{"name":{"to_attributes":{"rules":["^(?P<service>[a-z]+)service"]}}}"#;

/// As most people have it: two dimensions beside the usual ones.
pub const SPANMETRICS: &str =
    r#"{"dimensions":[{"name":"http.request.method","default":"GET"},{"name":"http.response.status_code"}]}"#;

/// What is known of a request when the time begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing: validating it is in the time.
    Wire,
    /// That it is valid. Nobody has looked into it, so that the first look pays for the index.
    Valid,
    /// Where its spans' fields and attributes are, as when a request was indexed while it was validated.
    Indexed,
}

/// How good a row must be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bar {
    /// Nanoseconds a span at most.
    pub ns: Option<f64>,
    /// Times the native job at most.
    pub ratio: Option<f64>,
}

/// A row of the table.
pub struct Row {
    /// What it is.
    pub name: String,
    /// What passes through.
    pub requests: Requests,
    /// What comes before the time.
    pub start: Start,
    /// What is measured.
    pub subject: Subject,
    /// The same job in native Rust.
    pub native: Option<Subject>,
    /// How good it must be.
    pub bar: Bar,
}

/// All rows.
pub fn all(plugins: &Plugins, own: &Path, made: &Requests, traffic: &Requests) -> Result<Vec<Row>> {
    let row = |name: &str, start, subject, native, bar| Row {
        name: name.to_owned(),
        requests: made.clone(),
        start,
        subject,
        native,
        bar,
    };
    let ns = |ns| Bar { ns: Some(ns), ratio: None };
    let no_op = plugins.chain(vec![Plugins::own(own, r#"{"job":"nothing"}"#)])?;
    // Natively there is nothing to be done at all.
    let nothing = encoded(Box::new(Ok));
    let mut rows = vec![row("no-op plugin", Start::Valid, no_op, Some(nothing), ns(2.0))];
    let two_keys = || Plugins::own(own, r#"{"job":"two_keys"}"#);
    let native = || -> Job { Box::new(native::two_keys) };
    let two_key_bar = Bar { ns: Some(100.0), ratio: Some(3.5) };
    // Without the index and the bytes is how the shapes of the contract were compared; a request pays for more.
    let call = unwritten(plugins.alone(two_keys())?);
    rows.push(row("two keys: nothing but the call", Start::Indexed, call, Some(unwritten(native())), Bar::default()));
    for (name, start, bar) in [
        ("two keys, index ready", Start::Indexed, two_key_bar),
        ("two keys", Start::Valid, two_key_bar),
        ("two keys, validated", Start::Wire, Bar::default()),
    ] {
        rows.push(row(name, start, plugins.chain(vec![two_keys()])?, Some(encoded(native())), bar));
    }
    let index = || unwritten(Box::new(native::index));
    rows.push(row("index every attribute", Start::Valid, index(), None, ns(100.0)));
    rows.push(row("validate, index every attribute", Start::Wire, index(), None, Bar::default()));
    // Its subject decodes what it is given.
    let prost: Subject = Box::new(|mut batch| {
        // What nobody has edited is the bytes that it came as.
        black_box(ExportTraceServiceRequest::decode(batch.encode())?);
        Ok(Bytes::new())
    });
    rows.push(row("prost decode, for comparison", Start::Valid, prost, None, Bar::default()));
    for requests in [made, traffic] {
        bundled(plugins, requests, &mut rows)?;
    }
    Ok(rows)
}

fn bundled(plugins: &Plugins, requests: &Requests, rows: &mut Vec<Row>) -> Result<()> {
    let mut add = |name: &str, start, subject, native| {
        let (name, requests) = (name.to_owned(), requests.clone());
        // Their bars are in a table of their own, without the index.
        rows.push(Row { name, requests, start, subject, native: Some(encoded(native)), bar: Bar::default() });
    };
    let four =
        [("filter", FILTER), ("redaction", REDACTION), ("attributes", ATTRIBUTES), ("probabilistic_sampler", SAMPLER)];
    let others = [
        ("strategy_sampler", STRATEGIES),
        ("span", SPAN),
        ("transform", TRANSFORM),
        ("geoip", GEOIP),
        ("resource_detection", DETECTION),
        ("enrich", ENRICH),
        ("spanmetrics", SPANMETRICS),
    ];
    for (name, config) in four.into_iter().chain(others) {
        let processor = plugins.bundled(name, config, tables::of(name)?)?;
        add(name, Start::Valid, plugins.chain(vec![processor])?, natively(name, config)?);
    }
    let processors = four.iter().map(|&(name, config)| plugins.bundled(name, config, Vec::new()));
    let sandboxed = plugins.chain(processors.collect::<Result<_>>()?)?;
    let mut all = four.iter().map(|&(name, config)| natively(name, config)).collect::<Result<Vec<_>>>()?;
    let native: Job = Box::new(move |batch| all.iter_mut().try_fold(batch, |batch, plugin| plugin(batch)));
    add("all four, validated", Start::Wire, sandboxed, native);
    Ok(())
}

fn natively(name: &'static str, config: &str) -> Result<Job> {
    match name {
        "filter" => native::plugin::<filter::Filter>(config),
        "redaction" => native::plugin::<redaction::Redaction>(config),
        "attributes" => native::plugin::<attributes::Attributes>(config),
        "enrich" => native::plugin_with::<enrich::Enrich>(config, tables::of(name)?),
        "geoip" => native::plugin_with::<geoip::GeoIp>(config, tables::of(name)?),
        "resource_detection" => native::plugin_with::<resource_detection::ResourceDetection>(config, tables::of(name)?),
        "spanmetrics" => native::plugin::<spanmetrics::SpanMetrics>(config),
        "span" => native::plugin::<span::SpanProcessor>(config),
        "strategy_sampler" => native::plugin::<strategy_sampler::StrategySampler>(config),
        "transform" => native::plugin::<transform::Transform>(config),
        _ => native::plugin::<probabilistic_sampler::ProbabilisticSampler>(config),
    }
}

impl Row {
    /// Passes all requests through so many times; gives the CPU time of it.
    pub fn pass(requests: &Requests, start: Start, subject: &mut Subject, times: u32) -> Result<Duration> {
        let passes = || (0..times).flat_map(|_| requests.iter());
        let mut ready = Vec::new();
        if start == Start::Indexed {
            for (wire, verdict) in passes() {
                ready.push(native::index_all(Batch::from_validated(wire.clone(), *verdict))?);
            }
        }
        let mut ready = ready.into_iter();
        let started = cpu_time();
        for (wire, verdict) in passes() {
            let batch = match start {
                Start::Wire => Batch::parse(wire.clone())?,
                Start::Valid => Batch::from_validated(wire.clone(), *verdict),
                Start::Indexed => ready.next().context("a batch was made for each pass")?,
            };
            black_box(subject(batch)?);
        }
        Ok(cpu_time().saturating_sub(started))
    }

    /// Sees to it that both sides do the same job: their bytes are the same. A row that writes none is checked by the
    /// next one, which is of the same plugin.
    pub fn check(&mut self) -> Result<()> {
        let Some(native) = &mut self.native else { return Ok(()) };
        for (wire, _) in self.requests.iter() {
            let (ours, theirs) = ((self.subject)(Batch::parse(wire.clone())?)?, native(Batch::parse(wire.clone())?)?);
            ensure!(ours == theirs, "{}: the sandbox and native Rust do not do the same", self.name);
        }
        Ok(())
    }

    /// Spans a request.
    pub fn spans_a_request(&self) -> Result<u64> {
        let requests = self.requests.iter().count() as u64;
        self.requests.spans().checked_div(requests).context("there is no request")
    }
}

//! What is measured.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use sluice_spans::Batch;

use crate::measure::cpu_time;
use crate::native;
use crate::requests::Requests;
use crate::sandboxed::Plugins;
use crate::tables;

/// Does a job on a batch and gives it back with the edits committed.
pub type Subject = Box<dyn FnMut(Batch) -> Result<Batch>>;

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

/// Which steps of a batch's life are in the time. Unless said otherwise nobody has looked into the
/// batch before, so that the first look pays for the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    /// The call: index, columns, the plugin's logic, its edits committed.
    Call,
    /// The call on a batch whose spans' fields and attributes are indexed already, as they are when the request was
    /// indexed while it was validated.
    Indexed,
    /// The same, and the bytes written.
    IndexedAndEncode,
    /// The call with the index, and the bytes written.
    CallAndEncode,
    /// And the bytes validated before.
    All,
    /// `prost` decodes the request, for comparison.
    Prost,
}

impl Steps {
    /// Whether batches are indexed before the time is taken.
    pub fn are_indexed(self) -> bool {
        matches!(self, Self::Indexed | Self::IndexedAndEncode)
    }

    /// Whether the bytes are written in the time.
    fn encode(self) -> bool {
        matches!(self, Self::IndexedAndEncode | Self::CallAndEncode | Self::All)
    }
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
    /// What is in the time.
    pub steps: Steps,
    /// What is measured.
    pub subject: Subject,
    /// The same job in native Rust.
    pub native: Option<Subject>,
    /// How good it must be.
    pub bar: Bar,
}

/// All rows.
pub fn all(plugins: &Plugins, own: &Path, made: &Requests, traffic: &Requests) -> Result<Vec<Row>> {
    let row = |name: &str, steps, subject, native, bar| Row {
        name: name.to_owned(),
        requests: made.clone(),
        steps,
        subject,
        native,
        bar,
    };
    let ns = |ns| Bar { ns: Some(ns), ratio: None };
    let mut rows = vec![row("no-op plugin", Steps::Call, plugins.own(own, r#"{"job":"nothing"}"#)?, None, ns(2.0))];
    // With the index ready is how the shapes of the contract were compared; a request pays for more.
    let two_key_bar = Bar { ns: Some(100.0), ratio: Some(3.5) };
    for (name, steps, bar) in [
        ("two keys: the call, index ready", Steps::Indexed, two_key_bar),
        ("two keys: index, the call", Steps::Call, two_key_bar),
        ("two keys: index, call, encode", Steps::CallAndEncode, two_key_bar),
        ("two keys: validate, index, call, encode", Steps::All, Bar::default()),
    ] {
        let sandboxed = plugins.own(own, r#"{"job":"two_keys"}"#)?;
        rows.push(row(name, steps, sandboxed, Some(Box::new(native::two_keys)), bar));
    }
    rows.push(row("index every attribute", Steps::Call, Box::new(native::index), None, ns(100.0)));
    let steps = [("validate, index every attribute", Steps::All), ("prost decode, for comparison", Steps::Prost)];
    for (name, steps) in steps {
        let subject: Subject = if steps == Steps::All { Box::new(native::index) } else { Box::new(Ok) };
        rows.push(row(name, steps, subject, None, Bar::default()));
    }
    for requests in [made, traffic] {
        bundled(plugins, requests, &mut rows)?;
    }
    Ok(rows)
}

fn bundled(plugins: &Plugins, requests: &Requests, rows: &mut Vec<Row>) -> Result<()> {
    let mut add = |name: &str, steps, subject, native| {
        let (name, requests) = (name.to_owned(), requests.clone());
        // Their bars are in a table of their own, without the index.
        rows.push(Row { name, requests, steps, subject, native: Some(native), bar: Bar::default() });
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
        add(name, Steps::Call, plugins.bundled(name, config, tables::of(name)?)?, natively(name, config)?);
    }
    let chain = |of: &dyn Fn(&'static str, &str) -> Result<Subject>| -> Result<Subject> {
        let mut all = four.iter().map(|&(name, config)| of(name, config)).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(move |batch| all.iter_mut().try_fold(batch, |batch, plugin| plugin(batch))))
    };
    let sandboxed = chain(&|name, config| plugins.bundled(name, config, Vec::new()))?;
    add("validate, all four, encode", Steps::All, sandboxed, chain(&natively)?);
    Ok(())
}

fn natively(name: &'static str, config: &str) -> Result<Subject> {
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
    pub fn pass(requests: &Requests, steps: Steps, subject: &mut Subject, times: u32) -> Result<Duration> {
        let passes = || (0..times).flat_map(|_| requests.iter());
        let mut ready = Vec::new();
        if steps.are_indexed() {
            for (wire, verdict) in passes() {
                ready.push(native::index_all(Batch::from_validated(wire.clone(), *verdict))?);
            }
        }
        let mut ready = ready.into_iter();
        let started = cpu_time();
        for (wire, verdict) in passes() {
            let batch = match steps {
                Steps::Prost => {
                    black_box(ExportTraceServiceRequest::decode(wire.clone())?);
                    continue;
                }
                Steps::All => Batch::parse(wire.clone())?,
                Steps::Indexed | Steps::IndexedAndEncode => ready.next().context("a batch was made for each pass")?,
                Steps::Call | Steps::CallAndEncode => Batch::from_validated(wire.clone(), *verdict),
            };
            let mut batch = subject(batch)?;
            if steps.encode() {
                black_box(batch.encode());
            }
            black_box(batch);
        }
        Ok(cpu_time().saturating_sub(started))
    }

    /// Sees to it that both sides do the same job: their bytes are the same.
    pub fn check(&mut self) -> Result<()> {
        let Some(native) = &mut self.native else { return Ok(()) };
        for (wire, _) in self.requests.iter() {
            let encode = |subject: &mut Subject| -> Result<_> { Ok(subject(Batch::parse(wire.clone())?)?.encode()) };
            let (ours, theirs) = (encode(&mut self.subject)?, encode(native)?);
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

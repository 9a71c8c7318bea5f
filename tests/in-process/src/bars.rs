//! The bundled processors beside the bars that they are held to: the call with its edits committed, on a batch that is
//! indexed already, and the same with the bytes written; in large calls and in small ones.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};
use sluice_spans::Batch;

use crate::measure;
use crate::requests::{Made, Requests};
use crate::rows::{Bar, Job, Row, SPANMETRICS, Start, Subject};
use crate::sandboxed::{Plugins, encoded, unwritten};

/// Spans of a large call, and of a small one: the mean of the requests of a busy shop.
const SPANS: [usize; 2] = [512, 47];

/// How a job becomes a column, one after the other for each number of spans.
const COLUMNS: [fn(Job) -> Subject; 2] = [unwritten, encoded];

/// Two comparisons of strings, one of integers, a pattern, and one with the resource in it; one span in sixteen goes.
const FILTER: &str = r#"{"trace_conditions":[
    "span.attributes[\"url.path\"] == \"/health\"",
    "span.name == \"GET /metrics\" and resource.attributes[\"service.name\"] == \"shop\"",
    "span.attributes[\"http.response.status_code\"] == 404",
    "IsMatch(span.attributes[\"user_agent.original\"], \"^kube-probe/\")",
    "span.kind == SPAN_KIND_INTERNAL and span.attributes[\"http.route\"] == nil"]}"#;
const REDACTION: &str = r#"{"allow_all_keys":true,
    "detectors":["payment_card","email","ipv4","iban","jwt","bearer_token"]}"#;
const ATTRIBUTES: &str = r#"{"actions":[
    {"key":"deployment.environment.name","value":"production","action":"upsert"},
    {"key":"collector.node","value":"edge-1","action":"insert"},
    {"key":"http.route","value":"/api/products/*","action":"update"},
    {"key":"user_agent.original","action":"delete"}]}"#;
const HASH: &str = r#"{"actions":[{"key":"client.address","action":"hash"}]}"#;
const PROPORTIONAL: &str = r#"{"mode":"proportional","sampling_percentage":99}"#;
const HASH_SEED: &str = r#"{"mode":"hash_seed","sampling_percentage":99}"#;
const EQUALIZING: &str = r#"{"mode":"equalizing","sampling_percentage":100}"#;
const RARE: &str = r#"{"mode":"proportional","sampling_percentage":1}"#;

/// A row of the table.
struct Rule {
    name: &'static str,
    plugin: &'static str,
    config: &'static str,
    made: Made,
    /// Nanoseconds a span at most, in calls of 512 spans.
    bar: Option<f64>,
    /// Of 512 spans: those that are left, and those of them that are changed.
    does: (usize, usize),
}

impl Rule {
    fn new(name: &'static str, plugin: &'static str, config: &'static str, bar: u32, does: (usize, usize)) -> Self {
        Self { name, plugin, config, made: Made::default(), bar: Some(f64::from(bar)), does }
    }
}

fn rules() -> Vec<Rule> {
    let sampler = "probabilistic_sampler";
    let busy = Made { operations: 32, ..Made::default() };
    let says_threshold = Made { trace_state: "ot=th:0", ..Made::default() };
    vec![
        Rule::new("filter, 5 conditions", "filter", FILTER, 150, (480, 0)),
        Rule::new("redaction, 6 detectors, no hit", "redaction", REDACTION, 1000, (512, 0)),
        Rule {
            made: Made { leaks: 100, ..Made::default() },
            ..Rule::new("redaction, 6 detectors, hits in 1 %", "redaction", REDACTION, 1000, (512, 5))
        },
        Rule::new("attributes, 4 actions", "attributes", ATTRIBUTES, 150, (512, 512)),
        Rule { bar: None, ..Rule::new("attributes, a hash", "attributes", HASH, 0, (512, 512)) },
        Rule::new("sampling, 99 %, `th` written", sampler, PROPORTIONAL, 30, (507, 507)),
        Rule {
            bar: None,
            ..Rule::new("sampling, 99 % by hash, `rv` and `th` written", sampler, HASH_SEED, 0, (510, 510))
        },
        Rule {
            made: says_threshold,
            bar: None,
            ..Rule::new("sampling, 100 %, `th` is there already", sampler, EQUALIZING, 0, (512, 0))
        },
        Rule { bar: None, ..Rule::new("sampling, 1 %, `th` written", sampler, RARE, 0, (7, 7)) },
        Rule::new("spanmetrics, one series", "spanmetrics", SPANMETRICS, 200, (512, 0)),
        Rule { made: busy, bar: None, ..Rule::new("spanmetrics, 32 series", "spanmetrics", SPANMETRICS, 0, (512, 0)) },
    ]
}

/// Measures the rules whose names begin so, in so many rounds.
pub fn measure(plugins: &Plugins, only: &str, rounds: usize) -> Result<Value> {
    let rules: Vec<Rule> = rules().into_iter().filter(|rule| rule.name.starts_with(only)).collect();
    ensure!(!rules.is_empty(), "no processor's row begins with `{only}`");
    let mut rows = Vec::new();
    for rule in &rules {
        check(plugins, rule)?;
        for spans in SPANS {
            let requests = Requests::made(Made { spans, ..rule.made })?;
            for column in COLUMNS {
                rows.push(Row {
                    name: rule.name.to_owned(),
                    requests: requests.clone(),
                    start: Start::Indexed,
                    subject: column(plugins.alone(plugins.bundled(rule.plugin, rule.config, Vec::new())?)?),
                    native: None,
                    bar: Bar { ns: rule.bar, ratio: None },
                });
            }
        }
    }
    let measured = measure::all(&mut rows, rounds)?;
    let rows: Vec<Value> = measured
        .chunks(SPANS.len() * COLUMNS.len())
        .filter_map(|columns| {
            let first = columns.first()?;
            let ns: Vec<f64> = columns.iter().map(|column| column.ns).collect();
            let least_ns: Vec<f64> = columns.iter().map(|column| column.least_ns).collect();
            Some(json!({"name": first.name, "ns": ns, "least_ns": least_ns, "bar_ns": first.bar.ns}))
        })
        .collect();
    Ok(json!({"made": Requests::made(Made::default())?.json(), "rounds": rounds, "rows": rows}))
}

/// Sees to it that a rule does what its row says.
fn check(plugins: &Plugins, rule: &Rule) -> Result<()> {
    let requests = Requests::made(rule.made)?;
    let (wire, _) = requests.iter().next().context("there is a request")?;
    let before = spans(wire)?;
    let mut subject = encoded(plugins.alone(plugins.bundled(rule.plugin, rule.config, Vec::new())?)?);
    let after = spans(&subject(Batch::parse(wire.clone())?)?)?;
    let changed = after.iter().filter(|(id, span)| before.get(*id) != Some(span)).count();
    let did = (after.len(), changed);
    ensure!(did == rule.does, "{}: (left, changed) is {did:?} and should be {:?}", rule.name, rule.does);
    Ok(())
}

fn spans(wire: &[u8]) -> Result<HashMap<Vec<u8>, Span>> {
    let request = ExportTraceServiceRequest::decode(wire)?;
    let spans = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    Ok(spans.flat_map(|scope| scope.spans).map(|span| (span.span_id.clone(), span)).collect())
}

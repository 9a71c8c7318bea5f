//! Everything around a guest: a sandbox, batches, and the promise that every failure keeps.

use std::io::Write;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use sluice_sandbox::{
    Access, CallError, Compiler, Effects, FailureKind, Instance, Limits, LoadError, Module, Options, PrepareError,
    Prepared, Sandbox, Settings, Source,
};
use sluice_spans::Batch;
use sluice_state::{LiveTable, OwnFile};

use crate::guest::Guest;

/// A sandbox that compiles in this process and keeps nothing.
pub fn sandbox() -> Sandbox {
    Sandbox::new(Options { cache_dir: None, compiler: Compiler::InProcess }).unwrap()
}

/// Loads bytes as a file.
pub fn load_bytes(sandbox: &Sandbox, bytes: &[u8]) -> Result<Module, LoadError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    sandbox.load(&Source::File(file.path().to_owned()), &Limits::default(), None)
}

pub fn settings(limits: Limits) -> Settings {
    let (plugin, config_json) = ("wasm/guest".to_owned(), "{}".to_owned());
    Settings {
        plugin,
        config_json,
        limits,
        access: None,
        capabilities: None,
        seed: None,
        tables: Vec::new(),
        store_folder: None,
    }
}

/// Prepares a guest under some settings.
pub fn prepare_with(guest: Guest, settings: Settings) -> Result<Prepared, PrepareError> {
    let sandbox = sandbox();
    let module = load_bytes(&sandbox, &guest.component()).unwrap();
    sandbox.prepare(&module, settings)
}

/// The same, where files that the guest names are opened like this.
pub fn prepare_opening(
    guest: Guest,
    settings: Settings,
    open: &dyn Fn(&OwnFile) -> Result<Arc<LiveTable>, String>,
) -> Result<Prepared, PrepareError> {
    let sandbox = sandbox();
    let module = load_bytes(&sandbox, &guest.component()).unwrap();
    sandbox.prepare_with_files(&module, settings, open)
}

pub fn prepare(guest: Guest) -> Result<Prepared, PrepareError> {
    prepare_with(guest, settings(Limits::default()))
}

pub fn instance(guest: Guest) -> Instance {
    prepare(guest).unwrap().instantiate().unwrap()
}

/// An instance whose operator allows it to read only this.
pub fn narrowed(guest: Guest, read: &[&str]) -> Instance {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let access = Some(Access { read: texts(read), write: texts(&["*"]) });
    prepare_with(guest, Settings { access, ..settings(Limits::default()) }).unwrap().instantiate().unwrap()
}

pub fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..Default::default() }
}

/// A request as a sender would write it. Span `n` is called `span-n` and has the attributes
/// `http.route` and `user.email`.
pub fn request(spans: usize) -> ExportTraceServiceRequest {
    let span = |number: usize| Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: format!("span-{number}"),
        attributes: vec![attribute("http.route", "/a"), attribute("user.email", "a@b.c")],
        ..Default::default()
    };
    let scope = ScopeSpans { spans: (0..spans).map(span).collect(), ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..Default::default() }] }
}

pub fn batch(spans: usize) -> Batch {
    Batch::parse(request(spans).encode_to_vec().into()).unwrap()
}

/// The names of the spans that are left, read by `prost`.
pub fn names(batch: &mut Batch) -> Vec<String> {
    let request = ExportTraceServiceRequest::decode(batch.encode()).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).map(|span| span.name).collect()
}

/// Calls an instance with three spans, on which it must fail; checks that nothing of the call is
/// left, and that the next call, with one span, is served.
pub fn fails(instance: &mut Instance, kind: FailureKind) -> CallError {
    let (mut three, mut effects) = (batch(3), Effects::default());
    let error = instance.process(&mut three, &mut effects).unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert_eq!(three.encode(), request(3).encode_to_vec(), "the batch is as before");
    assert!(effects.logs.is_empty() && effects.metrics.is_empty(), "effects are discarded");
    let served = instance.process(&mut batch(1), &mut effects);
    assert!(served.is_ok(), "the next call is served: {served:?}");
    error
}

/// The same for a guest with default limits, which has to be replaced after the failure.
pub fn breaks(guest: Guest, kind: FailureKind) -> CallError {
    let mut instance = instance(guest);
    let error = fails(&mut instance, kind);
    assert_eq!(instance.restarts(), 1, "by a fresh instance");
    error
}

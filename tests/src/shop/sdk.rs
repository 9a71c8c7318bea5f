//! Deeds through the official OpenTelemetry SDK for Rust, exported over OTLP/gRPC: ids, batching,
//! compression and retries are all the SDK's.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use opentelemetry::trace::{
    Event, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider};

use super::{Attributes, Deed, Kind, Value};
use crate::wait;

/// More than a demonstration makes between two exports: the SDK drops what does not fit.
const QUEUE_SPANS: usize = 1 << 16;

/// How long a span waits in the SDK. Its default is 5 s, too long to watch.
const DELAY: Duration = Duration::from_millis(200);

/// The SDK, set up for the shop.
pub struct Sdk {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Sdk {
    /// An SDK that exports to this endpoint (`http://host:port`).
    ///
    /// # Errors
    /// When the SDK refuses the endpoint.
    pub fn new(endpoint: &str) -> Result<Self> {
        let _on = wait::runtime().enter();
        Ok(Self::exporting(SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?))
    }

    /// An SDK with an exporter that has been set up already.
    pub fn exporting(exporter: SpanExporter) -> Self {
        let batches =
            BatchConfigBuilder::default().with_max_queue_size(QUEUE_SPANS).with_scheduled_delay(DELAY).build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let resource =
            Resource::builder().with_service_name("shop").with_attribute(KeyValue::new("host.name", "till-3"));
        let provider =
            SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource.build()).build();
        let tracer = provider.tracer("shop");
        Self { provider, tracer }
    }

    /// Makes the spans of a deed that ends now, and gives their contexts, outermost first.
    pub fn tell(&self, deed: &Deed) -> Vec<SpanContext> {
        let start = SystemTime::now() - Duration::from_micros(deed.total_micros());
        let mut contexts = Vec::with_capacity(deed.spans());
        self.start(deed, start, &Context::new(), &mut contexts);
        contexts
    }

    fn start(&self, deed: &Deed, start: SystemTime, around: &Context, contexts: &mut Vec<SpanContext>) -> SystemTime {
        let events = deed
            .events
            .iter()
            .map(|(name, with)| Event::new(*name, start + Duration::from_micros(deed.micros / 2), attributes(with), 0));
        let span = SpanBuilder::from_name(deed.name.clone())
            .with_kind(kind(deed.kind))
            .with_start_time(start)
            .with_attributes(attributes(&deed.attributes))
            .with_events(events.collect());
        let mut span = self.tracer.build_with_context(span, around);
        if let Some(error) = &deed.error {
            span.set_status(Status::error(error.clone()));
        }
        contexts.push(span.span_context().clone());
        let own = Context::new().with_span(span);
        let mut now = start + Duration::from_micros(deed.micros);
        for inner in &deed.within {
            now = self.start(inner, now, &own, contexts);
        }
        own.span().end_with_timestamp(now);
        now
    }

    /// Waits until everything made so far is answered for.
    ///
    /// # Errors
    /// When the collector refused some of it.
    pub fn flush(&self) -> Result<()> {
        Ok(self.provider.force_flush()?)
    }

    /// Sends what is left and ends.
    ///
    /// # Errors
    /// When the collector refused some of it.
    pub fn shutdown(self) -> Result<()> {
        Ok(self.provider.shutdown()?)
    }
}

fn kind(kind: Kind) -> SpanKind {
    match kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Consumer => SpanKind::Consumer,
    }
}

fn attributes(pairs: &Attributes) -> Vec<KeyValue> {
    let pair = |(key, value): &(&'static str, Value)| match value.clone() {
        Value::Text(text) => KeyValue::new(*key, text),
        Value::Int(number) => KeyValue::new(*key, number),
        Value::Double(number) => KeyValue::new(*key, number),
    };
    pairs.iter().map(pair).collect()
}

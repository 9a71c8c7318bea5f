//! Configs, put together from pieces of YAML.

use std::fmt::Write as _;

use crate::sink::Sink;

/// A config with one OTLP receiver on ports of the system's choice, JSON logs, and metrics.
#[derive(Debug, Clone)]
pub struct Config {
    receivers: Vec<(String, String)>,
    processors: Vec<(String, String)>,
    exporters: Vec<(String, String)>,
    connectors: Vec<(String, String)>,
    extensions: Vec<(String, String)>,
    pipelines: Vec<(String, [Vec<String>; 3])>,
}

/// Retries fast enough for a test.
const RETRY: &str = "initial_interval: 20ms, max_interval: 100ms";

impl Config {
    /// A config without any exporter.
    pub fn new() -> Self {
        Self {
            receivers: vec![(
                "otlp".to_owned(),
                "protocols: { grpc: { endpoint: '127.0.0.1:0' }, http: { endpoint: '127.0.0.1:0' } }".to_owned(),
            )],
            processors: Vec::new(),
            exporters: Vec::new(),
            connectors: Vec::new(),
            extensions: Vec::new(),
            pipelines: Vec::new(),
        }
    }

    /// A config that sends to this upstream over gRPC, batches at most 20 ms old.
    pub fn to(upstream: &Sink) -> Self {
        Self::new().exporter("otlp_grpc", &grpc(upstream, "sending_queue: { batch: { flush_timeout: 20ms } }"))
    }

    /// A config that sends to this upstream over HTTP.
    pub fn to_http(upstream: &Sink) -> Self {
        Self::new().exporter("otlp_http", &http(upstream, "sending_queue: { batch: { flush_timeout: 20ms } }"))
    }

    /// With the receiver's settings replaced.
    #[must_use]
    pub fn receiver(mut self, id: &str, settings: &str) -> Self {
        self.receivers.retain(|(known, _)| known != id);
        self.receivers.push((id.to_owned(), settings.to_owned()));
        self
    }

    /// With one more processor, the last of the chain.
    #[must_use]
    pub fn processor(mut self, id: &str, settings: &str) -> Self {
        self.processors.push((id.to_owned(), settings.to_owned()));
        self
    }

    /// With one more exporter.
    #[must_use]
    pub fn exporter(mut self, id: &str, settings: &str) -> Self {
        self.exporters.push((id.to_owned(), settings.to_owned()));
        self
    }

    /// With a connector; only pipelines that are named use it.
    #[must_use]
    pub fn connector(mut self, id: &str, settings: &str) -> Self {
        self.connectors.push((id.to_owned(), settings.to_owned()));
        self
    }

    /// With an extension, switched on.
    #[must_use]
    pub fn extension(mut self, id: &str, settings: &str) -> Self {
        self.extensions.push((id.to_owned(), settings.to_owned()));
        self
    }

    /// With a pipeline of these components. Without any, one pipeline joins them all.
    #[must_use]
    pub fn pipeline(mut self, id: &str, receivers: &[&str], processors: &[&str], exporters: &[&str]) -> Self {
        let own = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        self.pipelines.push((id.to_owned(), [own(receivers), own(processors), own(exporters)]));
        self
    }

    /// The file's text.
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        let all = |components: &[(String, String)]| components.iter().map(|(id, _)| id.clone()).collect();
        let sections = [
            ("extensions", &self.extensions),
            ("receivers", &self.receivers),
            ("processors", &self.processors),
            ("exporters", &self.exporters),
            ("connectors", &self.connectors),
        ];
        for (name, components) in sections {
            if !components.is_empty() {
                section(&mut text, name, components);
            }
        }
        text.push_str("service:\n");
        if !self.extensions.is_empty() {
            let ids: Vec<String> = all(&self.extensions);
            let _ = writeln!(text, "  extensions: [{}]", ids.join(", "));
        }
        text.push_str("  telemetry:\n    logs: { encoding: json }\n");
        text.push_str(
            "    metrics: { readers: [{ pull: { exporter: { prometheus: { host: 127.0.0.1, port: 0 } } } }] }\n",
        );
        text.push_str("  pipelines:\n");
        let joined = [("traces".to_owned(), [all(&self.receivers), all(&self.processors), all(&self.exporters)])];
        for (id, [receivers, processors, exporters]) in
            if self.pipelines.is_empty() { &joined[..] } else { &self.pipelines }
        {
            let lists = [receivers, processors, exporters].map(|ids| ids.join(", "));
            let _ = writeln!(
                text,
                "    {id}: {{ receivers: [{}], processors: [{}], exporters: [{}] }}",
                lists[0], lists[1], lists[2]
            );
        }
        text
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// The settings of an OTLP exporter over gRPC to this upstream, with quick retries, and more.
pub fn grpc(upstream: &Sink, more: &str) -> String {
    let address = upstream.address();
    format!("endpoint: '{address}'\ntls: {{ insecure: true }}\nretry_on_failure: {{ {RETRY} }}\n{more}")
}

/// The settings of an OTLP exporter over HTTP to this upstream, with quick retries, and more.
pub fn http(upstream: &Sink, more: &str) -> String {
    let address = upstream.address();
    format!("endpoint: 'http://{address}'\nretry_on_failure: {{ {RETRY} }}\n{more}")
}

fn section(text: &mut String, name: &str, components: &[(String, String)]) {
    let _ = writeln!(text, "{name}:");
    for (id, settings) in components {
        let _ = writeln!(text, "  {id}:");
        for line in settings.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
}

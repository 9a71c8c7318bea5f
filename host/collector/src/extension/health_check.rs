//! `health_check`: tells probes whether the process takes spans.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use http::StatusCode;
use serde_json::json;

use crate::config::section::{NOT_YET, Section};
use crate::receiver::Endpoint;
use crate::telemetry::logs::rfc3339;
use crate::telemetry::server::{self, Answer, Site};

/// The Collector's.
const DEFAULT_ENDPOINT: &str = "localhost:13133";

/// Why the process as a whole is not ready.
const PROCESS: &str = "process";

/// The settings of a `health_check` extension.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where it is served.
    pub endpoint: Endpoint,
    /// Whether the configuration says so; a default address may be taken by another process.
    pub configured: bool,
    /// The path; `/` is every path.
    pub path: String,
    /// What is answered instead of the status when the process is ready.
    pub healthy: Option<String>,
    /// What is answered instead of the status when it is not.
    pub unhealthy: Option<String>,
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let configured = section.has("endpoint");
        let endpoint = Endpoint::read(&mut section, DEFAULT_ENDPOINT);
        let path = section.str_or("path", "/");
        if !path.starts_with('/') {
            section.error("path", "`path` must begin with `/`");
        }
        let (mut healthy, mut unhealthy) = (None, None);
        if let Some(mut body) = section.section("response_body") {
            (healthy, unhealthy) = (body.str("healthy"), body.str("unhealthy"));
            body.finish();
        }
        let later = ["check_collector_pipeline", "http", "grpc", "component_health", "use_v2"];
        for key in server::LATER.iter().chain(&later) {
            section.unsupported(key, NOT_YET);
        }
        section.finish();
        Self { endpoint, configured, path, healthy, unhealthy }
    }

    /// What is served.
    pub fn site(&self, id: &str, readiness: &Readiness) -> Site {
        let (settings, readiness) = (self.clone(), readiness.clone());
        let respond =
            move |path: &str| (settings.path == "/" || settings.path == path).then(|| settings.answer(&readiness));
        Site {
            component: id.to_owned(),
            endpoint: self.endpoint.clone(),
            configured: self.configured,
            respond: server::pages(respond),
        }
    }

    fn answer(&self, readiness: &Readiness) -> Answer {
        let (status, custom, body) = match readiness.state() {
            Ok((since, uptime)) => {
                let body = json!({
                    "status": "Server available",
                    "upSince": rfc3339(since),
                    "uptime": format!("{:.3}s", uptime.as_secs_f64()),
                });
                (StatusCode::OK, &self.healthy, body)
            }
            Err(reasons) => {
                let body = json!({ "status": "Server not available", "upSince": "0001-01-01T00:00:00Z", "uptime": "", "reasons": reasons });
                (StatusCode::SERVICE_UNAVAILABLE, &self.unhealthy, body)
            }
        };
        match custom {
            Some(custom) => server::text(status, "text/plain", custom.clone()),
            None => server::text(status, "application/json", body.to_string()),
        }
    }
}

/// Whether the process takes spans, and if not, why. Cheap to clone; all clones are one. It is not
/// ready at first.
#[derive(Debug, Clone)]
pub struct Readiness {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    /// Reasons by who gives them.
    reasons: BTreeMap<String, String>,
    since: (SystemTime, Instant),
}

impl Default for Readiness {
    fn default() -> Self {
        let reasons = [(PROCESS.to_owned(), "the process is starting".to_owned())].into();
        Self { shared: Arc::new(Mutex::new(Shared { reasons, since: (SystemTime::now(), Instant::now()) })) }
    }
}

impl Readiness {
    /// The process takes spans.
    pub fn ready(&self) {
        self.release(PROCESS);
    }

    /// The process takes no spans.
    pub fn not_ready(&self, reason: &str) {
        self.hold(PROCESS, reason);
    }

    /// `who` cannot take spans; nobody is ready until [`Readiness::release`].
    pub fn hold(&self, who: &str, reason: &str) {
        self.with(|shared| shared.reasons.insert(who.to_owned(), reason.to_owned()));
    }

    /// `who` takes spans again.
    pub fn release(&self, who: &str) {
        self.with(|shared| {
            if shared.reasons.remove(who).is_some() && shared.reasons.is_empty() {
                shared.since = (SystemTime::now(), Instant::now());
            }
        });
    }

    /// Since when it is ready, and for how long; or why it is not, by who says so.
    pub fn state(&self) -> Result<(SystemTime, std::time::Duration), BTreeMap<String, String>> {
        self.with(|shared| {
            if shared.reasons.is_empty() {
                return Ok((shared.since.0, shared.since.1.elapsed()));
            }
            Err(shared.reasons.clone())
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Shared) -> T) -> T {
        // Nothing here can panic half-way.
        work(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

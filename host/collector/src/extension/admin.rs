//! The admin API: what serves, and changing it, over HTTP on this machine.
//!
//! Requests enter from the small server beside the pipelines, JSON leaves. A browser is kept out by
//! the headers that it cannot leave away: a page of another site has a foreign `Host` or `Origin`. What
//! changes anything needs the bearer token, and is done by the control loop: what is ready beside what has to be
//! compiled, else one after the other. When too many orders wait, the next is told to come back.

mod desk;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::section::Section;
use crate::receiver::Endpoint;
use crate::reread::read_text;
use crate::telemetry::logs::rfc3339;
use crate::telemetry::server::{self, Answer, Reply, Site};

pub use desk::{Asked, Desk, Done, Order, Orders, Plugin, Unheard};

/// Beside `health_check`'s 13133.
pub const DEFAULT_ENDPOINT: &str = "localhost:13134";

/// Where plugins are.
const PLUGINS: &str = "/v1/plugins";

/// The settings of the API.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where it is served.
    pub endpoint: Endpoint,
    /// The file that holds the token, read with every request that needs it. Nothing can be changed
    /// without one.
    pub token_file: Option<PathBuf>,
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let endpoint = Endpoint::read(&mut section, DEFAULT_ENDPOINT);
        if endpoint.problem().is_none() && !host_of(&endpoint.text).is_some_and(is_here) {
            section.error(
                "endpoint",
                "`endpoint`: the admin API is for this machine alone: name `localhost`, `127.0.0.1` or `[::1]` and a port",
            );
        }
        let settings = Self { endpoint, token_file: section.path("token_file") };
        section.finish();
        settings
    }

    /// What is served.
    pub fn site(&self, id: &str, desk: &Desk) -> Site {
        let (token_file, desk) = (self.token_file.clone(), desk.clone());
        let respond = move |request: &Parts| match order(request, token_file.as_deref(), &desk) {
            Ok(Wish::Known(value)) => server::now(json_answer(StatusCode::OK, &value)),
            Ok(Wish::Order(order)) => carry_out(&desk, order),
            Err(refusal) => server::now(refusal.answer()),
        };
        Site { component: id.to_owned(), endpoint: self.endpoint.clone(), configured: true, respond: Arc::new(respond) }
    }
}

/// What a request wants.
enum Wish {
    Known(Value),
    Order(Order),
}

/// A request that is not granted.
struct Refusal {
    status: StatusCode,
    reason: String,
    allow: Option<&'static str>,
}

impl Refusal {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), allow: None }
    }

    fn answer(&self) -> Answer {
        let mut answer = json_answer(self.status, &json!({ "error": self.reason }));
        if let Some(allow) = self.allow {
            answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    server::text(status, "application/json", format!("{value}\n"))
}

fn order(request: &Parts, token_file: Option<&Path>, desk: &Desk) -> Result<Wish, Refusal> {
    from_here(request)?;
    let path = request.uri.path();
    let path = percent_decode_str(path).decode_utf8().map_err(|_| nothing(path))?;
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    let not_allowed =
        |allow| Refusal { allow: Some(allow), ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("only {allow}")) };
    let read = |value: Value| if reads { Ok(Wish::Known(value)) } else { Err(not_allowed("GET, HEAD")) };
    let change = |asked: Asked| match request.method {
        Method::POST => may_change(&request.headers, token_file).map(|()| Wish::Order(Order::new(asked))),
        _ => Err(not_allowed("POST")),
    };
    match &*path {
        "/v1/account" => return read(json!({ "since": rfc3339(desk.since()), "account": desk.account() })),
        PLUGINS => return read(json!({ "plugins": desk.plugins() })),
        "/v1/reload" => return change(Asked::Reload),
        _ => {}
    }
    let name = path.strip_prefix(PLUGINS).and_then(|rest| rest.strip_prefix('/')).ok_or_else(|| nothing(&path))?;
    if let Some(plugin) = desk.plugin(name) {
        return read(json!(plugin));
    }
    match name.rsplit_once('/').filter(|(name, _)| desk.plugin(name).is_some()) {
        Some((plugin, "swap")) => {
            let force = request.uri.query() == Some("force=true");
            change(Asked::Swap { plugin: plugin.to_owned(), force })
        }
        Some((plugin, "rollback")) => change(Asked::Rollback(plugin.to_owned())),
        Some((plugin, "promote")) => change(Asked::Promote(plugin.to_owned())),
        Some((plugin, "abort")) => change(Asked::Abort(plugin.to_owned())),
        _ => Err(nothing(&path)),
    }
}

fn nothing(path: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
}

/// Does what was asked for, when its turn comes.
fn carry_out(desk: &Desk, order: Order) -> Reply {
    let waiting = desk.ask(order);
    Box::pin(async move {
        match waiting {
            Err(Unheard) => {
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "other orders are waiting; ask again").answer()
            }
            Ok(done) => match done.await {
                Ok(done) => json_answer(if done.is_ok() { StatusCode::OK } else { StatusCode::CONFLICT }, &json!(done)),
                Err(_) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the process is stopping").answer(),
            },
        }
    })
}

/// Whether the request names this machine, and comes from no page of another site.
fn from_here(request: &Parts) -> Result<(), Refusal> {
    let text = |name| request.headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or_default());
    let foreign =
        |what: &str| Refusal::new(StatusCode::FORBIDDEN, format!("a foreign `{what}`: this API is for localhost"));
    let host = text(header::HOST).unwrap_or_default();
    if request.headers.get_all(header::HOST).iter().count() != 1 || !host_of(host).is_some_and(is_here) {
        return Err(foreign("Host"));
    }
    if request.uri.authority().is_some_and(|authority| !host_of(authority.as_str()).is_some_and(is_here)) {
        return Err(foreign("Host"));
    }
    match text(header::ORIGIN) {
        Some(origin) if origin.strip_prefix("http://") != Some(host) => Err(foreign("Origin")),
        _ => Ok(()),
    }
}

/// The host in `host`, `host:port`, `[v6]` or `[v6]:port`.
fn host_of(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']').map(|(host, _)| host);
    }
    Some(text.split_once(':').map_or(text, |(host, _)| host))
}

/// Whether a name or address is of this machine, whatever a name server says.
fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn may_change(headers: &HeaderMap, token_file: Option<&Path>) -> Result<(), Refusal> {
    let refused = |reason: &str| Refusal::new(StatusCode::UNAUTHORIZED, reason);
    let file = token_file.ok_or_else(|| refused("nothing can be changed: `admin` has no `token_file`"))?;
    let known = token(file).map_err(|reason| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason))?;
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    // Digests are of one length, and the comparison takes as long whatever is in them.
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    match given {
        Some(given) if bool::from(digest(given).ct_eq(&digest(&known))) => Ok(()),
        _ => Err(refused("the bearer token of `token_file` is needed")),
    }
}

/// The token in a file.
///
/// # Errors
/// With the reason, when there is none.
pub fn token(file: &Path) -> Result<String, String> {
    let text = read_text(file).map_err(|error| format!("cannot read the token from {}: {error}", file.display()))?;
    let token = text.trim();
    if token.is_empty() { Err(format!("there is no token in {}", file.display())) } else { Ok(token.to_owned()) }
}

//! The `otlp_http` exporter (also `otlphttp`): OTLP/HTTP upstream, protobuf or JSON.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use prost::Message;

use super::client::{self, Lost, Pool, Rope, Shape, Tls};
use super::headers;
use super::otlp_grpc::{address, compression};
use super::retry::Schedule;
use super::sender::{Answer, Refusal, Retry};
use crate::auth::{Auth, Authenticator};
use crate::config::section::{NOT_YET, Section};
use crate::otlp::TRACES_PATH;
use crate::otlp::compression::Encoding;
use crate::otlp::rpc::{ExportResponse, Status};
use crate::queue;

/// The Collector's, for one attempt.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What is told where no address is.
const NEEDED: &str = "an `endpoint` or a `traces_endpoint` is needed: where to send, like `http://localhost:4318`";

/// How they are written.
const FORM: &str = "`http://host:port` or `https://host:port`";

/// The settings of an `otlp_http` exporter.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where to send.
    pub uri: Uri,
    /// How to be sure of whom.
    pub tls: Tls,
    /// What to say beside the request.
    pub headers: HeaderMap,
    /// As whom to say it.
    pub auth: Option<Auth>,
    /// Send JSON instead of protobuf.
    pub json: bool,
    /// How to compress.
    pub compression: Encoding,
    /// For one attempt; it takes as long as it takes if there is none.
    pub timeout: Option<Duration>,
    /// When to try again.
    pub retry: Schedule,
    /// What waits.
    pub queue: queue::Settings,
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let (endpoint, traces) = (section.str("endpoint"), section.str("traces_endpoint"));
        let base = endpoint.as_deref().map(|base| base.trim().trim_end_matches('/'));
        // As in the Collector, an empty one is none.
        let traces = traces.filter(|url| !url.trim().is_empty() || base.is_none());
        let (key, url) = match (base, traces) {
            (_, Some(traces)) => ("traces_endpoint", Some(traces)),
            // A path alone would only look like an address.
            (Some(""), None) => ("endpoint", Some(String::new())),
            (Some(base), None) => ("endpoint", Some(format!("{base}{TRACES_PATH}"))),
            (None, None) if section.says("traces_endpoint") => ("traces_endpoint", None),
            (None, None) => ("endpoint", None),
        };
        let queue = queue::Settings::read(&mut section, queue::Settings::default());
        let settings = Self {
            uri: address(&mut section, key, url.as_deref(), NEEDED, |url| client::parse(url, FORM)),
            tls: Tls::read(&mut section),
            headers: headers::read(&mut section),
            auth: Auth::read(&mut section),
            json: section.one_of("encoding", &["proto", "json"], "proto") == "json",
            compression: compression(&mut section),
            timeout: client::timeout(&mut section, TIMEOUT),
            retry: Schedule::read(&mut section, queue.storage.is_some()),
            queue,
        };
        for key in ["cookies", "middlewares", "proxy_url", "compression_params"] {
            section.unsupported(key, NOT_YET);
        }
        for key in ["metrics_endpoint", "logs_endpoint", "profiles_endpoint"] {
            section.unsupported(key, "only traces are sent");
        }
        for key in ["read_buffer_size", "write_buffer_size", "force_attempt_http2", "disable_keep_alives"] {
            section.unsupported(key, "connections are kept, and HTTP/2 is used where the server offers it");
        }
        for key in ["max_idle_conns", "max_idle_conns_per_host", "max_conns_per_host", "idle_conn_timeout"] {
            section.unsupported(key, "there are as many connections as requests on their way");
        }
        for key in ["http2_read_idle_timeout", "http2_ping_timeout"] {
            section.unsupported(key, NOT_YET);
        }
        section.finish();
        settings
    }
}

/// Sends requests to one destination.
pub(super) struct Client {
    pool: Pool,
    uri: Uri,
    headers: HeaderMap,
    auth: Option<Auth>,
    json: bool,
    compression: Encoding,
    timeout: Option<Duration>,
}

impl Client {
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let mut headers = settings.headers.clone();
        let content_type = if settings.json { "application/json" } else { "application/x-protobuf" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if settings.compression != Encoding::Identity {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(settings.compression.as_str()));
        }
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!("sluice/", env!("CARGO_PKG_VERSION"))));
        Ok(Self {
            pool: Pool::new(&settings.tls, Shape { http2_only: false, keepalive: None, keepalive_while_idle: false })?,
            auth: settings.auth.clone(),
            uri: settings.uri.clone(),
            headers,
            json: settings.json,
            compression: settings.compression,
            timeout: settings.timeout,
        })
    }

    /// A body out of the chunks of one request.
    pub async fn prepare(&self, mut chunks: Vec<Bytes>) -> Result<Vec<Bytes>, Refusal> {
        if self.json {
            let json = sluice_spans::json::to_json(&chunks.concat());
            let json = json.map_err(|error| Refusal {
                reason: "internal".to_owned(),
                message: error.to_string(),
                retry: Retry::NotThis,
                maybe_taken: false,
            })?;
            chunks = vec![json.into()];
        }
        if self.compression == Encoding::Identity {
            return Ok(client::gather(chunks));
        }
        Ok(vec![client::compress(self.compression, chunks).await?])
    }

    /// One attempt.
    pub async fn attempt(&self, body: &[Bytes]) -> Answer {
        match client::within(self.timeout, self.exchange(body)).await {
            Ok(answer) => answer.unwrap_or_else(|lost| Answer::Refused(no_answer(lost))),
            Err(late) => Answer::Refused(Refusal { reason: "timeout".to_owned(), ..no_answer(late.into()) }),
        }
    }

    async fn exchange(&self, body: &[Bytes]) -> Result<Answer, Lost> {
        let mut request = Request::new(Rope::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some((name, value)) = self.auth.as_ref().and_then(Auth::known).and_then(Authenticator::credentials) {
            request.headers_mut().insert(name, value);
        }
        let response = self.pool.send(request).await?;
        if response.status().is_success() { taken(response).await } else { Ok(refused(response).await) }
    }
}

fn no_answer(Lost { message, maybe_taken }: Lost) -> Refusal {
    Refusal { reason: "unavailable".to_owned(), message, retry: Retry::Later, maybe_taken }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

async fn taken(response: Response<Incoming>) -> Result<Answer, Lost> {
    let (head, body) = response.into_parts();
    let (body, _) = client::read(body).await?;
    let parsed = if is_json(&head.headers) {
        parse_json(&body)
    } else if is_protobuf(&head.headers) {
        ExportResponse::decode(body).map_err(|error| error.to_string()).map(|response| {
            let partial = response.partial_success.unwrap_or_default();
            (u64::try_from(partial.rejected_spans).unwrap_or(0), partial.error_message)
        })
    } else {
        // Something between us and the server has answered for it; success it is.
        Ok((0, String::new()))
    };
    Ok(match parsed {
        Ok((rejected, message)) => Answer::Taken { rejected, message },
        // Upstream has it or not: sending it again would only repeat that.
        Err(error) => Answer::Refused(Refusal {
            reason: "bad_answer".to_owned(),
            message: format!("success with an answer that cannot be read: {error}"),
            retry: Retry::Done,
            maybe_taken: true,
        }),
    })
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-protobuf"))
}

/// `partialSuccess` of an answer in JSON; 64-bit numbers are strings, or numbers.
fn parse_json(body: &[u8]) -> Result<(u64, String), String> {
    if body.trim_ascii().is_empty() {
        return Ok((0, String::new()));
    }
    let answer: serde_json::Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let partial = answer.get("partialSuccess");
    let rejected = partial.and_then(|partial| partial.get("rejectedSpans"));
    let rejected = rejected.and_then(|number| number.as_u64().or_else(|| number.as_str()?.parse().ok())).unwrap_or(0);
    let message = partial.and_then(|partial| partial.get("errorMessage")?.as_str()).unwrap_or_default();
    Ok((rejected, message.to_owned()))
}

async fn refused(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let status = head.status;
    let asked = head.headers.get(RETRY_AFTER).and_then(|after| retry_after(after.to_str().ok()?, SystemTime::now()));
    let retry = match (status.as_u16(), asked) {
        (429 | 502 | 503 | 504, Some(asked)) => Retry::After(asked),
        (429 | 502 | 503 | 504, None) => Retry::Later,
        (401 | 403 | 404 | 405 | 407 | 501, _) => Retry::Never,
        _ => Retry::NotThis,
    };
    // The status says enough if the body is not readable.
    let body = client::read(body).await.map(|(body, _)| body).unwrap_or_default();
    Answer::Refused(Refusal {
        reason: format!("http_{}", status.as_u16()),
        message: explain(status, &head.headers, &body),
        retry,
        // Something between us and the server does not know.
        maybe_taken: matches!(status.as_u16(), 502 | 504),
    })
}

fn explain(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    const SHOWN: usize = 256;
    let message = if is_protobuf(headers) {
        Status::decode(body).map(|status| status.message).unwrap_or_default()
    } else {
        String::from_utf8_lossy(body.get(..SHOWN).unwrap_or(body)).into_owned()
    };
    format!("HTTP status {status}: {message}")
}

/// `Retry-After`: seconds, or a date.
fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = header.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(header.trim()).ok()?;
    // A date that has passed asks for nothing.
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        // RFC 9110's own example date is 784111777 seconds after the epoch.
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_mins(1)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:36 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn a_partial_success_in_json_counts_whether_its_number_is_a_string_or_not() {
        assert_eq!(
            parse_json(br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"full"}}"#),
            Ok((3, "full".to_owned()))
        );
        assert_eq!(parse_json(br#"{"partialSuccess":{"rejectedSpans":3}}"#), Ok((3, String::new())));
        assert_eq!(parse_json(b"{}"), Ok((0, String::new())));
        assert!(parse_json(b"<html>").is_err());
    }
}

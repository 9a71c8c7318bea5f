//! The `otlp_grpc` exporter (also `otlp`): OTLP/gRPC upstream.
//!
//! Spoken directly on HTTP/2: a request goes out as the chunks that came in, uncopied if they are
//! large and compression is off.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{Buf, Bytes};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use prost::Message;

use super::client::{self, Lost, Pool, Rope, Shape, Tls};
use super::headers;
use super::retry::Schedule;
use super::sender::{Answer, Refusal, Retry};
use crate::auth::{Auth, Authenticator};
use crate::config::section::{NOT_YET, Section};
use crate::otlp::EXPORT_PATH;
use crate::otlp::compression::{Encoding, Unmetered};
use crate::otlp::grpc::{Code, PREFIX_BYTES, decode_message, prefix, read_prefix};
use crate::otlp::rpc::{ExportResponse, Status};
use crate::queue;

/// The Collector's, for one attempt.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What an answer may decompress to.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// What is told where no `endpoint` is.
const NEEDED: &str = "an `endpoint` is needed: where to send, like `localhost:4317`";

/// How an `endpoint` is written.
const FORM: &str = "`host:port`, `http://host:port` or `https://host:port`";

/// Senders pad base64 or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The settings of an `otlp_grpc` exporter.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where to send, with its scheme.
    pub uri: Uri,
    /// How to be sure of whom.
    pub tls: Tls,
    /// What to say beside the request.
    pub headers: HeaderMap,
    /// As whom to say it.
    pub auth: Option<Auth>,
    /// How to compress.
    pub compression: Encoding,
    /// For one attempt; it takes as long as it takes if there is none.
    pub timeout: Option<Duration>,
    /// Silence after which the connection is probed, how long the answer may take, and whether
    /// that is done without requests in flight as well.
    pub keepalive: Option<(Duration, Duration, bool)>,
    /// When to try again.
    pub retry: Schedule,
    /// What waits.
    pub queue: queue::Settings,
}

pub(super) fn compression(section: &mut Section<'_>) -> Encoding {
    match section.one_of("compression", &["gzip", "zstd", "none"], "gzip") {
        "zstd" => Encoding::Zstd,
        "none" => Encoding::Identity,
        _ => Encoding::Gzip,
    }
}

/// Reads the text of a key that has to hold an address; if there is none, `needed` is told. What is wrong with it is
/// told as well; then something that nobody listens on stands in for it, and reading goes on.
pub(super) fn address(
    section: &mut Section<'_>,
    key: &str,
    text: Option<&str>,
    needed: &str,
    read: impl FnOnce(&str) -> Result<Uri, String>,
) -> Uri {
    let problem = match text.map(str::trim) {
        // It is there and no text, which has been told.
        None if section.says(key) => None,
        None | Some("") => Some(needed.to_owned()),
        Some(text) => match read(text) {
            Ok(uri) => return uri,
            Err(reason) => Some(format!("`{key}`: {reason}")),
        },
    };
    if let Some(problem) = problem {
        section.error(key, problem);
    }
    Uri::from_static("http://localhost:0")
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let tls = Tls::read(&mut section);
        let endpoint = section.str("endpoint");
        let read = |endpoint: &str| target(&client::with_scheme(endpoint, tls.insecure));
        let uri = address(&mut section, "endpoint", endpoint.as_deref(), NEEDED, read);
        let queue = queue::Settings::read(&mut section, queue::Settings::default());
        let settings = Self {
            uri,
            headers: headers::read(&mut section),
            auth: Auth::read(&mut section),
            compression: compression(&mut section),
            timeout: client::timeout(&mut section, TIMEOUT),
            keepalive: section.section("keepalive").map(keepalive),
            retry: Schedule::read(&mut section, queue.storage.is_some()),
            queue,
            tls,
        };
        // Every attempt waits for a connection as long as its timeout allows.
        section.bool_or("wait_for_ready", false);
        for key in ["middlewares", "authority"] {
            section.unsupported(key, NOT_YET);
        }
        section.unsupported("balancer_name", "there is one connection, to the first address that answers");
        for key in ["read_buffer_size", "write_buffer_size"] {
            section.unsupported(key, "buffers grow as needed");
        }
        section.finish();
        settings
    }
}

fn target(url: &str) -> Result<Uri, String> {
    let uri = client::parse(url, FORM)?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(format!("`{url}` is no gRPC endpoint: it must not have a path"));
    }
    // Its parts are valid, and so is the path.
    client::parse(&format!("{}{EXPORT_PATH}", url.trim_end_matches('/')), FORM)
}

fn keepalive(mut section: Section<'_>) -> (Duration, Duration, bool) {
    const DEFAULT: Duration = Duration::from_secs(10);
    let keepalive = (
        section.nonzero_duration_or("time", DEFAULT),
        section.nonzero_duration_or("timeout", DEFAULT),
        section.bool_or("permit_without_stream", false),
    );
    section.finish();
    keepalive
}

/// Sends requests to one destination.
pub(super) struct Client {
    pool: Pool,
    uri: Uri,
    headers: HeaderMap,
    auth: Option<Auth>,
    compression: Encoding,
    timeout: Option<Duration>,
}

impl Client {
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let keepalive = settings.keepalive.map(|(time, timeout, _)| (time, timeout));
        let keepalive_while_idle = settings.keepalive.is_some_and(|(_, _, idle)| idle);
        let mut headers = settings.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip,zstd"));
        if settings.compression != Encoding::Identity {
            headers.insert("grpc-encoding", HeaderValue::from_static(settings.compression.as_str()));
        }
        headers
            .entry(http::header::USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("sluice/", env!("CARGO_PKG_VERSION"))));
        if let Some(timeout) = settings.timeout {
            // gRPC's unit with the most room: eight digits of milliseconds are a day.
            let timeout = format!("{}m", timeout.as_millis().clamp(1, 99_999_999));
            headers.insert("grpc-timeout", HeaderValue::try_from(timeout).map_err(|error| error.to_string())?);
        }
        Ok(Self {
            pool: Pool::new(&settings.tls, Shape { http2_only: true, keepalive, keepalive_while_idle })?,
            uri: settings.uri.clone(),
            headers,
            auth: settings.auth.clone(),
            compression: settings.compression,
            timeout: settings.timeout,
        })
    }

    /// A gRPC message out of the chunks of one request.
    pub async fn prepare(&self, chunks: Vec<Bytes>) -> Result<Vec<Bytes>, Refusal> {
        let compressed = self.compression != Encoding::Identity;
        let chunks = if compressed { vec![client::compress(self.compression, chunks).await?] } else { chunks };
        let Ok(bytes) = u32::try_from(chunks.iter().map(Bytes::len).sum::<usize>()) else {
            return Err(refusal(Code::ResourceExhausted, "the request is larger than gRPC can say".to_owned(), None));
        };
        let mut message = Vec::with_capacity(chunks.len() + 1);
        message.push(Bytes::copy_from_slice(&prefix(compressed, bytes)));
        message.extend(chunks);
        Ok(client::gather(message))
    }

    /// One attempt.
    pub async fn attempt(&self, message: &[Bytes]) -> Answer {
        match client::within(self.timeout, self.exchange(message)).await {
            Ok(Ok((rejected, message))) => Answer::Taken { rejected, message },
            Ok(Err(refusal)) => Answer::Refused(refusal),
            Err(late) => Answer::Refused(refusal(Code::DeadlineExceeded, late, None)),
        }
    }

    async fn exchange(&self, message: &[Bytes]) -> Result<(u64, String), Refusal> {
        let mut request = Request::new(Rope::new(message));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some((name, value)) = self.auth.as_ref().and_then(Auth::known).and_then(Authenticator::credentials) {
            request.headers_mut().insert(name, value);
        }
        let lost =
            |Lost { message, maybe_taken }: Lost| Refusal { maybe_taken, ..refusal(Code::Unavailable, message, None) };
        let (head, body) = self.pool.send(request).await.map_err(lost)?.into_parts();
        if head.status != StatusCode::OK {
            return Err(refusal(Code::of_http(head.status), format!("HTTP status {}", head.status), None));
        }
        // An answer without a message has its status in the headers.
        status(&head.headers).unwrap_or(Ok(()))?;
        let (body, trailers) = client::read(body).await.map_err(|error| lost(error.into()))?;
        let trailers = trailers.unwrap_or(head.headers.clone());
        status(&trailers)
            .unwrap_or_else(|| Err(refusal(Code::Unknown, "the answer has no grpc-status".to_owned(), None)))?;
        // It was taken or not: sending it again would only repeat that.
        let broken =
            |what: String| Refusal { retry: Retry::Done, maybe_taken: true, ..refusal(Code::Internal, what, None) };
        let response = response(&head.headers, body).await.map_err(broken)?;
        let partial = response.partial_success.unwrap_or_default();
        Ok((u64::try_from(partial.rejected_spans).unwrap_or(0), partial.error_message))
    }
}

/// The status in headers or trailers, if it is there.
fn status(headers: &HeaderMap) -> Option<Result<(), Refusal>> {
    let code = Code::parse(headers.get("grpc-status")?.as_bytes());
    if code == Code::Ok {
        return Some(Ok(()));
    }
    let message = headers.get("grpc-message").map(|message| decode_message(message.as_bytes())).unwrap_or_default();
    let details = headers.get("grpc-status-details-bin").and_then(|details| BASE64.decode(details.as_bytes()).ok());
    let delay = details.and_then(|details| Status::decode(details.as_slice()).ok()?.retry_delay());
    Some(Err(refusal(code, message, delay)))
}

async fn response(headers: &HeaderMap, mut body: Bytes) -> Result<ExportResponse, String> {
    if body.len() < PREFIX_BYTES {
        return Err("the answer holds no message".to_owned());
    }
    let mut prefix = [0; PREFIX_BYTES];
    body.copy_to_slice(&mut prefix);
    let (flag, length) = read_prefix(prefix);
    if length as usize != body.len() {
        return Err("the answer is not one message".to_owned());
    }
    if flag == 1 {
        let encoding = headers.get("grpc-encoding").and_then(|name| Encoding::parse(name.as_bytes()));
        let encoding = encoding.ok_or("the answer is compressed in a way that we do not know")?;
        body = encoding.decompress(body, MAX_ANSWER_BYTES, &mut Unmetered).await.map_err(|error| error.to_string())?;
    }
    ExportResponse::decode(body).map_err(|error| error.to_string())
}

fn refusal(code: Code, message: String, delay: Option<Duration>) -> Refusal {
    let retry = match (code, delay) {
        // A server that is busy says when to come back; one that does not, wants less.
        (Code::ResourceExhausted, Some(delay)) => Retry::After(delay),
        (code, Some(delay)) if code.is_retryable() => Retry::After(delay),
        (code, None) if code.is_retryable() => Retry::Later,
        (Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented | Code::NotFound, _) => Retry::Never,
        _ => Retry::NotThis,
    };
    // Who says so may have taken it before it was too late.
    let maybe_taken = matches!(code, Code::DeadlineExceeded | Code::Cancelled);
    Refusal { reason: code.as_str().to_owned(), message, retry, maybe_taken }
}

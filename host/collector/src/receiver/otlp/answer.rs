//! Answers: what a sender is told, in the words of its protocol.
//!
//! `RESOURCE_EXHAUSTED` without `RetryInfo` and 413 mean too large and nothing else; whoever may
//! come back is told `UNAVAILABLE` with `RetryInfo`, or 503 with `Retry-After`. Who stopped in the middle of a body
//! knows best when to come back, and is told `DEADLINE_EXCEEDED`, or 503 alone.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};
use prost::Message;

use super::body::Unread;
use crate::intake::Refused;
use crate::otlp::compression::Broken;
use crate::otlp::grpc::{Code, PREFIX_BYTES, encode_message};
use crate::otlp::rpc::{Any, ExportResponse, PartialSuccess, Status};
use crate::receiver::admission::OverBudget;

/// A message goes into a header, and OTLP bounds answers.
const MAX_MESSAGE_BYTES: usize = 1024;

/// When to come back if the budget of bytes is spent: it turns over within a second.
const OVER_BUDGET_RETRY: Duration = Duration::from_secs(1);

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const APPLICATION_GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

/// The body of an answer: one piece at most, and gRPC's trailers.
#[derive(Debug, Default)]
pub(super) struct Body {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match self.data.take() {
            Some(data) => Some(Frame::data(data)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, Bytes::len) as u64)
    }
}

/// Why a request was not taken, with what each protocol says then.
#[derive(Debug)]
pub(super) struct Problem {
    pub http: StatusCode,
    pub code: Code,
    pub message: String,
    pub detail: Detail,
}

/// What goes beside the message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Detail {
    Nothing,
    /// A place in the request, and what is wrong there.
    Field(String),
    /// When to come back.
    Retry(Duration),
    /// How to say who one is (`WWW-Authenticate`).
    Challenge(HeaderValue),
}

impl Problem {
    pub fn new(http: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { http, code, message: message.into(), detail: Detail::Nothing }
    }

    pub fn bad_data(field: &str, message: impl Into<String>) -> Self {
        Self {
            detail: Detail::Field(field.to_owned()),
            ..Self::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, message)
        }
    }

    pub fn unauthenticated(challenge: HeaderValue) -> Self {
        Self {
            detail: Detail::Challenge(challenge),
            ..Self::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, "no credentials, or not the right ones")
        }
    }

    fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, message)
    }

    fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            detail: Detail::Retry(retry_after),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message)
        }
    }

    /// One of [`REASONS`](crate::receiver::REASONS).
    pub fn reason(&self) -> &'static str {
        if matches!(self.code, Code::DeadlineExceeded | Code::Cancelled) {
            return "broken_off";
        }
        match self.http {
            StatusCode::UNAUTHORIZED => "unauthenticated",
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                "unsupported"
            }
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            StatusCode::INTERNAL_SERVER_ERROR => "failed",
            _ => "malformed",
        }
    }

    pub fn message(&self) -> &str {
        cut(&self.message)
    }

    fn status(&self) -> Status {
        let details = match &self.detail {
            Detail::Nothing | Detail::Challenge(_) => Vec::new(),
            Detail::Field(field) => vec![Any::bad_request(field, self.message())],
            Detail::Retry(after) => vec![Any::retry_info(*after)],
        };
        Status { code: self.code as i32, message: self.message().to_owned(), details }
    }
}

/// As much of a message as an answer may hold.
fn cut(message: &str) -> &str {
    message.get(..message.floor_char_boundary(MAX_MESSAGE_BYTES)).unwrap_or_default()
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed(malformed) => Self::bad_data(&malformed.path, malformed.to_string()),
            Refused::TooLarge(full) => Self::too_large(full.to_string()),
            Refused::Final(reason) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, reason),
            Refused::Unavailable { reason, retry_after } => Self::unavailable(reason, retry_after),
        }
    }
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        match &unread {
            Unread::TooLarge { .. } => Self::too_large(unread.to_string()),
            Unread::OverBudget(_) => Self::unavailable(unread.to_string(), OVER_BUDGET_RETRY),
            // Not 408, which says it better: by OTLP nobody sends again what was answered with that.
            Unread::Stalled => Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::DeadlineExceeded, unread.to_string()),
            // Nobody is there to read it.
            Unread::Gone(_) => Self::new(StatusCode::BAD_REQUEST, Code::Cancelled, unread.to_string()),
        }
    }
}

impl From<Broken> for Problem {
    fn from(broken: Broken) -> Self {
        match &broken {
            Broken::TooLarge { .. } => Self::too_large(broken.to_string()),
            Broken::NoRoom => OverBudget.into(),
            Broken::Corrupt(_) => Self::bad_data("", broken.to_string()),
        }
    }
}

impl From<OverBudget> for Problem {
    fn from(over: OverBudget) -> Self {
        Self::from(Unread::OverBudget(over))
    }
}

/// `ExportTraceServiceResponse` with a warning: nothing was rejected that its sender could know of.
fn warned(warning: &str) -> ExportResponse {
    let error_message = cut(warning).to_owned();
    ExportResponse { partial_success: Some(PartialSuccess { rejected_spans: 0, error_message }) }
}

/// The gRPC answer to a request that was taken: an empty message, or one with a warning.
pub(super) fn grpc_success(warning: &str) -> Response<Body> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let data = if warning.is_empty() {
        Bytes::from_static(&[0; PREFIX_BYTES])
    } else {
        let message = warned(warning).encode_to_vec();
        // Not longer than a message may be; see `warned`.
        let length = (message.len() as u32).to_be_bytes();
        [&[0], length.as_slice(), message.as_slice()].concat().into()
    };
    let mut response = Response::new(Body { data: Some(data), trailers: Some(trailers) });
    response.headers_mut().insert(CONTENT_TYPE, APPLICATION_GRPC);
    response
}

/// The gRPC answer to a request that was not taken.
pub(super) fn grpc_problem(problem: &Problem) -> Response<Body> {
    let mut response = Response::new(Body::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, APPLICATION_GRPC);
    headers.insert(GRPC_STATUS, HeaderValue::from(problem.code as u16));
    // Encoded messages and base64 are always valid header values.
    if let Ok(message) = HeaderValue::try_from(encode_message(problem.message())) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if matches!(problem.detail, Detail::Field(_) | Detail::Retry(_)) {
        let details = BASE64_STANDARD_NO_PAD.encode(problem.status().encode_to_vec());
        if let Ok(details) = HeaderValue::try_from(details) {
            headers.insert(GRPC_DETAILS, details);
        }
    }
    if problem.code == Code::Unimplemented {
        headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip,zstd"));
    }
    response
}

/// The two formats of OTLP/HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Protobuf,
    Json,
}

impl Format {
    /// The format that a `Content-Type` names, whatever its parameters.
    pub fn of(content_type: Option<&HeaderValue>) -> Option<Self> {
        let name = content_type?.as_bytes().split(|byte| *byte == b';').next()?.trim_ascii();
        if name.eq_ignore_ascii_case(b"application/x-protobuf") {
            Some(Self::Protobuf)
        } else if name.eq_ignore_ascii_case(b"application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }
}

/// The HTTP answer to a request that was taken: an `ExportTraceServiceResponse`, empty or with a
/// warning.
pub(super) fn http_success(format: Format, warning: &str) -> Response<Body> {
    let data = match (format, warning.is_empty()) {
        (Format::Protobuf, true) => None,
        (Format::Json, true) => Some(Bytes::from_static(b"{}")),
        (Format::Protobuf, false) => Some(warned(warning).encode_to_vec().into()),
        // A count of zero is left out, as protobuf's JSON prescribes.
        (Format::Json, false) => {
            let answer = serde_json::json!({ "partialSuccess": { "errorMessage": cut(warning) } });
            Some(answer.to_string().into())
        }
    };
    let mut response = Response::new(Body { data, trailers: None });
    response.headers_mut().insert(CONTENT_TYPE, format.content_type());
    response
}

/// The HTTP answer to a request that was not taken: a `google.rpc.Status` in the request's format.
pub(super) fn http_problem(format: Format, problem: &Problem) -> Response<Body> {
    let body = match format {
        Format::Protobuf => problem.status().encode_to_vec(),
        Format::Json => json(problem).into_bytes(),
    };
    let mut response = Response::new(Body { data: Some(body.into()), trailers: None });
    *response.status_mut() = problem.http;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, format.content_type());
    match &problem.detail {
        // Whole seconds, never too early.
        Detail::Retry(after) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_millis().div_ceil(1000).max(1) as u64));
        }
        Detail::Challenge(challenge) => {
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        Detail::Nothing | Detail::Field(_) => {}
    }
    response
}

fn json(problem: &Problem) -> String {
    let detail = match &problem.detail {
        Detail::Nothing | Detail::Challenge(_) => None,
        Detail::Field(field) => Some(serde_json::json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": field, "description": problem.message() }],
        })),
        Detail::Retry(after) => Some(serde_json::json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{}s", after.as_secs_f64()),
        })),
    };
    let mut status = serde_json::json!({ "code": problem.code as i32, "message": problem.message() });
    if let (Some(detail), Some(status)) = (detail, status.as_object_mut()) {
        status.insert("details".to_owned(), serde_json::Value::Array(vec![detail]));
    }
    status.to_string()
}

/// An HTTP answer to what is no OTLP request at all.
pub(super) fn http_text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body { data: Some(Bytes::from_static(text.as_bytes())), trailers: None });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By OTLP/HTTP ("Retryable Response Codes") 429, 502, 503 and 504 are repeated, and nothing else is.
    #[test]
    fn who_stops_in_the_middle_of_a_body_may_send_it_again() {
        let problem = Problem::from(Unread::Stalled);
        assert_eq!((problem.http.as_u16(), problem.code as i32, problem.reason()), (503, 4, "broken_off"));
    }
}

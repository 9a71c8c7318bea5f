//! OTLP/gRPC: one method, one message in, one out.
//!
//! Spoken directly on HTTP/2: the message is handed in as the bytes that arrived, and the limit
//! holds for what comes out of decompression as well.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::answer::{Body, Problem, grpc_problem, grpc_success, http_text};
use super::body::{self, Unread};
use super::{Grpc, Server};
use crate::otlp::EXPORT_PATH;
use crate::otlp::compression::Encoding;
use crate::otlp::grpc::{Code, PREFIX_BYTES, read_prefix};
use crate::receiver::Submit;
use crate::receiver::admission::{Charge, Share};

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// Answers one request.
pub(super) async fn answer<S: Submit>(
    settings: &Grpc,
    server: &Server,
    share: &Share,
    submit: &S,
    request: Box<Request<Incoming>>,
) -> Response<Body> {
    if request.method() != Method::POST {
        return no_grpc(server, StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed, supported: [POST]");
    }
    let is_grpc =
        request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        let text = "415 unsupported media type, supported: [application/grpc]";
        return no_grpc(server, StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    }
    if request.uri().path() != EXPORT_PATH {
        let message = format!("unknown method {}", request.uri().path());
        return refuse(server, &Problem::new(StatusCode::NOT_FOUND, Code::Unimplemented, message));
    }
    if let Err(problem) = super::admit(server, settings.auth.as_ref(), request.headers()).await {
        return refuse(server, &problem);
    }
    let deadline = request.headers().get(GRPC_TIMEOUT).and_then(timeout).map(|timeout| Instant::now() + timeout);
    let encoding = match encoding(request.headers()) {
        Ok(encoding) => encoding,
        Err(problem) => return refuse(server, &problem),
    };
    // Its head is not kept while it comes, which may take long.
    let mut body = request.into_body();
    // The charge lasts until the request is answered.
    let mut charge = share.charge();
    let taken = match message(settings, encoding, &mut body, &mut charge).await {
        // Boxed: what takes much room is there only while it is needed, and not for a body that trickles in.
        Ok(wire) => Box::pin(super::hand_in(server, submit, wire, deadline, &mut charge)).await,
        Err(problem) => Err(problem),
    };
    match taken {
        Ok(warning) => grpc_success(&warning),
        Err(problem) => refuse(server, &problem),
    }
}

fn refuse(server: &Server, problem: &Problem) -> Response<Body> {
    server.refused(problem);
    grpc_problem(problem)
}

fn no_grpc(server: &Server, status: StatusCode, text: &'static str) -> Response<Body> {
    server.refused(&Problem::new(status, Code::Unimplemented, text));
    http_text(status, text)
}

async fn message(
    settings: &Grpc,
    encoding: Encoding,
    body: &mut Incoming,
    charge: &mut Charge,
) -> Result<Bytes, Problem> {
    let limit = settings.max_request_bytes;
    let mut first = body::next(body).await?.unwrap_or_default();
    charge.grow(first.len()).await?;
    while first.len() < PREFIX_BYTES {
        // The prefix may come in pieces.
        let Some(more) = body::next(body).await? else {
            return Err(broken("the request holds no message"));
        };
        charge.grow(more.len()).await?;
        first = [first, more].concat().into();
    }
    let mut prefix = [0; PREFIX_BYTES];
    first.copy_to_slice(&mut prefix);
    let (flag, length) = read_prefix(prefix);
    let length = length as usize;
    if length > limit {
        return Err(Unread::TooLarge { limit }.into());
    }
    let mut wire = body::rest(first, length, body, limit, charge).await?;
    if wire.len() < length {
        return Err(broken("the message ends early"));
    }
    if wire.len() > length {
        // A request with a second message: this method takes one.
        let second = wire.split_off(length);
        return Err(broken(&format!("{} bytes follow the message", second.len())));
    }
    match (flag, encoding) {
        (0, _) => Ok(wire),
        (1, Encoding::Identity) => Err(broken("the message is compressed, but no `grpc-encoding` says how")),
        (1, encoding) => Ok(Box::pin(encoding.decompress(wire, limit, charge)).await?),
        _ => Err(broken("the message begins with an unknown flag")),
    }
}

/// How long a sender waits: at most eight digits and a unit. None if it is written otherwise.
fn timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(count * 3600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let Some(header) = headers.get("grpc-encoding") else { return Ok(Encoding::Identity) };
    Encoding::parse(header.as_bytes()).ok_or_else(|| {
        let message = format!("unknown grpc-encoding {}", String::from_utf8_lossy(header.as_bytes()));
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented, message)
    })
}

fn broken(message: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::Internal, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_grpc_writes_it() {
        let read = |text| timeout(&HeaderValue::from_static(text));
        assert_eq!(read("2H"), Some(Duration::from_hours(2)));
        assert_eq!(read("3M"), Some(Duration::from_mins(3)));
        assert_eq!(read("10S"), Some(Duration::from_secs(10)));
        assert_eq!(read("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("5n"), Some(Duration::from_nanos(5)));
        for wrong in ["", "S", "10", "10s", "+1S", "-1S", "1.5S", "123456789S"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}

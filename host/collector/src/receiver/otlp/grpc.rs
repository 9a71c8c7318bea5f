//! OTLP/gRPC: one method, one message in, one out.
//!
//! Spoken directly on HTTP/2: the message is handed in as the bytes that arrived, and the limit
//! holds for what comes out of decompression as well.

use bytes::{Buf, Bytes};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::answer::{Body, Problem, grpc_problem, grpc_success, http_text};
use super::body::{self, Unread};
use super::{Grpc, Server};
use crate::otlp::EXPORT_PATH;
use crate::otlp::compression::Encoding;
use crate::otlp::grpc::{Code, PREFIX_BYTES, read_prefix};
use crate::receiver::Submit;
use crate::receiver::admission::{Charge, Share};

/// Answers one request.
pub(super) async fn answer<S: Submit>(
    settings: &Grpc,
    server: &Server,
    share: &Share,
    submit: &S,
    mut request: Request<Incoming>,
) -> Response<Body> {
    if request.method() != Method::POST {
        return http_text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed, supported: [POST]");
    }
    let is_grpc =
        request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        return http_text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "415 unsupported media type, supported: [application/grpc]",
        );
    }
    if request.uri().path() != EXPORT_PATH {
        let message = format!("unknown method {}", request.uri().path());
        return grpc_problem(&Problem::new(StatusCode::NOT_FOUND, Code::Unimplemented, message));
    }
    if let Err(problem) = super::admit(server, settings.auth.as_ref(), request.headers()).await {
        return grpc_problem(&problem);
    }
    // The charge lasts until the request is answered.
    let mut charge = share.charge();
    let taken = match message(settings, &mut request, &mut charge).await {
        Ok(wire) => super::hand_in(server, submit, wire).await,
        Err(problem) => Err(problem),
    };
    match taken {
        Ok(()) => grpc_success(),
        Err(problem) => grpc_problem(&problem),
    }
}

async fn message(settings: &Grpc, request: &mut Request<Incoming>, charge: &mut Charge) -> Result<Bytes, Problem> {
    let limit = settings.max_request_bytes;
    let encoding = encoding(request.headers())?;
    let body = request.body_mut();
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
        (1, encoding) => Ok(encoding.decompress(wire, limit, charge).await?),
        _ => Err(broken("the message begins with an unknown flag")),
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

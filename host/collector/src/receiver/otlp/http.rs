//! OTLP/HTTP: protobuf or JSON, by HTTP/1.1 or HTTP/2.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::answer::{Body, Format, Problem, http_problem, http_success, http_text};
use super::body;
use super::{Http, Server};
use crate::otlp::compression::{Encoding, Meter as _};
use crate::otlp::grpc::Code;
use crate::receiver::Submit;
use crate::receiver::admission::{Charge, Share};

/// Answers one request.
pub(super) async fn answer<S: Submit>(
    settings: &Http,
    server: &Server,
    share: &Share,
    submit: &S,
    request: Box<Request<Incoming>>,
) -> Response<Body> {
    // Over HTTP/1 a refused sender in the middle of its body would see a reset instead of the answer. One
    // that waits for leave to send it (`Expect`) must not be given that.
    let is_discarded = request.version() < Version::HTTP_2 && !request.headers().contains_key(EXPECT);
    let format = match format(settings, &request) {
        Ok(format) => format,
        Err((status, text)) => {
            server.refused(&Problem::new(status, Code::Unimplemented, text));
            if is_discarded {
                body::discard(&mut request.into_body()).await;
            }
            return http_text(status, text);
        }
    };
    // The charge lasts until the request is answered.
    let mut charge = share.charge();
    let admitted = super::admit(server, settings.auth.as_ref(), request.headers()).await;
    let encoding = admitted.and_then(|()| encoding(request.headers()));
    // Its head is not kept while it comes, which may take long.
    let mut body = request.into_body();
    let message = match encoding {
        Ok(encoding) => message(settings, format, encoding, &mut body, &mut charge).await,
        Err(problem) => Err(problem),
    };
    let taken = match message {
        // Boxed: what takes much room is there only while it is needed, and not for a body that trickles in.
        Ok(wire) => Box::pin(super::hand_in(server, submit, wire, None, &mut charge)).await,
        Err(problem) => {
            drop(charge);
            if is_discarded {
                body::discard(&mut body).await;
            }
            Err(problem)
        }
    };
    match taken {
        Ok(warning) => http_success(format, &warning),
        Err(problem) => {
            server.refused(&problem);
            http_problem(format, &problem)
        }
    }
}

/// The format of a request for traces, or how what is none is answered.
fn format(settings: &Http, request: &Request<Incoming>) -> Result<Format, (StatusCode, &'static str)> {
    if request.uri().path() != settings.traces_path {
        return Err((StatusCode::NOT_FOUND, "404 page not found"));
    }
    if request.method() != Method::POST {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed, supported: [POST]"));
    }
    Format::of(request.headers().get(CONTENT_TYPE)).ok_or((
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "415 unsupported media type, supported: [application/json, application/x-protobuf]",
    ))
}

async fn message(
    settings: &Http,
    format: Format,
    encoding: Encoding,
    body: &mut Incoming,
    charge: &mut Charge,
) -> Result<Bytes, Problem> {
    let limit = settings.max_request_bytes;
    let mut body = body::whole(body, limit, charge).await?;
    if encoding != Encoding::Identity {
        body = Box::pin(encoding.decompress(body, limit, charge)).await?;
    }
    match format {
        Format::Protobuf => Ok(body),
        Format::Json => {
            // What comes out is not longer than what goes in, nor is a text in it that has to be decoded first.
            let room = body.len().saturating_mul(2);
            charge.grow(room).await?;
            let wire = sluice_spans::json::from_json(&body)
                .map_err(|error| Problem::bad_data(&error.path, error.to_string()))?;
            charge.give_back(room.saturating_sub(wire.len()));
            Ok(wire.into())
        }
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let Some(header) = headers.get(CONTENT_ENCODING) else { return Ok(Encoding::Identity) };
    Encoding::parse(header.as_bytes()).ok_or_else(|| {
        let message = format!("unsupported Content-Encoding {}", String::from_utf8_lossy(header.as_bytes()));
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, message)
    })
}

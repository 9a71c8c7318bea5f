//! The sink's connections. gRPC and HTTP share the port and are told apart by content type.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io::Read as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Result, bail};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;
use tonic::{Code, Status};

use super::{Answer, Shared};
use crate::codec::Raw;
use crate::rpc;

/// Above all that a test sends.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Accepts connections until told to stop, which ends them all.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    let mut stop = stopped.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                tokio::spawn(connection(stream, Arc::clone(&shared), stopped.clone()));
            }
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let cut = Arc::new(Notify::new());
    let service = service_fn({
        let cut = Arc::clone(&cut);
        move |request| {
            let (shared, cut) = (Arc::clone(&shared), Arc::clone(&cut));
            async move { Ok::<_, Infallible>(answer(request, shared, cut).await) }
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(1000).initial_stream_window_size(4 << 20);
    builder.http2().initial_connection_window_size(16 << 20);
    tokio::select! {
        _ = builder.serve_connection(TokioIo::new(stream), service) => {}
        () = cut.notified() => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>, cut: Arc<Notify>) -> Response<Body> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/grpc") {
        let headers = request.headers().clone();
        let mut grpc = tonic::server::Grpc::new(Raw)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        return grpc.unary(Export { shared, cut, headers }, request).await;
    }
    let json = kind.starts_with("application/json");
    post(request, json, &shared, &cut).await.unwrap_or_else(|error| {
        let mut response = Response::new(body(error.to_string().into()));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
    })
}

/// OTLP's one method over gRPC.
struct Export {
    shared: Arc<Shared>,
    cut: Arc<Notify>,
    headers: HeaderMap,
}

impl Service<tonic::Request<Bytes>> for Export {
    type Response = tonic::Response<Bytes>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (shared, cut, headers) = (Arc::clone(&self.shared), Arc::clone(&self.cut), self.headers.clone());
        Box::pin(async move {
            let partial = match shared.answer(request.get_ref()) {
                Answer::Ok => None,
                Answer::Partial { rejected, message } => Some((rejected, message)),
                Answer::Late(time) => {
                    tokio::time::sleep(time).await;
                    None
                }
                Answer::Held(gate) => {
                    gate.passed().await;
                    None
                }
                Answer::Refuse { code, retry, .. } => return Err(refusal(code, retry)),
                Answer::Disconnect => {
                    cut.notify_one();
                    return pending().await;
                }
                Answer::Silence => return pending().await,
            };
            shared
                .accept(request.into_inner(), "grpc", headers, rejected(partial))
                .map_err(|error| Status::invalid_argument(error.to_string()))?;
            Ok(tonic::Response::new(response(partial).encode_to_vec().into()))
        })
    }
}

fn refusal(code: Code, retry: Option<std::time::Duration>) -> Status {
    let details = rpc::Status::new(code as i32, "the script says so", retry).encode_to_vec();
    Status::with_details(code, "the script says so", details.into())
}

fn rejected(partial: Option<(i64, &str)>) -> u64 {
    partial.map_or(0, |(rejected, _)| rejected.unsigned_abs())
}

fn response(partial: Option<(i64, &str)>) -> ExportTraceServiceResponse {
    ExportTraceServiceResponse {
        partial_success: partial.map(|(rejected_spans, message)| ExportTracePartialSuccess {
            rejected_spans,
            error_message: message.to_owned(),
        }),
    }
}

fn body(bytes: Bytes) -> Body {
    Body::new(Full::new(bytes).map_err(|never: Infallible| match never {}))
}

async fn post(request: Request<Incoming>, json: bool, shared: &Shared, cut: &Notify) -> Result<Response<Body>> {
    let (parts, incoming) = request.into_parts();
    if parts.uri.path() != "/v1/traces" {
        bail!("no such path: {}", parts.uri.path());
    }
    let plain = inflate(incoming.collect().await?.to_bytes(), &parts.headers)?;
    let wire =
        if json { serde_json::from_slice::<ExportTraceServiceRequest>(&plain)?.encode_to_vec().into() } else { plain };
    let partial = match shared.answer(&wire) {
        Answer::Ok => None,
        Answer::Partial { rejected, message } => Some((rejected, message)),
        Answer::Late(time) => {
            tokio::time::sleep(time).await;
            None
        }
        Answer::Held(gate) => {
            gate.passed().await;
            None
        }
        Answer::Refuse { code, status, retry } => return refuse(code, status, retry, json),
        Answer::Disconnect => {
            cut.notify_one();
            return pending().await;
        }
        Answer::Silence => return pending().await,
    };
    let protocol = if json { "http/json" } else { "http/protobuf" };
    shared.accept(wire, protocol, parts.headers, rejected(partial))?;
    let message = response(partial);
    let bytes = if json { serde_json::to_vec(&message)? } else { message.encode_to_vec() };
    Ok(Response::builder().header(CONTENT_TYPE, media_type(json)).body(body(bytes.into()))?)
}

fn refuse(code: Code, status: u16, retry: Option<std::time::Duration>, json: bool) -> Result<Response<Body>> {
    let mut builder = Response::builder().status(status).header(CONTENT_TYPE, media_type(json));
    if let Some(time) = retry {
        builder = builder.header(RETRY_AFTER, time.as_secs());
    }
    let status = rpc::Status::new(code as i32, "the script says so", None);
    let bytes = if json {
        serde_json::to_vec(&serde_json::json!({"code": status.code, "message": status.message}))?
    } else {
        status.encode_to_vec()
    };
    Ok(builder.body(body(bytes.into()))?)
}

fn media_type(json: bool) -> &'static str {
    if json { "application/json" } else { "application/x-protobuf" }
}

fn inflate(body: Bytes, headers: &HeaderMap) -> Result<Bytes> {
    match headers.get(CONTENT_ENCODING).map(http::HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(body),
        Some(b"gzip") => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain)?;
            Ok(plain.into())
        }
        Some(b"zstd") => Ok(zstd::decode_all(&body[..])?.into()),
        Some(other) => bail!("content encoding {}", String::from_utf8_lossy(other)),
    }
}

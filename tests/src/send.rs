//! Senders: OTLP over gRPC and HTTP, and plain sockets for what no proper client would send.

pub mod http;
pub mod raw;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::codec::{EXPORT, Raw};
use crate::{rpc, wait};

/// Above all that a test sends.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// A gRPC client on one connection. Cheap to clone.
#[derive(Clone)]
pub struct Grpc {
    inner: tonic::client::Grpc<Channel>,
}

impl Grpc {
    /// A client that connects when first used.
    ///
    /// # Errors
    /// Never for an address; `tonic` wants it said.
    pub fn new(address: SocketAddr) -> Result<Self> {
        let _on = wait::runtime().enter();
        Self::here(address)
    }

    /// A client whose connection lives on the runtime that this is called on.
    ///
    /// # Errors
    /// As [`Grpc::new`].
    pub fn here(address: SocketAddr) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .initial_connection_window_size(16 << 20)
            .initial_stream_window_size(4 << 20);
        let inner = tonic::client::Grpc::new(endpoint.connect_lazy())
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { inner })
    }

    /// The same client, compressing what it sends.
    #[must_use]
    pub fn compressed(self, with: CompressionEncoding) -> Self {
        Self { inner: self.inner.send_compressed(with) }
    }

    /// Sends one request's bytes.
    ///
    /// # Errors
    /// With the status that the server, or the transport, answered.
    pub async fn export(&self, wire: Bytes) -> Result<ExportTraceServiceResponse, Status> {
        self.call(tonic::Request::new(wire)).await
    }

    async fn call(&self, request: tonic::Request<Bytes>) -> Result<ExportTraceServiceResponse, Status> {
        let mut client = self.inner.clone();
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static(EXPORT);
        let answer = client.unary(request, path, Raw).await?;
        ExportTraceServiceResponse::decode(answer.into_inner()).map_err(|error| Status::internal(error.to_string()))
    }

    /// Sends one request's bytes and waits for the answer.
    ///
    /// # Errors
    /// As [`Grpc::export`].
    pub fn send(&self, wire: &Bytes) -> Result<ExportTraceServiceResponse, Status> {
        wait::runtime().block_on(self.export(wire.clone()))
    }

    /// The same, telling the server a deadline in gRPC's words (`2S`) that this client does not keep.
    ///
    /// # Errors
    /// As [`Grpc::export`].
    pub fn send_within(&self, deadline: &'static str, wire: &Bytes) -> Result<ExportTraceServiceResponse, Status> {
        let mut request = tonic::Request::new(wire.clone());
        request.metadata_mut().insert("grpc-timeout", MetadataValue::from_static(deadline));
        wait::runtime().block_on(self.call(request))
    }
}

/// Sends all requests over gRPC, eight at a time, each again until it is accepted as an OTLP client
/// would: only what the protocol calls retryable, after the delay that the server asked for.
///
/// # Errors
/// With the first answer that forbids another try.
pub fn all(address: SocketAddr, requests: &[Bytes]) -> Result<()> {
    wait::runtime().block_on(all_async(Grpc::new(address)?, requests.to_vec()))
}

async fn all_async(client: Grpc, requests: Vec<Bytes>) -> Result<()> {
    let room = Arc::new(Semaphore::new(8));
    let mut tasks = JoinSet::new();
    for request in requests {
        let permit = Arc::clone(&room).acquire_owned().await?;
        let client = client.clone();
        tasks.spawn(async move {
            let outcome = patiently(&client, request).await;
            drop(permit);
            outcome
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn patiently(client: &Grpc, request: Bytes) -> Result<(), Status> {
    loop {
        match client.export(request.clone()).await {
            Ok(_) => return Ok(()),
            Err(status) if status.code() == Code::Unavailable => {
                // The tests' servers ask for up to seconds; nobody has so much time here.
                let delay = rpc::retry_delay(&status).unwrap_or(Duration::from_millis(50));
                tokio::time::sleep(delay.min(Duration::from_millis(100))).await;
            }
            Err(status) => return Err(status),
        }
    }
}

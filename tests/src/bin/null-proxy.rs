//! The null proxy: takes gRPC frames and sends them on as bytes, and does nothing else. What a
//! collector costs is told as a ratio to it.
//!
//! Two shapes: tonic on one multi-thread runtime, and with `--per-core` one single-thread runtime
//! a core, each with a listener on the same port and a connection upstream of its own.

#![expect(clippy::print_stdout, reason = "stdout is this program's interface")]

use std::convert::Infallible;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use anyhow::Result;
use bytes::Bytes;
use clap::Parser;
use serde_json::json;
use sluice_tests::codec::{EXPORT, Raw};
use socket2::{Domain, Socket, Type};
use tokio::runtime::{Builder, Runtime};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{Request, Response};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};

/// Forwards OTLP/gRPC frames as bytes.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where to send on.
    #[arg(long)]
    upstream: SocketAddr,
    /// One single-thread runtime a core instead of one multi-thread runtime.
    #[arg(long)]
    per_core: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let cores = if args.per_core { thread::available_parallelism()?.get() } else { 1 };
    let mut address = args.listen;
    let mut listeners = Vec::with_capacity(cores);
    for _ in 0..cores {
        let listener = listen(address)?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    println!("{}", json!({"event": "listening", "address": address.to_string()}));
    let serving = listeners.into_iter().map(|listener| {
        let (upstream, per_core) = (args.upstream, args.per_core);
        thread::spawn(move || -> Result<()> { runtime(per_core)?.block_on(serve(listener, upstream)) })
    });
    for thread in serving.collect::<Vec<_>>() {
        thread.join().map_err(|_| anyhow::anyhow!("a serving thread died"))??;
    }
    Ok(())
}

fn runtime(single: bool) -> Result<Runtime> {
    let mut builder = if single { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    Ok(builder.enable_all().build()?)
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

async fn serve(listener: TcpListener, upstream: SocketAddr) -> Result<()> {
    let channel = Endpoint::from_shared(format!("http://{upstream}"))?.connect().await?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder().serve_with_incoming(Proxy { channel }, incoming).await?;
    Ok(())
}

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A gRPC server of one method.
#[derive(Clone)]
struct Proxy {
    channel: Channel,
}

impl Service<Request<Body>> for Proxy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Later<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let forward = Forward { channel: self.channel.clone() };
        Box::pin(async move { Ok(tonic::server::Grpc::new(Raw).unary(forward, request).await) })
    }
}

/// Sends one frame on and its answer back.
struct Forward {
    channel: Channel,
}

impl Service<tonic::Request<Bytes>> for Forward {
    type Response = tonic::Response<Bytes>;
    type Error = Status;
    type Future = Later<Result<tonic::Response<Bytes>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        Box::pin(async move {
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            client.unary(tonic::Request::new(request.into_inner()), PathAndQuery::from_static(EXPORT), Raw).await
        })
    }
}

//! OTLP over HTTP, one request a connection.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::net::TcpStream;

use crate::{rpc, wait};

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status line's code.
    pub status: StatusCode,
    /// The headers, names in lower case.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A header's text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as `google.rpc.Status`, which every error's body must be.
    ///
    /// # Errors
    /// When it is no such message.
    pub fn rpc_status(&self) -> Result<rpc::Status> {
        if self.header("content-type").starts_with("application/json") {
            let json: serde_json::Value = serde_json::from_slice(&self.body)?;
            let message = json["message"].as_str().unwrap_or_default();
            return Ok(rpc::Status::new(json["code"].as_i64().unwrap_or_default() as i32, message, None));
        }
        Ok(rpc::Status::decode(self.body.clone())?)
    }
}

/// A request that is not sent yet.
#[derive(Debug, Clone)]
pub struct Post {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Post {
    /// A POST of protobuf to `/v1/traces`.
    pub fn protobuf(body: impl Into<Bytes>) -> Self {
        Self {
            method: Method::POST,
            path: "/v1/traces".to_owned(),
            headers: vec![("content-type", "application/x-protobuf".to_owned())],
            body: body.into(),
        }
    }

    /// A POST of JSON to `/v1/traces`.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::protobuf(body).content_type("application/json")
    }

    /// With another content type.
    #[must_use]
    pub fn content_type(mut self, kind: &str) -> Self {
        self.headers.retain(|(name, _)| *name != "content-type");
        self.header("content-type", kind)
    }

    /// With another header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// With another method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// To another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// With the body packed by gzip.
    ///
    /// # Errors
    /// Never: it writes to memory.
    pub fn gzip(mut self) -> Result<Self> {
        self.body = gzip(&self.body)?;
        Ok(self.header("content-encoding", "gzip"))
    }

    /// With the body packed by zstd.
    ///
    /// # Errors
    /// When zstd fails.
    pub fn zstd(mut self) -> Result<Self> {
        self.body = zstd::encode_all(&self.body[..], 3)?.into();
        Ok(self.header("content-encoding", "zstd"))
    }

    /// Sends it and reads the answer.
    ///
    /// # Errors
    /// When the connection fails before the answer is complete.
    pub fn to(self, address: SocketAddr) -> Result<Reply> {
        wait::runtime().block_on(self.send(address))
    }

    async fn send(self, address: SocketAddr) -> Result<Reply> {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut builder = Request::builder().method(self.method).uri(self.path).header("host", address.to_string());
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        let (parts, body) = sender.send_request(builder.body(Full::new(self.body))?).await?.into_parts();
        Ok(Reply { status: parts.status, headers: parts.headers, body: body.collect().await?.to_bytes() })
    }
}

/// Packs bytes by gzip.
///
/// # Errors
/// Never: it writes to memory.
pub fn gzip(bytes: &[u8]) -> Result<Bytes> {
    use std::io::Write as _;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes)?;
    Ok(packer.finish()?.into())
}

/// Fetches a page.
///
/// # Errors
/// When the connection fails before the answer is complete.
pub fn get(address: SocketAddr, path: &str) -> Result<Reply> {
    let post = Post { method: Method::GET, path: path.to_owned(), headers: Vec::new(), body: Bytes::new() };
    post.to(address)
}

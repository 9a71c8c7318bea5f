//! A served port with a stub behind it, and a client in front.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prometheus::Registry;
use prost::Message;
use tokio::sync::watch;

use crate::config::section::Mark;
use crate::intake::{Accepted, Refused};
use crate::otlp::rpc::Status;
use crate::receiver::otlp::{Grpc, Http, Protocol, Server, connection};
use crate::receiver::{Admission, Endpoint, Metrics, Phase, Submit};

/// What the stub says to a request.
type Says = Rc<dyn Fn(&Bytes) -> Result<Accepted, Refused>>;

/// Stands in for the door of the chain: remembers what it was given.
#[derive(Clone)]
pub struct Stub {
    says: Says,
    pub seen: Rc<RefCell<Vec<Bytes>>>,
    /// Requests are answered while this is true.
    pub answers: watch::Sender<bool>,
}

impl Submit for Stub {
    async fn submit(&self, wire: Bytes, _: Option<Instant>) -> Result<Accepted, Refused> {
        self.seen.borrow_mut().push(wire.clone());
        let mut answers = self.answers.subscribe();
        answers.wait_for(|answers| *answers).await.unwrap();
        (self.says)(&wire)
    }

    fn index_bytes(&self, _: &[u8]) -> usize {
        0
    }
}

pub fn accepts() -> Stub {
    stub(|wire| Ok(Accepted::all(wire.len() as u32)))
}

pub fn stub(says: impl Fn(&Bytes) -> Result<Accepted, Refused> + 'static) -> Stub {
    Stub { says: Rc::new(says), seen: Rc::default(), answers: watch::Sender::new(true) }
}

pub fn refuses_for_now() -> Stub {
    stub(|_| {
        Err(Refused::Unavailable { reason: "the queue is full".to_owned(), retry_after: Duration::from_millis(1500) })
    })
}

pub fn finds_malformed() -> Stub {
    stub(|_| {
        let (path, what) = ("resource_spans[0]".to_owned(), "a length runs past the end".to_owned());
        Err(Refused::Malformed(sluice_spans::Malformed { offset: 1, path, what }))
    })
}

/// A port that is served.
pub struct Port {
    pub address: SocketAddr,
    pub phase: watch::Sender<Phase>,
    pub admission: Admission,
    pub server: Arc<Server>,
    pub current: watch::Sender<Arc<Server>>,
}

fn endpoint() -> Endpoint {
    Endpoint { text: String::new(), mark: Mark::default() }
}

pub fn http(max_request_bytes: usize) -> Protocol {
    Protocol::Http(Http {
        endpoint: endpoint(),
        traces_path: "/v1/traces".to_owned(),
        max_request_bytes,
        tls: None,
        auth: None,
    })
}

pub fn grpc(max_request_bytes: usize) -> Protocol {
    Protocol::Grpc(Grpc {
        endpoint: endpoint(),
        max_request_bytes,
        max_streams: 100,
        keepalive_time: Duration::from_hours(2),
        keepalive_timeout: Duration::from_secs(20),
        max_age: Duration::ZERO,
        tls: None,
        auth: None,
    })
}

/// Serves a port. Must run within [`local`].
pub async fn serve(protocol: Protocol, stub: &Stub, budget: usize) -> Port {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let admission = Admission::new(budget);
    let counters = Metrics::new(&Registry::new()).unwrap().counters("otlp", protocol.name());
    let server = Arc::new(Server::new(protocol, admission.clone(), counters));
    let (phase, changes) = watch::channel(Phase::Serve);
    let (current, settings) = watch::channel(Arc::clone(&server));
    let stub = stub.clone();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = socket.accept().await.unwrap();
            tokio::task::spawn_local(connection::serve(
                stream.into_std().unwrap(),
                stub.clone(),
                settings.clone(),
                changes.clone(),
            ));
        }
    });
    Port { address, phase, admission, server, current }
}

/// Runs a test on one thread, as a core does. One that hangs fails.
pub fn local(test: impl Future<Output = ()>) {
    const TOO_LONG: Duration = Duration::from_secs(30);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = async { tokio::time::timeout(TOO_LONG, test).await.expect("the test hangs") };
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Waits until `condition` holds.
pub async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

impl Port {
    /// Puts other settings in force.
    pub fn change(&self, protocol: Protocol) {
        let Server { admission, counters, .. } = &*self.server;
        self.current.send_replace(Arc::new(Server::new(protocol, admission.clone(), counters.clone())));
        self.phase.send_modify(|_| {});
    }
}

/// An answer that has been read whole.
pub struct Answer {
    pub status: u16,
    pub headers: ::http::HeaderMap,
    pub body: Bytes,
    pub trailers: ::http::HeaderMap,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).or_else(|| self.trailers.get(name));
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The `google.rpc.Status` in gRPC's header.
    pub fn details(&self) -> Status {
        Status::decode(BASE64_STANDARD_NO_PAD.decode(self.header("grpc-status-details-bin")).unwrap().as_slice())
            .unwrap()
    }
}

pub struct Ask {
    pub method: &'static str,
    pub path: &'static str,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Vec<u8>,
    pub http2: bool,
}

pub fn post(content_type: &'static str, body: &[u8]) -> Ask {
    Ask {
        method: "POST",
        path: "/v1/traces",
        headers: vec![("content-type", content_type)],
        body: body.to_vec(),
        http2: false,
    }
}

/// An `Export` call with one message, behind the prefix that gRPC prescribes.
pub fn export(compressed: u8, message: &[u8]) -> Ask {
    let mut body = vec![compressed];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    Ask {
        method: "POST",
        path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        headers: vec![("content-type", "application/grpc"), ("te", "trailers")],
        body,
        http2: true,
    }
}

impl Ask {
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub async fn of(self, port: &Port) -> Answer {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(self.http2).build_http();
        let mut request = ::http::Request::new(Full::new(Bytes::from(self.body)));
        *request.method_mut() = self.method.parse().unwrap();
        *request.uri_mut() = format!("http://{}{}", port.address, self.path).parse().unwrap();
        for (name, value) in self.headers {
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let (head, body) = client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes(), trailers }
    }
}

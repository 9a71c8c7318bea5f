//! An upstream that answers by script, and an exporter in front of it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use prometheus::Registry;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsAcceptor;

use crate::account::{Account, Entry};
use crate::config::section::read_text;
use crate::exporter::{self, Exporter, ExporterContext, Metrics};
use crate::queue::{Bound, Disks, Rooms};

/// A request as upstream has seen it.
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
}

pub type Answer = Response<BoxBody<Bytes, Infallible>>;

type Script = Arc<dyn Fn(usize, &Seen) -> Option<Answer> + Send + Sync>;

/// A server; dropping its runtime ends it.
pub struct Upstream {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
}

/// Starts a server. `script` answers by the number of the request, from 0; `None` never answers.
pub async fn upstream(script: impl Fn(usize, &Seen) -> Option<Answer> + Send + Sync + 'static) -> Upstream {
    upstream_at(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
}

/// The same, on a socket that is already bound.
pub fn upstream_at(
    socket: tokio::net::TcpListener,
    script: impl Fn(usize, &Seen) -> Option<Answer> + Send + Sync + 'static,
) -> Upstream {
    serve(socket, script, |stream| async { Some(TokioIo::new(stream)) })
}

/// A server that speaks TLS, as `localhost`, and its certificate, which signs itself.
pub async fn upstream_tls(
    script: impl Fn(usize, &Seen) -> Option<Answer> + Send + Sync + 'static,
) -> (Upstream, String) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = serve(socket, script, move |stream| {
        let accepting = acceptor.accept(stream);
        async move { accepting.await.ok().map(TokioIo::new) }
    });
    (upstream, certified.cert.pem())
}

/// Serves every connection that `accept` has something to say to.
fn serve<A: Future<Output = Option<S>> + Send, S: Read + Write + Unpin + Send + 'static>(
    socket: tokio::net::TcpListener,
    script: impl Fn(usize, &Seen) -> Option<Answer> + Send + Sync + 'static,
    accept: impl Fn(TcpStream) -> A + Send + Sync + 'static,
) -> Upstream {
    let address = socket.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let (log, script, accept) = (Arc::clone(&seen), Arc::new(script) as Script, Arc::new(accept));
    tokio::spawn(async move {
        loop {
            let (stream, _) = socket.accept().await.unwrap();
            let (log, script, accept) = (Arc::clone(&log), Arc::clone(&script), Arc::clone(&accept));
            let service = service_fn(move |request| answer(Arc::clone(&log), Arc::clone(&script), request));
            tokio::spawn(async move {
                let Some(stream) = accept(stream).await else { return };
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(stream, service).await;
            });
        }
    });
    Upstream { address, seen }
}

async fn answer(
    log: Arc<Mutex<Vec<Seen>>>,
    script: Script,
    request: Request<Incoming>,
) -> Result<Answer, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let seen = Seen { path: head.uri.path().to_owned(), headers: head.headers, body, at: Instant::now() };
    let answer = {
        let mut log = log.lock().unwrap();
        let answer = script(log.len(), &seen);
        log.push(seen);
        answer
    };
    match answer {
        Some(answer) => Ok(answer),
        None => std::future::pending().await,
    }
}

pub fn body(bytes: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(bytes.into()).boxed()
}

/// An exporter with its account.
pub struct Fixture {
    pub exporter: Arc<Exporter>,
    account: Account,
}

/// Starts an exporter of this type with this configuration.
pub fn start(kind: &str, yaml: &str) -> Fixture {
    let (settings, problems) = read_text("exporter.yaml", yaml, |section| exporter::read(kind, section).unwrap());
    assert!(problems.is_empty(), "{problems:?}");
    let registry = Registry::new();
    let account = Account::new(&registry).unwrap();
    let context = ExporterContext {
        runtime: Some(Handle::current()),
        metrics: Metrics::new(&registry).unwrap(),
        disks: Disks::default(),
        account: account.clone(),
    };
    Fixture { exporter: exporter::start(&kind, &settings, &context).unwrap(), account }
}

/// `resource_spans(1) { scope_spans(2) { spans(2) { trace_id(1), span_id(2), name(5) } } }`, by the
/// protobuf encoding.
pub fn request(name: &str) -> Bytes {
    let field = |tag: u8, content: Vec<u8>| [vec![tag, u8::try_from(content.len()).unwrap()], content].concat();
    let span = [field(0x0a, vec![1; 16]), field(0x12, vec![2; 8]), field(0x2a, name.as_bytes().to_vec())].concat();
    field(0x0a, field(0x12, field(0x12, span))).into()
}

impl Fixture {
    /// Puts a request with one span in.
    pub async fn put(&self, wire: Bytes) {
        let account = self.account.destination("traces", "otlp");
        let queue = self.exporter.queue();
        let mut bound = [Bound { queue, account: &account, pipeline: "traces", wire: &wire, spans: 1 }];
        let queued = Rooms::reserve(&mut bound).await.unwrap().commit();
        assert!(queued.landings.is_empty() && queued.results.is_empty());
    }

    pub async fn drain(&self) -> u64 {
        self.exporter.drain(Instant::now() + Duration::from_secs(20)).await.spans
    }

    /// delivered and held, and what failed for which reason. What does not add up fails the test.
    pub fn account(&self) -> (i64, i64, String) {
        let report = self.account.report();
        let [Entry::Destination { delivered, failed, held, missing, .. }] = &report[..] else { panic!("{report:?}") };
        assert_eq!(*missing, 0, "{report:?}");
        (
            *delivered,
            *held,
            failed.iter().map(|(reason, spans)| format!("{reason}={spans}")).collect::<Vec<_>>().join(" "),
        )
    }
}

/// Runs a test on one thread, as a core does. One that hangs fails.
pub fn run(test: impl Future<Output = ()>) {
    const TOO_LONG: Duration = Duration::from_secs(30);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(TOO_LONG, test).await.expect("the test hangs") });
}

/// Waits until `condition` holds.
pub async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

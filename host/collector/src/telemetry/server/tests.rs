#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;

use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Answer, Servers, Site, text};
use crate::config::Mark;
use crate::receiver::{BindError, Endpoint, Sockets};
use crate::telemetry::metrics::Metrics;

fn endpoint(text: &str) -> Endpoint {
    Endpoint { text: text.to_owned(), mark: Mark::default() }
}

/// What a test serves, and where.
struct Served {
    sockets: Sockets,
    servers: Servers,
}

impl Served {
    fn new() -> Self {
        Self { sockets: Sockets::default(), servers: Servers::default() }
    }

    /// Serves this and nothing else from now on; tells at which addresses.
    fn serve(
        &mut self,
        text: &str,
        respond: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static,
    ) -> Result<Vec<SocketAddr>, BindError> {
        let (component, endpoint) = ("telemetry".to_owned(), endpoint(text));
        let sites = vec![Site { component, endpoint, configured: true, respond: super::pages(respond) }];
        let listener = self.sockets.listen(&self.servers.wants(&sites)).remove(0)?;
        let addresses = listener.sockets.iter().map(|socket| socket.address).collect();
        self.servers.serve(sites, vec![Ok(listener)]);
        Ok(addresses)
    }
}

/// Sends a request and reads until the server closes.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn figures_are_served_at_every_address_of_the_host() {
    let metrics = Metrics::default();
    let respond = move |path: &str| {
        (path == "/metrics").then(|| text(StatusCode::OK, "text/plain; version=0.0.4", metrics.encode().unwrap()))
    };
    let mut served = Served::new();
    let addresses = served.serve("localhost:0", respond).unwrap();
    assert!(!addresses.is_empty());
    for address in addresses {
        let answer = ask(address, "GET /metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\r\ncontent-type: text/plain; version=0.0.4\r\n"), "{answer}");
        let value = |name: &str| {
            let line = answer.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.rsplit_once(' ')).and_then(|(_, value)| value.parse::<f64>().ok())
        };
        for name in [
            "otelcol_process_uptime ",
            "otelcol_process_cpu_seconds ",
            "otelcol_process_memory_rss ",
            "sluice_build_info{version=",
        ] {
            assert!(value(name).is_some_and(|value| value > 0.0), "{name} in {answer}");
        }
    }
}

#[tokio::test]
async fn only_get_is_answered_and_only_what_is_there() {
    let respond = |path: &str| (path == "/").then(|| text(StatusCode::OK, "text/plain", "here"));
    let mut served = Served::new();
    let address = served.serve("127.0.0.1:0", respond).unwrap()[0];
    assert!(ask(address, "GET /").await.ends_with("\r\n\r\nhere"));
    assert!(ask(address, "GET /?a=b").await.starts_with("HTTP/1.1 200 "));
    assert!(ask(address, "GET /nope").await.starts_with("HTTP/1.1 404 "));
    let refused = ask(address, "POST /").await;
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET, HEAD"), "{refused}");
    assert!(ask(address, "nonsense").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_taken_port_is_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = taken.local_addr().unwrap().to_string();
    let error = Served::new().serve(&endpoint, |_| None).unwrap_err().to_string();
    assert!(error.contains(&format!("error: telemetry: cannot listen on http endpoint `{endpoint}`: ")), "{error}");
}

#[tokio::test]
async fn another_answer_is_given_on_the_same_connection() {
    let mut served = Served::new();
    let says = |word: &'static str| move |_: &str| Some(text(StatusCode::OK, "text/plain", word));
    let address = served.serve("127.0.0.1:0", says("one")).unwrap()[0];
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut ask = async |word: &str| {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with(word) {
            let mut part = [0; 256];
            let read = stream.read(&mut part).await.unwrap();
            assert!(read > 0, "closed after {answer}");
            answer.push_str(std::str::from_utf8(&part[..read]).unwrap());
        }
    };
    ask("\r\n\r\none").await;
    assert_eq!(served.serve("127.0.0.1:0", says("two")).unwrap(), [address]);
    ask("\r\n\r\ntwo").await;
}

#[tokio::test]
async fn what_is_no_longer_served_closes_its_port_and_its_connections() {
    let mut served = Served::new();
    let address = served.serve("127.0.0.1:0", |_| None).unwrap()[0];
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 1]).await.unwrap() > 0);
    served.servers.serve(Vec::new(), Vec::new());
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Answer, Respond, text};
use crate::config::Mark;
use crate::receiver::Endpoint;
use crate::telemetry::metrics::Metrics;

fn endpoint(text: &str) -> Endpoint {
    Endpoint { text: text.to_owned(), mark: Mark::default() }
}

fn serve(
    component: &str,
    endpoint: &Endpoint,
    configured: bool,
    respond: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static,
) -> Result<Vec<SocketAddr>, super::BindError> {
    let respond: Arc<Respond> = Arc::new(respond);
    super::serve(component, endpoint, configured, &respond)
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
    let addresses = serve("telemetry", &endpoint("localhost:0"), true, respond).unwrap();
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
    let address = serve("x", &endpoint("127.0.0.1:0"), true, respond).unwrap()[0];
    assert!(ask(address, "GET /").await.ends_with("\r\n\r\nhere"));
    assert!(ask(address, "GET /?a=b").await.starts_with("HTTP/1.1 200 "));
    assert!(ask(address, "GET /nope").await.starts_with("HTTP/1.1 404 "));
    let refused = ask(address, "POST /").await;
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET, HEAD"), "{refused}");
    assert!(ask(address, "nonsense").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_taken_port_is_an_error_if_configured_and_else_left_alone() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = endpoint(&taken.local_addr().unwrap().to_string());
    let nothing = |_: &str| None;
    let error = serve("telemetry", &endpoint, true, nothing).unwrap_err().to_string();
    assert!(error.contains(&format!("error: telemetry: cannot listen on `{}`: ", endpoint.text)), "{error}");
    assert_eq!(serve("telemetry", &endpoint, false, nothing).unwrap(), []);
}

//! A small HTTP server for what is asked seldom: figures and health.
//!
//! What enters is GET requests, what leaves is one short answer to each. It runs on the runtime it
//! is started in, apart from the data's way; connections beyond a few dozen wait.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::config::Mark;
use crate::receiver::Endpoint;
use crate::receiver::listener::{Listener, accept};

/// Connections at a time. A scraper and some probes need a handful.
const MAX_CONNECTIONS: usize = 64;

/// How long a request may take to arrive; also how long an idle connection stays.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// Answers a GET of a path; `None` if there is nothing.
pub type Respond = dyn Fn(&str) -> Option<Answer> + Send + Sync;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{mark}: error: {component}: cannot listen on `{endpoint}`: {reason}")]
pub struct BindError {
    /// Who wants to listen.
    pub component: String,
    /// `host:port`.
    pub endpoint: String,
    /// Where the configuration says so.
    pub mark: Mark,
    /// What is wrong.
    pub reason: String,
}

/// Serves an endpoint from now on, until the runtime ends; tells and logs at which addresses. An endpoint that is a
/// default and taken is left to whoever has it, with a warning.
///
/// # Errors
/// When an endpoint that the configuration names cannot be listened on.
pub fn serve(
    component: &str,
    endpoint: &Endpoint,
    configured: bool,
    respond: &Arc<Respond>,
) -> Result<Vec<SocketAddr>, BindError> {
    let bound = Listener::bind(component, "http", endpoint).map_err(|error| error.reason);
    let listener = match bound {
        Ok(listener) => listener,
        Err(reason) if !configured => {
            tracing::warn!(
                event = "not_listening",
                component,
                protocol = "http",
                endpoint = endpoint.text,
                reason,
                "the default address cannot be listened on; serving without it"
            );
            return Ok(Vec::new());
        }
        Err(reason) => {
            return Err(BindError {
                component: component.to_owned(),
                endpoint: endpoint.text.clone(),
                mark: endpoint.mark.clone(),
                reason,
            });
        }
    };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut addresses = Vec::new();
    for (address, socket) in listener.sockets {
        tracing::info!(event = "listening", component, protocol = "http", address = %address);
        tokio::spawn(accept_all(socket, Arc::clone(&slots), Arc::clone(respond)));
        addresses.push(address);
    }
    Ok(addresses)
}

async fn accept_all(socket: TcpListener, slots: Arc<Semaphore>, respond: Arc<Respond>) {
    loop {
        // It is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = accept(&socket).await;
        let respond = Arc::clone(&respond);
        tokio::spawn(async move {
            connection(stream, &*respond).await;
            drop(slot);
        });
    }
}

async fn connection(stream: TcpStream, respond: &Respond) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), respond);
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT);
    // What goes wrong with a connection concerns its peer, who knows.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

fn answer(method: &Method, path: &str, respond: &Respond) -> Answer {
    if *method != Method::GET && *method != Method::HEAD {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n");
        answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    respond(path).unwrap_or_else(|| text(StatusCode::NOT_FOUND, "text/plain", "there is nothing here\n"))
}

/// An answer of text.
pub fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer
}

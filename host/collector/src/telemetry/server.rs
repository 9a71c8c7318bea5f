//! A small HTTP server for what is asked seldom: figures, health, and the admin API.
//!
//! What enters is requests without a body, what leaves is one short answer to each. It runs on the runtime it
//! is started in, apart from the data's way; connections beyond a few dozen wait. One that is no
//! longer wanted accepts nothing more and finishes what it has begun.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

use crate::receiver::listener::accept;
use crate::receiver::sockets::Socket;
use crate::receiver::{BindError, Endpoint, Listener, Want};

/// Connections at a time. A scraper and some probes need a handful.
const MAX_CONNECTIONS: usize = 64;

/// How long a request may take to arrive; also how long an idle connection stays.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);

/// How long a connection that has asked nothing yet may still do so when its site closes.
const LINGER: Duration = Duration::from_millis(500);

/// Keys of the Collector's HTTP servers that are not there yet.
pub const LATER: [&str; 14] = [
    "tls",
    "auth",
    "cors",
    "transport",
    "middlewares",
    "response_headers",
    "compression_algorithms",
    "max_request_body_size",
    "include_metadata",
    "read_timeout",
    "read_header_timeout",
    "write_timeout",
    "idle_timeout",
    "keep_alives_enabled",
];

/// The word in events.
const PROTOCOL: &str = "http";

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// An answer that may take a while.
pub type Reply = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Answers a request, whose body says nothing.
pub type Respond = dyn Fn(&Parts) -> Reply + Send + Sync;

/// Something to serve.
pub struct Site {
    /// Who wants it.
    pub component: String,
    /// Where.
    pub endpoint: Endpoint,
    /// Whether the configuration says so: a default address that is taken is left to whoever has
    /// it, with a warning.
    pub configured: bool,
    /// What is answered.
    pub respond: Arc<Respond>,
}

/// A site that is served until this is dropped.
struct Serving {
    component: String,
    endpoint: Endpoint,
    listener: Listener,
    respond: watch::Sender<Arc<Respond>>,
    slots: Arc<Semaphore>,
}

/// All sites that are served.
#[derive(Default)]
pub struct Servers {
    serving: Vec<Serving>,
}

impl Servers {
    /// What these sites want to listen on.
    pub fn wants<'s>(&self, sites: &'s [Site]) -> Vec<Want<'s>> {
        let want = |site: &'s Site| {
            let is = |serving: &&Serving| (&serving.component, &serving.endpoint) == (&site.component, &site.endpoint);
            Want {
                who: site.component.clone(),
                protocol: PROTOCOL,
                endpoint: &site.endpoint,
                present: self.serving.iter().find(is).map(|serving| serving.listener.clone()),
            }
        };
        sites.iter().map(want).collect()
    }

    /// Accepts nothing more, and waits a moment for what has begun.
    pub async fn end(self) {
        let mut all_slots = Vec::new();
        for Serving { slots, .. } in self.serving {
            all_slots.push(slots);
        }
        let ended = async {
            for slots in all_slots {
                // All of them are free when the last connection has ended. It is never closed.
                let _ = slots.acquire_many(MAX_CONNECTIONS as u32).await;
            }
        };
        // What takes longer is cut.
        let _ = tokio::time::timeout(2 * LINGER, ended).await;
    }

    /// Serves these sites, on the listeners that they got, and no others from now on. Must be
    /// called in the runtime that accepts.
    pub fn serve(&mut self, sites: Vec<Site>, listeners: Vec<Result<Listener, BindError>>) {
        let mut present = std::mem::take(&mut self.serving);
        for (site, listener) in sites.into_iter().zip(listeners) {
            match listener {
                Ok(listener) => self.serving.push(serve(site, listener, &mut present)),
                Err(BindError { who: component, protocol, endpoint, reason, .. }) => tracing::warn!(
                    event = "not_listening",
                    component,
                    protocol,
                    endpoint,
                    reason,
                    "the default address cannot be listened on; serving without it"
                ),
            }
        }
    }
}

fn serve(site: Site, listener: Listener, present: &mut Vec<Serving>) -> Serving {
    let Site { component, endpoint, respond, .. } = site;
    if let Some(stays) = present.iter().position(|one| one.listener == listener && one.component == component) {
        let serving = present.swap_remove(stays);
        serving.respond.send_replace(respond);
        return Serving { endpoint, ..serving };
    }
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (respond, current) = watch::channel(respond);
    for socket in &listener.sockets {
        tracing::info!(event = "listening", component, protocol = PROTOCOL, address = %socket.address);
        tokio::spawn(accept_all(Arc::clone(socket), Arc::clone(&slots), current.clone()));
    }
    Serving { component, endpoint, listener, respond, slots }
}

async fn accept_all(socket: Arc<Socket>, slots: Arc<Semaphore>, respond: watch::Receiver<Arc<Respond>>) {
    let mut closing = respond.clone();
    loop {
        let next = async {
            // It is never closed.
            let slot = Arc::clone(&slots).acquire_owned().await.ok()?;
            Some((slot, accept(&socket.listener).await))
        };
        let (slot, stream) = tokio::select! {
            biased;
            () = closed(&mut closing) => return,
            next = next => match next {
                Some(next) => next,
                None => return,
            }
        };
        let respond = respond.clone();
        tokio::spawn(async move {
            connection(stream, respond).await;
            drop(slot);
        });
    }
}

/// Waits until nobody serves any more.
async fn closed(respond: &mut watch::Receiver<Arc<Respond>>) {
    while respond.changed().await.is_ok() {}
}

async fn connection(stream: TcpStream, mut respond: watch::Receiver<Arc<Respond>>) {
    let current = respond.clone();
    let asked = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let respond = Arc::clone(&current.borrow());
        let reply = respond(&request.into_parts().0);
        async move { Ok::<_, Infallible>(reply.await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    // What goes wrong with a connection concerns its peer, who knows.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = closed(&mut respond) => {}
    }
    if !asked.load(Ordering::Relaxed) {
        // It has just come, and its request is on its way.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = tokio::time::sleep(LINGER) => {}
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Pages: answers a GET of a path; `None` if there is nothing.
pub fn pages(page: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static) -> Arc<Respond> {
    Arc::new(move |request: &Parts| {
        if request.method != Method::GET && request.method != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n");
            answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return now(answer);
        }
        let nothing = || text(StatusCode::NOT_FOUND, "text/plain", "there is nothing here\n");
        now(page(request.uri.path()).unwrap_or_else(nothing))
    })
}

/// An answer that is there.
pub fn now(answer: Answer) -> Reply {
    Box::pin(std::future::ready(answer))
}

/// An answer of text.
pub fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer
}

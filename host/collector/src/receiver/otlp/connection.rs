//! The life of one connection, on the core that it was dealt to.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::net::TcpStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::answer::Body;
use super::heard::Heard;
use super::{MAX_STREAMS, Protocol, Server, grpc, http as otlp_http};
use crate::receiver::admission::Share;
use crate::receiver::{Phase, Submit};

/// A connection has to say something within this time, and then a header has to be whole: the
/// Collector's `read_header_timeout`.
const FIRST_BYTES: Duration = Duration::from_mins(1);

/// What a connection of HTTP/2 begins with has so many bytes. One that has not said so much in that time never
/// became one.
const PREFACE: usize = 24;

/// A connection that is asked to go while nothing is in flight on it stays for this long: what its
/// sender has sent before it could know is still answered. Longer than most answers travel. So long a sender is heard
/// out whose connection is closed, too.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// What a sender may have in flight of one request before we have read it. Large enough that
/// window updates are rare.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Whoever comes when there are many connections gets what HTTP/2 begins with, and fewer streams: what one of
/// very many can hold, unread and uncharged, stays small.
const CROWDED_WINDOW: u32 = 65_535;
const CROWDED_STREAMS: u32 = 16;

/// What is read ahead of an HTTP/1 connection, its head included: one that is larger is a mistake or worse.
/// For heads of HTTP/2, hyper's own bound is 16 KiB, and among many connections it is so for these.
pub(super) const HTTP1_BUFFER: usize = 64 * 1024;
const CROWDED_HTTP1_BUFFER: usize = 16 * 1024;

/// A sender that makes use of it sends a usual request as one frame, which is then not copied.
const MAX_FRAME: u32 = 1024 * 1024;

/// Runs the tasks of a connection on the core that the connection lives on.
#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// Serves a connection until it ends, the port closes and what is in flight has finished, or it is
/// cut. Other settings hold from the next request on; when they are such that a connection agrees
/// on in its beginning, it is asked to come again.
pub(super) async fn serve<S: Submit>(
    stream: TcpStream,
    submit: S,
    current: watch::Receiver<Arc<Server>>,
    mut phase: watch::Receiver<Phase>,
) {
    // It can only fail when the runtime is ending.
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let speaks = tokio::select! {
        readable = tokio::time::timeout(FIRST_BYTES, stream.readable()) => matches!(readable, Ok(Ok(()))),
        () = lingered(&mut phase) => false,
    };
    if speaks {
        // Boxed: one that never says a word costs little.
        Box::pin(converse(stream, submit, current, phase)).await;
    }
}

/// [`serve`], from the first byte on.
async fn converse<S: Submit>(
    stream: tokio::net::TcpStream,
    submit: S,
    mut current: watch::Receiver<Arc<Server>>,
    mut phase: watch::Receiver<Phase>,
) {
    let server = Arc::clone(&current.borrow_and_update());
    let Some(stream) = secured(stream, &server, &mut phase).await else { return };
    let share = server.admission.connection();
    let (max_age, builder) = (max_age(&server), builder(&server, share.is_crowded()));
    let (requests, heard) = (Rc::new(Requests::default()), Rc::default());
    let service = RefCell::new(Rc::new((Arc::clone(&server), share.clone(), submit.clone())));
    let connection = builder.serve_connection(
        TokioIo::new(Heard::new(stream, &heard)),
        service_fn(|request| {
            let (service, requests) = (Rc::clone(&service.borrow()), Rc::clone(&requests));
            // Boxed: whoever it is handed to has a copy of its own of it otherwise, for as long as it lasts.
            let request = Box::new(request);
            async move { Ok::<_, Infallible>(requests.answer(&service.0, &service.1, &service.2, request).await) }
        }),
    );
    let (mut connection, mut age) = (pin!(connection), pin!(tokio::time::sleep(max_age)));
    let (mut preface, mut began) = (pin!(tokio::time::sleep(FIRST_BYTES)), false);
    loop {
        if *phase.borrow_and_update() > Phase::Serve {
            break;
        }
        if current.has_changed().unwrap_or(false) {
            let next = Arc::clone(&current.borrow_and_update());
            let stays = server.protocol.suits_connections(&next.protocol);
            service.replace(Rc::new((next, share.clone(), submit.clone())));
            if !stays {
                break;
            }
        }
        tokio::select! {
            // A request that comes after a change has come to know of it. Of other settings the
            // phase tells as well: on the data's way every watch costs.
            biased;
            told = phase.changed() => if told.is_err() { break },
            () = age.as_mut() => break,
            () = preface.as_mut(), if !began => {
                if heard.get() < PREFACE {
                    return;
                }
                began = true;
            }
            // How a connection ends is the sender's business: what it had not finished was never
            // taken.
            _ = connection.as_mut() => return,
        }
    }
    // HTTP/2 says that nothing new is taken, and takes what was sent before that is heard. HTTP/1 can
    // only say so in an answer, and a connection that it closes just so may have a request on it.
    if matches!(server.protocol, Protocol::Grpc(_)) || requests.http2.get() {
        connection.as_mut().graceful_shutdown();
    }
    requests.last.set(true);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = linger(&mut phase) => {}
    }
    connection.as_mut().graceful_shutdown();
    let forsaken = async {
        if requests.in_flight.get() > 0 {
            return std::future::pending().await;
        }
        // An answer may still be on its way out.
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        _ = connection => {}
        () = forsaken => {}
        _ = phase.wait_for(|phase| *phase == Phase::Cut) => {}
    }
}

/// Waits until the port closes and the time is over in which its connections may still begin something.
async fn lingered(phase: &mut watch::Receiver<Phase>) {
    // That the port itself is gone is as good as told.
    let _ = phase.wait_for(|phase| *phase > Phase::Serve).await;
    linger(phase).await;
}

/// The time in which a connection that is to go may still begin something.
async fn linger(phase: &mut watch::Receiver<Phase>) {
    tokio::select! {
        () = tokio::time::sleep(LINGER) => {}
        _ = phase.wait_for(|phase| *phase == Phase::Cut) => {}
    }
}

/// What a connection knows of its requests.
#[derive(Default)]
struct Requests {
    /// How many have begun and are not answered.
    in_flight: Cell<usize>,
    /// Whether they come by HTTP/2.
    http2: Cell<bool>,
    /// Whether those that begin or are answered now are the last.
    last: Cell<bool>,
}

impl Requests {
    async fn answer<S: Submit>(
        &self,
        server: &Server,
        share: &Share,
        submit: &S,
        request: Box<Request<Incoming>>,
    ) -> Response<Body> {
        let http2 = request.version() == Version::HTTP_2;
        self.http2.set(http2);
        self.in_flight.set(self.in_flight.get() + 1);
        let _answered = Answered(self);
        let mut response = match &server.protocol {
            Protocol::Grpc(settings) => grpc::answer(settings, server, share, submit, request).await,
            Protocol::Http(settings) => otlp_http::answer(settings, server, share, submit, request).await,
        };
        if self.last.get() && !http2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Counts a request off, however it ends.
struct Answered<'r>(&'r Requests);

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

/// A connection over TLS if the port speaks it; `None` if its handshake came to nothing.
async fn secured(
    stream: tokio::net::TcpStream,
    server: &Server,
    phase: &mut watch::Receiver<Phase>,
) -> Option<Either<tokio::net::TcpStream, TlsStream<tokio::net::TcpStream>>> {
    let Some(tls) = server.protocol.tls() else { return Some(Either::Left(stream)) };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(FIRST_BYTES, tls.accept(stream)) => shaken,
        () = lingered(phase) => return None,
    };
    match shaken.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(stream) => Some(Either::Right(stream)),
        Err(error) => {
            server.turned_away(format_args!("TLS: {error}"));
            None
        }
    }
}

/// A tenth more or less, so that connections that came together do not leave together.
fn max_age(server: &Server) -> Duration {
    /// Longer than any process lives.
    const NEVER: Duration = Duration::from_hours(30 * 365 * 24);
    match &server.protocol {
        Protocol::Grpc(grpc) if !grpc.max_age.is_zero() => grpc.max_age.mul_f64(rand::random_range(0.9..1.1)),
        _ => NEVER,
    }
}

fn builder(server: &Server, is_crowded: bool) -> auto::Builder<Local> {
    let mut builder = auto::Builder::new(Local);
    let (http1_buffer, stream_window, connection_window, most_streams) = if is_crowded {
        (CROWDED_HTTP1_BUFFER, CROWDED_WINDOW, CROWDED_WINDOW, CROWDED_STREAMS)
    } else {
        (HTTP1_BUFFER, STREAM_WINDOW, CONNECTION_WINDOW, u32::MAX)
    };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(FIRST_BYTES).max_buf_size(http1_buffer);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .max_concurrent_streams(MAX_STREAMS.min(most_streams))
        .max_frame_size(MAX_FRAME);
    match &server.protocol {
        Protocol::Grpc(grpc) => {
            builder
                .http2()
                // Nobody reads it, and gRPC's own servers send none.
                .auto_date_header(false)
                .max_concurrent_streams(grpc.max_streams.min(most_streams))
                .keep_alive_interval(grpc.keepalive_time)
                .keep_alive_timeout(grpc.keepalive_timeout);
            builder.http2_only()
        }
        Protocol::Http(_) => builder,
    }
}

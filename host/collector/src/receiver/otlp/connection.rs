//! The life of one connection, on the core that it was dealt to.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::net::TcpStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::answer::Body;
use super::{Protocol, Server, grpc, http};
use crate::receiver::admission::Share;
use crate::receiver::{Phase, Submit};

/// A connection has to say something within this time, and then a header has to be whole: the
/// Collector's `read_header_timeout`.
const FIRST_BYTES: Duration = Duration::from_mins(1);

/// What a sender may have in flight of one request before we have read it. Large enough that
/// window updates are rare.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

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
    mut current: watch::Receiver<Arc<Server>>,
    mut phase: watch::Receiver<Phase>,
) {
    // It can only fail when the runtime is ending.
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let speaks = tokio::select! {
        readable = tokio::time::timeout(FIRST_BYTES, stream.readable()) => matches!(readable, Ok(Ok(()))),
        _ = phase.wait_for(|phase| *phase > Phase::Serve) => false,
    };
    if !speaks {
        return;
    }
    let server = Arc::clone(&current.borrow_and_update());
    let Some(stream) = secured(stream, &server, &mut phase).await else { return };
    let (max_age, builder) = (max_age(&server), builder(&server));
    let share = server.admission.connection();
    let service = RefCell::new(Rc::new((Arc::clone(&server), share.clone(), submit.clone())));
    let connection = builder.serve_connection(
        TokioIo::new(stream),
        service_fn(|request| {
            let service = Rc::clone(&service.borrow());
            async move { Ok::<_, Infallible>(answer(&service.0, &service.1, &service.2, request).await) }
        }),
    );
    let (mut connection, mut age) = (pin!(connection), pin!(tokio::time::sleep(max_age)));
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
            // How a connection ends is the sender's business: what it had not finished was never
            // taken.
            _ = connection.as_mut() => return,
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        _ = phase.wait_for(|phase| *phase == Phase::Cut) => {}
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
        _ = phase.wait_for(|phase| *phase > Phase::Serve) => return None,
    };
    match shaken.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(stream) => Some(Either::Right(stream)),
        Err(error) => {
            server.turned_away(format_args!("TLS: {error}"));
            None
        }
    }
}

async fn answer<S: Submit>(server: &Server, share: &Share, submit: &S, request: Request<Incoming>) -> Response<Body> {
    match &server.protocol {
        Protocol::Grpc(settings) => grpc::answer(settings, server, share, submit, request).await,
        Protocol::Http(settings) => http::answer(settings, server, share, submit, request).await,
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

fn builder(server: &Server) -> auto::Builder<Local> {
    let mut builder = auto::Builder::new(Local);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(FIRST_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME);
    match &server.protocol {
        Protocol::Grpc(grpc) => {
            builder
                .http2()
                // Nobody reads it, and gRPC's own servers send none.
                .auto_date_header(false)
                .max_concurrent_streams(grpc.max_streams)
                .keep_alive_interval(grpc.keepalive_time)
                .keep_alive_timeout(grpc.keepalive_timeout);
            builder.http2_only()
        }
        Protocol::Http(_) => builder,
    }
}

//! A port that is served: its sockets, its present settings, and the connections that came through.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Protocol, Server, connection};
use crate::cores::Dealer;
use crate::receiver::listener::accept;
use crate::receiver::sockets::Socket;
use crate::receiver::{Closing, Endpoint, Life, Listener, Phase};

/// A served port.
pub(super) struct Port {
    pub(super) listener: Listener,
    server: watch::Sender<Arc<Server>>,
    life: Life,
}

impl Port {
    /// Starts to accept connections and tells where.
    pub(super) fn open(id: &str, listener: Listener, server: Server, dealer: &Dealer) -> Self {
        let (life, phase) = Life::new();
        let protocol = server.protocol.name();
        let (server, current) = watch::channel(Arc::new(server));
        for socket in &listener.sockets {
            tracing::info!(event = "listening", component = id, protocol, address = %socket.address);
            tokio::spawn(deal(Arc::clone(socket), current.clone(), dealer.clone(), phase.clone()));
        }
        Self { listener, server, life }
    }

    pub(super) fn speaks(&self, protocol: &str) -> bool {
        self.server.borrow().protocol.name() == protocol
    }

    pub(super) fn is_at(&self, endpoint: &Endpoint) -> bool {
        self.server.borrow().protocol.endpoint() == endpoint
    }

    /// Puts other settings in force: for every request whose head comes from now on.
    pub(super) fn change(&self, protocol: Protocol) {
        let changed = self.server.send_if_modified(|server| {
            let changes = server.protocol != protocol;
            if changes {
                let Server { admission, counters, .. } = &**server;
                *server = Arc::new(Server::new(protocol, admission.clone(), counters.clone()));
            }
            changes
        });
        if changed {
            self.life.tell();
        }
    }

    /// Accepts no more connections and lets those that are open finish what they have begun.
    pub(super) fn close(self, id: &str) -> Closing {
        let protocol = self.server.borrow().protocol.name();
        self.life.finish(id, protocol)
    }
}

/// Accepts connections and deals them to the cores until the port closes.
async fn deal(
    socket: Arc<Socket>,
    current: watch::Receiver<Arc<Server>>,
    dealer: Dealer,
    phase: watch::Receiver<Phase>,
) {
    let mut closing = phase.clone();
    loop {
        let stream = tokio::select! {
            // An error tells that the receiver itself is gone. First, because whoever has taken
            // the socket over is to have its connections.
            biased;
            _ = closing.wait_for(|phase| *phase > Phase::Serve) => return,
            stream = accept(&socket.listener) => stream,
        };
        // A socket that cannot be moved to another runtime has failed already.
        let Ok(stream) = stream.into_std() else { continue };
        let (current, phase) = (current.clone(), phase.clone());
        dealer.deal(move |intake| Box::pin(connection::serve(stream, intake, current, phase))).await;
    }
}

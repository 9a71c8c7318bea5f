//! What senders are told, over real sockets. The door behind is a stub.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod fixture;
mod grpc;
mod http;
mod life;
mod settings;

//! Exporters against servers that do what the test says, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(clippy::unnecessary_wraps, reason = "an upstream may also not answer")]

mod fixture;
mod grpc;
mod http;
mod settings;
mod tls;

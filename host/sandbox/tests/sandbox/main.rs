//! What the sandbox promises, each kept against a guest that tries to break it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout
)]

mod access;
mod ambient;
mod arbitrary;
mod compat;
mod compiling;
mod guest;
mod hostile;
mod loading;
mod serving;
mod setup;
mod stage;
mod store;
mod tables;
mod trust;
mod wasi;

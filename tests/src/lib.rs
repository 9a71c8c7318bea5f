//! What the end-to-end tests, the demonstration and the benchmarks are written with: an upstream
//! that records and fails on demand ([`sink`]), senders ([`send`], [`load`]), traffic ([`shop`],
//! [`traffic`], [`corpus`]) and the collector as a child process ([`collector`]).
//!
//! Nothing here uses Sluice's own crates: what is expected comes from `prost`, from
//! `opentelemetry-proto` and from the small reader in [`wire`].

#![allow(
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::manual_assert,
    clippy::duration_suboptimal_units,
    reason = "what fails here fails a test; a JSON value gives null for what it has not"
)]

pub mod codec;
pub mod collector;
pub mod corpus;
pub mod http2;
pub mod load;
pub mod process;
pub mod rpc;
pub mod send;
pub mod shop;
pub mod sink;
pub mod soak;
pub mod talk;
pub mod traffic;
pub mod wait;
pub mod wire;

//! The Sluice collector: receivers, the chain of plugins, queues and exporters, and what is
//! around them: configuration, telemetry, swaps.
//!
//! A request travels `receiver → intake → chain → queue → exporter`; only the answer (accepted or
//! refused) travels back.

pub mod account;
pub mod config;
pub mod cores;
pub mod exporter;
pub mod extension;
pub mod intake;
pub mod queue;
pub mod receiver;
pub mod telemetry;

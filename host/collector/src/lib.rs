//! The Sluice collector: receivers, the chain of plugins, queues and exporters, and what is
//! around them: configuration, telemetry, swaps.
//!
//! A request travels `receiver → intake → chain → queue → exporter`; only the answer (accepted or
//! refused) travels back.

pub mod account;
pub mod auth;
pub mod chain;
pub mod cli;
pub mod collector;
pub mod config;
pub mod cores;
pub mod exporter;
pub mod extension;
pub mod generation;
pub mod handover;
pub mod intake;
pub mod memory;
pub mod otlp;
pub mod plugin;
mod private_folder;
pub mod quarantine;
pub mod queue;
pub mod receiver;
mod reread;
pub mod route;
pub mod series;
pub mod swap;
pub mod tables;
pub mod telemetry;
mod terminal;
pub mod tls;

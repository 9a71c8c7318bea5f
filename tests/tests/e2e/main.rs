//! End-to-end tests: the release binary, real sockets, one file a promise. One program, so that it
//! is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::float_cmp,
    clippy::unchecked_time_subtraction,
    clippy::duration_suboptimal_units,
    clippy::too_many_lines,
    reason = "tests"
)]

mod account;
mod account_lives;
mod admin;
mod attributes;
mod auth;
mod backpressure;
mod bad_input;
mod capabilities;
mod chain;
mod compat;
mod config_errors;
mod demo;
mod dependencies;
mod durable;
mod enrich;
mod examples;
mod exporters;
mod failover;
mod fan_out;
mod fidelity;
mod filter;
mod flush;
mod from_collector;
mod full_use;
#[path = "../../../host/sandbox/tests/sandbox/guest.rs"]
#[allow(dead_code, reason = "the sandbox's tests need more of it")]
mod guest;
mod guests;
mod handover;
mod hostile_plugins;
mod inspect;
mod last_good;
mod metrics;
mod native_histograms;
mod odd;
mod own_files;
mod pipes;
mod poison;
mod protocols;
mod readiness;
mod redaction;
mod reload;
mod rollback;
mod rollout;
mod sampling;
mod sdks;
mod secrets;
mod self_test;
mod set_up;
mod shutdown;
mod soak;
mod spanmetrics;
mod start;
mod state;
mod state_dir;
mod swap;
mod tls;
mod together;
mod transform;
mod trust;
mod upstream;
mod wait_for_result;
#[path = "../../../host/sandbox/tests/sandbox/wasi.rs"]
mod wasi;
mod watching;
mod while_compiling;

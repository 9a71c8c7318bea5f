//! `sluice plugin …`: what the operator asks about plugins.

pub mod client;
pub mod inspect;
pub mod inspection;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use crate::terminal::plain;

pub use inspection::Inspection;

/// Writes what was asked for to stdout.
fn print(shown: &(impl Display + Serialize), json: bool) -> ExitCode {
    if !json {
        return write(&shown.to_string());
    }
    match serde_json::to_string_pretty(shown) {
        Ok(text) => write(&format!("{text}\n")),
        Err(error) => complain(&error.into()),
    }
}

fn write(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Tells on stderr why there is nothing to print.
fn complain(error: &anyhow::Error) -> ExitCode {
    // Who closed stderr does not want to know.
    let _ = writeln!(std::io::stderr(), "sluice: {}", plain(&format!("{error:#}")));
    ExitCode::FAILURE
}

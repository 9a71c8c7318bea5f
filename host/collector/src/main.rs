//! `sluice`: arguments → configuration → runtime → run → exit code.

mod bundle;

use std::collections::HashMap;
use std::process::ExitCode;

use clap::Parser;
use sluice::cli::{Cli, Command, QueueCommand};
use sluice::generation::Bundle;
use sluice_sandbox::Source;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => sluice::collector::run(&args, bundle()),
        Command::Validate(args) => sluice::collector::validate(&args, bundle()),
        Command::Queue(QueueCommand::Inspect { dir, json }) => sluice::queue::inspect::run(&dir, json),
        Command::Components => sluice::cli::components(),
        Command::Quarantine(command) => sluice::quarantine::command::run(&command),
        Command::Compile { args } => sluice_sandbox::compile_child_main(args.into_iter()),
    }
}

/// The plugins in this binary, by config type.
fn bundle() -> Bundle {
    let embedded = bundle::BUNDLE.iter().map(|plugin| {
        let source =
            Source::Embedded { name: plugin.name, component: plugin.component, precompiled: plugin.precompiled };
        (plugin.name, source)
    });
    embedded.collect::<HashMap<_, _>>()
}

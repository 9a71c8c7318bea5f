//! `sluice`: arguments → configuration → runtime → run → exit code.

mod bundle;

use std::collections::HashMap;
use std::process::ExitCode;

use clap::Parser;
use sluice::cli::{Cli, Command, PluginCommand, QueueCommand};
use sluice::generation::Bundle;
use sluice_sandbox::Source;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => sluice::collector::run(&args, bundle()),
        Command::Validate(args) => sluice::collector::validate(&args, bundle()),
        Command::PrintConfig(args) => sluice::config::show::run(&args.sources()),
        Command::Queue(QueueCommand::Inspect { dir, json }) => sluice::queue::inspect::run(&dir, json),
        Command::Plugin(PluginCommand::Inspect(args)) => sluice::plugin::inspect::run(&args, bundle()),
        Command::Plugin(PluginCommand::List(client)) => sluice::plugin::client::list(&client),
        Command::Plugin(PluginCommand::Show { name, client }) => sluice::plugin::client::show(&name, &client),
        Command::Plugin(PluginCommand::Swap { name, force, change }) => {
            sluice::plugin::client::swap(&name, force, &change)
        }
        Command::Plugin(PluginCommand::Rollback(named)) => sluice::plugin::client::order("rollback", &named),
        Command::Plugin(PluginCommand::Promote(named)) => sluice::plugin::client::order("promote", &named),
        Command::Plugin(PluginCommand::Abort(named)) => sluice::plugin::client::order("abort", &named),
        Command::Components => sluice::cli::components(),
        Command::Quarantine(command) => sluice::quarantine::command::run(&command),
        Command::Compile { args } => sluice_sandbox::compile_child_main(args.into_iter()).into(),
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

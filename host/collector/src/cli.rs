//! The command line. What each command does is elsewhere.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{CONNECTOR_TYPES, Source, processor};
use crate::extension::admin::DEFAULT_ENDPOINT;
use crate::{exporter, extension, receiver};

/// The program's version and the one of what runs its plugins.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (wasmtime 48)");

/// An edge collector for spans, extended by WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(name = "sluice", version = VERSION, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the collector until SIGTERM or SIGINT; without --config, take OTLP on localhost and show it
    Run(RunArgs),
    /// Check a configuration and its plugins without binding any port
    Validate(ConfigArgs),
    /// Print what the sources of a configuration come to, without its secrets
    PrintConfig(ConfigArgs),
    /// Look at plugins and change them
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// List the types of components
    Components,
    /// Look at spans that plugins failed on and pass them through once more
    #[command(subcommand)]
    Quarantine(crate::quarantine::command::Command),
    /// Look at queues that are kept on disk
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Compile a plugin; the program runs itself with this
    #[command(name = "__compile", hide = true)]
    Compile {
        /// What the parent says.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

/// What to do with queues on disk.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Tell how many records and spans are in a queue and what of it is damaged; exit code 1 if anything is
    Inspect {
        /// The `directory` of a `file_storage` extension, or the folder of one queue in it
        dir: PathBuf,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// What can be done with plugins.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Show what a plugin is, what it asks for and what it gets, without running it on spans
    Inspect(InspectArgs),
    /// List the plugins of a running Sluice
    List(ClientArgs),
    /// Show a plugin of a running Sluice
    Show {
        /// Its component id, like `wasm/waybill`
        name: String,
        /// Where to ask.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a running Sluice look at a plugin's module again
    Swap {
        /// Its component id, like `wasm/waybill`
        name: String,
        /// Try a version again that was rolled back
        #[arg(long)]
        force: bool,
        /// Whom to ask.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Make a running Sluice go back to the version of a plugin's module that served before
    Rollback(NamedArgs),
    /// Have the version of a plugin serve that a running Sluice tries as a shadow or a canary
    Promote(NamedArgs),
    /// Let go of the version of a plugin that a running Sluice tries as a shadow or a canary
    Abort(NamedArgs),
}

/// The plugin of a running Sluice to change.
#[derive(Debug, Clone, Args)]
pub struct NamedArgs {
    /// Its component id, like `wasm/waybill`
    pub name: String,
    /// Whom to ask.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// What to run.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Take over from the Sluice that runs with the same `state_dir`, if there is one: its sockets, and
    /// what it has on disk; nobody who connects meanwhile is refused
    #[arg(long)]
    pub take_over: bool,
    /// Keep the configuration and the modules that serve in this folder, and start with them if those
    /// that are named cannot be used
    #[arg(long, value_name = "DIR")]
    pub last_good: Option<PathBuf>,
}

/// The running Sluice to change.
#[derive(Debug, Clone, Args)]
pub struct ChangeArgs {
    /// The file with the token of its admin API
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// Whom to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// What to inspect.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A processor of the configuration, a bundled plugin, or the file of a module
    pub target: String,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The running Sluice to ask, and how to print what it says.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// Where its admin API is
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_ENDPOINT)]
    pub endpoint: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// A YAML file; may be repeated, a later file overrides an earlier one
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// A value over those of the files, such as `exporters.otlp_grpc.endpoint=localhost:4317`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ConfigArgs {
    /// Whether any configuration is named.
    pub fn is_given(&self) -> bool {
        !self.config.is_empty() || !self.set.is_empty()
    }

    /// The sources in their order.
    pub fn sources(&self) -> Vec<Source> {
        let mut sources: Vec<_> = self.config.iter().map(|path| source(path)).collect();
        if sources.is_empty() {
            sources.push(Source::built_in());
        }
        sources.extend(self.set.iter().cloned().map(Source::Set));
        sources
    }
}

/// A path; the Collector's users may write it as a `file:` URI.
fn source(path: &Path) -> Source {
    let stripped = path.to_str().and_then(|path| path.strip_prefix("file:"));
    Source::File(stripped.map_or_else(|| path.to_owned(), PathBuf::from))
}

/// `sluice components`: lists the types of components on stdout, as YAML.
pub fn components() -> ExitCode {
    let kinds = [
        ("receivers", receiver::TYPES),
        ("processors", processor::TYPES),
        ("exporters", exporter::TYPES),
        ("connectors", CONNECTOR_TYPES),
        ("extensions", extension::TYPES),
    ];
    let mut text = String::new();
    for (kind, types) in kinds {
        text.push_str(kind);
        text.push_str(":\n");
        for name in types {
            text.push_str("  - ");
            text.push_str(name);
            text.push('\n');
        }
    }
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_version_names_the_wasmtime_that_is_built_in() {
        let lock = include_str!("../../../Cargo.lock");
        let (_, after) = lock.split_once("name = \"wasmtime\"\nversion = \"").unwrap();
        let major = after.split('.').next().unwrap();
        assert!(VERSION.ends_with(&format!("(wasmtime {major})")), "{VERSION}");
    }

    #[test]
    fn sources_come_in_their_order() {
        let sources = |args: &[&str]| match Cli::try_parse_from([&["sluice", "run"], args].concat()).unwrap().command {
            Command::Run(args) => args.config.sources(),
            other => panic!("{other:?}"),
        };
        assert_eq!(sources(&[]), [Source::built_in()]);
        let expected = [Source::File("a".into()), Source::File("b".into()), Source::Set("k=v".into())];
        assert_eq!(sources(&["--config", "a", "--set", "k=v", "--config=file:b"]), expected);
    }
}

//! The collector as a user runs it: the release binary, a config file, and what it says.
//!
//! A test reads like this:
//! ```no_run
//! use sluice_tests::{collector::{Config, Sluice}, send, shop::otlp::Exporter, sink::Sink};
//!
//! let upstream = Sink::start();
//! let sluice = Sluice::start(&Config::to(&upstream).processor("filter", "traces: { span: ['name == \"GET /health\"'] }"));
//! send::all(sluice.grpc(), &Exporter::new(1).requests(10, 50)).unwrap();
//! let end = sluice.terminate();
//! assert_eq!((end.code, end.account.missing()), (0, 0));
//! ```

mod account;
pub mod config;
mod log;
mod metrics;

use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;
use tempfile::TempDir;

pub use account::Account;
pub use config::Config;
pub use log::Log;
pub use metrics::{Metrics, Sample};

use crate::{process, send, wait};

/// How long a start may take on a machine that does much else; the promise of 3 s has a test of
/// its own.
const START: Duration = Duration::from_mins(1);

/// How long an end may take, drain deadlines included.
const END: Duration = Duration::from_secs(60);

/// A running collector. It is killed when dropped.
pub struct Sluice {
    child: Child,
    log: Log,
    folder: Folder,
}

/// How a collector ended.
#[derive(Debug)]
pub struct End {
    /// The exit code; 128 and the signal's number if one ended it.
    pub code: i32,
    /// The closing account.
    pub account: Account,
    /// All that it wrote to stderr.
    pub stderr: String,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Output {
    /// The exit code.
    pub code: i32,
    /// What was asked for.
    pub stdout: String,
    /// What was wrong.
    pub stderr: String,
}

/// A folder with the config file in it, removed in the end.
pub struct Folder {
    folder: TempDir,
}

impl Folder {
    /// A new folder that holds `config.yaml`.
    #[expect(clippy::expect_used, reason = "no test can go on without files")]
    pub fn new(config: &str) -> Self {
        let folder = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        folder.write("config.yaml", config);
        folder
    }

    /// The config file.
    pub fn config(&self) -> PathBuf {
        self.path("config.yaml")
    }

    /// A file beside the config.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file as editors do: beside its place first, then renamed over it.
    #[expect(clippy::expect_used, reason = "no test can go on without files")]
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let aside = self.path(&format!(".{name}.new"));
        fs::write(&aside, bytes).and_then(|()| fs::rename(aside, self.path(name))).expect("a file beside the config");
    }
}

impl Sluice {
    /// Starts the collector and waits until it is ready.
    #[track_caller]
    pub fn start(config: &Config) -> Self {
        Self::start_in(Folder::new(&config.yaml()))
    }

    /// Starts the collector on the config of a folder and waits until it is ready.
    #[track_caller]
    pub fn start_in(folder: Folder) -> Self {
        let sluice = Self::spawn(folder, &[]);
        sluice.wait_ready();
        sluice
    }

    /// Starts the collector with these variables set; it need not come up.
    #[track_caller]
    pub fn spawn(folder: Folder, variables: &[(&str, OsString)]) -> Self {
        Self::spawn_with(folder, &[], variables)
    }

    /// Starts the collector with more arguments and these variables set; it need not come up.
    #[track_caller]
    pub fn spawn_with(folder: Folder, args: &[&str], variables: &[(&str, OsString)]) -> Self {
        let mut command = command();
        command.args(["run", "--config"]).arg(folder.config()).args(args);
        Self::spawn_command(command, folder, variables)
    }

    /// Starts the collector without a config; it need not come up.
    #[track_caller]
    pub fn spawn_default() -> Self {
        let mut command = command();
        command.arg("run");
        Self::spawn_command(command, Folder::new(""), &[])
    }

    /// Starts the collector with these sockets, as systemd passes them; it need not come up.
    #[track_caller]
    pub fn spawn_passed(folder: Folder, sockets: &[TcpListener]) -> Self {
        // Only the process itself knows its number: a shell becomes it.
        let program = command();
        let mut command = Command::new("sh");
        command.args(["-c", "export LISTEN_PID=$$; exec \"$0\" \"$@\""]).arg(program.get_program());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.args(["run", "--config"]).arg(folder.config());
        process::pass(&mut command, sockets);
        Self::spawn_command(command, folder, &[])
    }

    /// Starts a command of the collector with these variables set; it need not come up.
    #[track_caller]
    #[expect(clippy::expect_used, reason = "there is nothing to test")]
    pub fn spawn_command(mut command: Command, folder: Folder, variables: &[(&str, OsString)]) -> Self {
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = process::tie(&mut command).spawn().expect("the collector starts");
        let log = Log::follow(child.stderr.take().expect("its stderr is a pipe"));
        Self { child, log, folder }
    }

    /// Waits until every listener is bound and spans are taken.
    #[track_caller]
    #[expect(clippy::panic, reason = "a test without a collector has failed")]
    pub fn wait_ready(&self) {
        if let Err(error) = self.ready() {
            panic!("{error}");
        }
    }

    /// Waits until every listener is bound and spans are taken.
    ///
    /// # Errors
    /// With all that it wrote, when it ends instead or takes too long.
    pub fn ready(&self) -> Result<()> {
        let ended = || self.log.ended().then_some(false);
        let ready = || self.log.find("ready").map(|_| true).or_else(ended);
        match wait::within(START, ready) {
            Some(true) => Ok(()),
            _ => bail!("the collector did not get ready:\n{}", self.log.text()),
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The folder of its config file.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first address at which a component listens for a protocol; an empty protocol is any.
    #[track_caller]
    pub fn address(&self, component: &str, protocol: &str) -> SocketAddr {
        let what = format!("`listening` of {component} {protocol}");
        let matches =
            |event: &Value| event["component"] == component && (protocol.is_empty() || event["protocol"] == protocol);
        wait::until(&what, || {
            let event = self.log.events("listening").into_iter().find(matches)?;
            event["address"].as_str()?.parse().ok()
        })
    }

    /// Where the OTLP receiver listens for gRPC.
    #[track_caller]
    pub fn grpc(&self) -> SocketAddr {
        self.address("otlp", "grpc")
    }

    /// Where the OTLP receiver listens for HTTP.
    #[track_caller]
    pub fn http(&self) -> SocketAddr {
        self.address("otlp", "http")
    }

    /// What /metrics shows now.
    #[track_caller]
    #[expect(clippy::expect_used, reason = "metrics that cannot be had are a failed test")]
    pub fn metrics(&self) -> Metrics {
        let reply = send::http::get(self.address("telemetry", ""), "/metrics").expect("/metrics answers");
        Metrics::parse(&String::from_utf8_lossy(&reply.body))
    }

    /// Waits for the next outcome of a swap of this plugin that the caller has not seen, and gives
    /// the event. `seen` is how many there were.
    #[track_caller]
    pub fn wait_swap(&self, plugin: &str, seen: usize) -> Value {
        wait::until(&format!("swap {} of {plugin}", seen + 1), || self.swaps(plugin).into_iter().nth(seen))
    }

    /// All swaps of a plugin so far.
    pub fn swaps(&self, plugin: &str) -> Vec<Value> {
        let mut events = self.log.events("plugin.swap");
        events.retain(|event| event["plugin"] == plugin);
        events
    }

    /// Replaces the config file while the collector runs.
    pub fn rewrite(&self, config: &Config) {
        self.folder.write("config.yaml", config.yaml());
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        process::signal(&self.child, signal);
    }

    /// Whether the process has not ended.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub fn terminate(self) -> End {
        self.signal(libc::SIGTERM);
        self.wait_end()
    }

    /// The same, and gives the folder of its config file, for another one.
    #[track_caller]
    pub fn terminate_in(mut self) -> (End, Folder) {
        let folder = std::mem::replace(&mut self.folder, Folder::new(""));
        (self.terminate(), folder)
    }

    /// Waits for the end.
    #[track_caller]
    #[expect(clippy::panic, reason = "a collector that does not end is a failed test")]
    pub fn wait_end(mut self) -> End {
        let Some(status) = process::wait_for(&mut self.child, END) else {
            panic!("the collector did not end in {END:?}:\n{}", self.log.text());
        };
        wait::until("the end of its log", || self.log.ended().then_some(()));
        let account = Account::new(self.log.events("account"));
        End { code: process::code(status), account, stderr: self.log.text() }
    }
}

impl Drop for Sluice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.text();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- the collector's last lines");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The collector's command with nothing of the tester's environment that could steer it, and one
/// code cache for the whole test run.
pub fn command() -> Command {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    let cache = CACHE.get_or_init(|| process::target().join("test-code-cache"));
    let _ = fs::create_dir_all(cache);
    let mut command = Command::new(process::sluice());
    command.env_remove("HOME").env_remove("XDG_CACHE_HOME").env("SLUICE_CACHE_DIR", cache);
    command
}

/// Runs a command of the collector to its end.
#[track_caller]
#[expect(clippy::expect_used, reason = "there is nothing to test")]
pub fn run(args: &[&str], config: Option<&Path>) -> Output {
    let mut command = command();
    command.args(args);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let mut child = process::tie(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
        .spawn()
        .expect("the collector starts");
    let out = Log::follow(child.stdout.take().expect("its stdout is a pipe"));
    let err = Log::follow(child.stderr.take().expect("its stderr is a pipe"));
    let status = process::wait_for(&mut child, START).or_else(|| {
        let _ = child.kill();
        child.wait().ok()
    });
    wait::until("the end of its output", || (out.ended() && err.ended()).then_some(()));
    Output { code: status.map_or(-1, process::code), stdout: out.text(), stderr: err.text() }
}

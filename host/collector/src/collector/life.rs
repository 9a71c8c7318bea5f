//! The life of the process: configuration → build → serve → drain.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sluice_sandbox::{self as sandbox, Compiler, Options, Sandbox};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::Collector;
use super::last_good::LastGood;
use super::problems::{check, diagnostics, load_all};
use super::start::{Start, open_state_dir};
use super::succession::{Follows, Succession};
use crate::account::{self, Account, Keeper};
use crate::chain::{Aside, Care, PluginMetrics};
use crate::cli::{ConfigArgs, RunArgs};
use crate::config::{self, Config};
use crate::cores::Cores;
use crate::extension::{Readiness, admin::Desk};
use crate::generation::{Bundle, Workshop, watched};
use crate::handover::{self, Door, Visit};
use crate::memory;
use crate::quarantine::{self, Quarantine};
use crate::receiver::Sockets;
use crate::swap::Trigger;
use crate::swap::versions::Versions;
use crate::swap::watch::Watch;
use crate::tables::Shelf;
use crate::telemetry::{self, metrics::Metrics};

/// Exit code of a process that could not start, and of `validate` when something is wrong.
const COULD_NOT_START: u8 = 1;
/// Exit code of a process that lost spans at the drain deadline, or was told twice to stop.
const SPANS_LOST: u8 = 3;

/// How often kept stores are written: with the time that writing takes, what is lost by a kill is
/// less than a second of writes.
const SAVE_EVERY: Duration = Duration::from_millis(500);

/// How often it is looked at how new versions do: a bad one is to be gone within two seconds.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Triggers that may wait; one says as much as many.
const TRIGGERS: usize = 1;

/// `sluice run`: serves until SIGTERM or SIGINT, then drains. 0 after a clean drain, 1 if it could
/// not start, 3 if spans were lost.
pub fn run(args: &RunArgs, bundle: Bundle) -> ExitCode {
    // First, as long as there is one thread.
    memory::set_up();
    let passed = handover::passed();
    telemetry::logs::init();
    let served = Start::find(args, &bundle).and_then(|start| {
        let Some(start) = start else { return Ok(ExitCode::from(COULD_NOT_START)) };
        telemetry::logs::configure(&start.loaded.config.service.telemetry.logs);
        raise_file_limit();
        let passed = passed.context("cannot use what `LISTEN_FDS` passes")?;
        control_runtime()?.block_on(begin(args, start, bundle, passed))
    });
    served.unwrap_or_else(|error| {
        tracing::error!(event = "start.failed", "{error:#}");
        ExitCode::from(COULD_NOT_START)
    })
}

/// `sluice validate`: reads the configuration, loads and configures every plugin, and binds no
/// port. 0 if `run` would start with it, else 1 with every problem on stderr.
pub fn validate(args: &ConfigArgs, bundle: Bundle) -> ExitCode {
    telemetry::logs::init();
    let Ok(loaded) = load_all(args, &bundle) else { return ExitCode::from(COULD_NOT_START) };
    match check(&loaded.config, bundle) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(COULD_NOT_START),
        Err(error) => {
            tracing::error!(event = "start.failed", "{error:#}");
            ExitCode::from(COULD_NOT_START)
        }
    }
}

fn control_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the control runtime")
}

/// A collector has a descriptor a connection: the soft limit of 1,024 that systems ship is for
/// programs that use `select`.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let from = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::info!(event = "file_limit", from, to = limit.current, "raised the limit of open files"),
        Err(error) => tracing::warn!(event = "file_limit", from, %error, "cannot raise the limit of open files"),
    }
}

/// What plugins of a configuration are made with that are not to serve.
pub(crate) fn workshop_for_a_look(config: &Config, bundle: Bundle) -> anyhow::Result<Workshop> {
    workshop(config, bundle, &Metrics::default(), &Readiness::default(), None, 1)
}

/// What plugins of a configuration are made with.
fn workshop(
    config: &Config,
    bundle: Bundle,
    metrics: &Metrics,
    readiness: &Readiness,
    quarantine: Option<Arc<Quarantine>>,
    cores: usize,
) -> anyhow::Result<Workshop> {
    let exe =
        std::env::current_exe().context("cannot find the path of this program, which compiles plugins in a child")?;
    let versions = Versions::open(config.state_dir()).context("cannot make a folder for versions of plugins")?;
    Ok(Workshop {
        sandbox: sandbox(config.cache_dir(), exe)?,
        bundle: Arc::new(bundle),
        metrics: PluginMetrics::new(metrics.registry(), metrics.series())?,
        tables: Shelf::new(metrics.registry())?,
        care: Care {
            aside: Aside::start().context("cannot start the thread for failed calls")?,
            readiness: readiness.clone(),
            quarantine,
        },
        versions: Arc::new(versions),
        cores,
    })
}

/// The sandbox, with a cache if there is a place for one: without it start is slower, no more.
fn sandbox(cache_dir: Option<PathBuf>, exe: PathBuf) -> anyhow::Result<Sandbox> {
    let options = Options { cache_dir, compiler: Compiler::Child { exe } };
    match Sandbox::new(options.clone()) {
        Err(sandbox::Error::Cache(error)) if options.cache_dir.is_some() => {
            tracing::warn!(event = "cache", %error, "compiled plugins are not kept");
            Sandbox::new(Options { cache_dir: None, ..options }).context("cannot start the plugin sandbox")
        }
        other => other.context("cannot start the plugin sandbox"),
    }
}

/// Writes the stores that are kept, beside the control thread, which goes on accepting.
pub(super) async fn save_stores(sandbox: &Sandbox) {
    let sandbox = sandbox.clone();
    if let Err(error) = tokio::task::spawn_blocking(move || sandbox.save_stores()).await {
        tracing::error!(event = "internal", %error, "writing the stores has failed");
    }
}

/// Writes the account, beside the control thread as well.
async fn keep_account(keeper: Option<Keeper>, durable: bool) -> Option<Keeper> {
    let mut keeper = keeper?;
    let turn = tokio::task::spawn_blocking(move || {
        keeper.turn(durable);
        keeper
    });
    turn.await.map_err(|error| tracing::error!(event = "internal", %error, "keeping the account has failed")).ok()
}

/// The signals that the process heeds.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { interrupt: interrupt?, terminate: terminate?, hangup: hangup? })
    }

    /// Waits until the process is told to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Starts, after the process that serves if it is to be taken over from, and serves.
async fn begin(args: &RunArgs, start: Start, bundle: Bundle, passed: Vec<TcpListener>) -> anyhow::Result<ExitCode> {
    open_state_dir(&start.loaded.config)?;
    let (mut signals, mut sockets) = (Signals::listen()?, Sockets::default());
    sockets.give(passed).context("cannot use what `LISTEN_FDS` passes")?;
    let mut follows = Follows::Nobody;
    if args.take_over {
        follows = tokio::select! {
            follows = Follows::whom(&start.loaded, bundle.clone(), &mut sockets) => follows?,
            () = signals.stop() => anyhow::bail!("told to stop"),
        };
    }
    match follows {
        Follows::Nobody => serve(args, start, bundle, signals, sockets, None).await,
        Follows::Somebody(succession) => serve(args, start, bundle, signals, sockets, Some(succession)).await,
        Follows::Unfit => Ok(ExitCode::from(COULD_NOT_START)),
    }
}

async fn serve(
    args: &RunArgs,
    start: Start,
    bundle: Bundle,
    mut signals: Signals,
    sockets: Sockets,
    succession: Option<Succession>,
) -> anyhow::Result<ExitCode> {
    let last_good = args.last_good.as_deref().map(LastGood::new);
    let (args, Start { loaded, is_last_good }) = (&args.config, start);
    let started = Instant::now();
    let metrics = Metrics::default();
    let readiness = Readiness::default();
    let account = Account::new(metrics.registry())?;
    let (desk, mut orders) = Desk::new(account.clone());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let quarantine = loaded.config.sluice().map(Quarantine::open).transpose()?.flatten();
    let workshop = workshop(&loaded.config, bundle, &metrics, &readiness, quarantine.clone(), cores)?;
    let (tell, mut triggers) = mpsc::channel(TRIGGERS);
    if is_last_good {
        // It may have been mended before it is watched.
        let _ = tell.try_send(Trigger::File);
    }
    let files = Watch::start(tell);
    files.files(loaded.config.files());
    let mut processors = match workshop.first(&loaded.config) {
        Ok(processors) => processors,
        Err(unfit) => {
            config::print(&diagnostics(&loaded.config, unfit));
            return Ok(ExitCode::from(COULD_NOT_START));
        }
    };
    let sandbox = workshop.sandbox.clone();
    let mut collector =
        Collector::new(&metrics, &readiness, desk, account.clone(), workshop, Cores::start(cores)?, sockets)?;
    // Those that plugins have named, too.
    files.files(watched(&loaded.config, &processors.served).iter().map(PathBuf::as_path));
    (collector.files, collector.last_good) = (files, last_good);
    collector.tell_waiting(&mut processors, None);
    collector.apply(loaded.config, processors, None).await?;
    if let Some(succession) = succession {
        succession.serves();
    }
    collector.close_unclaimed();
    let mut keeper = Keeper::new(&account, collector.config().account_dir());
    keeper = keep_account(keeper, collector.config().is_durable()).await;
    let replays = quarantine.map(|quarantine| {
        let account = account.receiver("quarantine");
        tokio::spawn(quarantine::replay::serve(quarantine, collector.courier(), account))
    });
    readiness.ready();
    tracing::info!(event = "ready", ms = started.elapsed().as_millis() as u64);
    let mut balance = account::Watch::new(account.clone());
    let mut save = tokio::time::interval(SAVE_EVERY);
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut door = collector.door();
    let successor = loop {
        tokio::select! {
            _ = signals.interrupt.recv() => break None,
            _ = signals.terminate.recv() => break None,
            visit = visit(&mut door) => match visit {
                Visit::Takes(successor) => break Some(successor),
                Visit::Knocks(stream) => {
                    collector.offer(stream, &mut door).await;
                    continue;
                }
            },
            _ = signals.hangup.recv() => drop(collector.reload(args, Trigger::Sighup).await),
            Some(trigger) = triggers.recv() => drop(collector.reload(args, trigger).await),
            Some(order) = orders.recv() => collector.carry_out(args, order).await,
            _ = save.tick() => {
                save_stores(&sandbox).await;
                keeper = keep_account(keeper, collector.config().is_durable()).await;
                collector.watch_queues();
                collector.flush().await;
                balance.look(Instant::now(), collector.config().imbalance_after());
                continue;
            }
            _ = look.tick(), if collector.is_watching() => {
                collector.watch().await;
                if !collector.take_turn() {
                    continue;
                }
                drop(collector.reload(args, Trigger::Turn).await);
            }
        }
        collector.compare(&mut door);
    };
    // Whoever follows has its own at this place.
    drop(door);
    readiness.not_ready("the process is stopping");
    if let Some(replays) = replays {
        replays.abort();
    }
    let (drain_timeout, durable) = (collector.config().drain_timeout(), collector.config().is_durable());
    tracing::info!(event = "draining", timeout_ms = drain_timeout.as_millis() as u64);
    let followed = successor.is_some();
    let lost = tokio::select! {
        lost = collector.drain(Instant::now() + drain_timeout, successor) => lost,
        () = signals.stop() => u64::MAX,
    };
    if !followed {
        save_stores(&sandbox).await;
    }
    if let Some(keeper) = keeper {
        keeper.end(lost == u64::MAX, durable);
    }
    account.log();
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::from(SPANS_LOST) })
}

/// What happens at the door next; nothing if there is none.
async fn visit(door: &mut Option<Door>) -> Visit {
    match door {
        Some(door) => door.visit().await,
        None => std::future::pending().await,
    }
}

//! The life of the process: configuration → build → serve → drain.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use sluice_sandbox::{self as sandbox, Compiler, Options, Sandbox};
use tokio::sync::mpsc;

use super::Collector;
use super::control::{Control, Signals, keep_account, save_stores};
use super::lanes::{LEAVE_TIME, Lanes};
use super::last_good::LastGood;
use super::preparing;
use super::problems::{check, diagnostics, load_all};
use super::start::{Start, open_state_dir};
use super::succession::{Follows, Succession};
use crate::account::{self, Account, Keeper};
use crate::chain::{Aside, Care, PluginMetrics};
use crate::cli::{ConfigArgs, RunArgs};
use crate::config::{self, Config};
use crate::cores::Cores;
use crate::extension::{Readiness, admin::Desk};
use crate::generation::{Bundle, Processors, Unfit, Workshop, watched};
use crate::handover;
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

/// Triggers that may wait; one says as much as many.
const TRIGGERS: usize = 1;

/// `sluice run`: serves until SIGTERM or SIGINT, then drains. 0 after a clean drain, 1 if it could
/// not start, 3 if spans were lost.
pub fn run(args: &RunArgs, bundle: Bundle) -> ExitCode {
    // First, as long as there is one thread.
    memory::set_up();
    let passed = handover::passed();
    telemetry::logs::init();
    let served = control_runtime().and_then(|runtime| {
        let served = runtime.block_on(begin(args, bundle, passed));
        // What still blocks is nothing that anybody waits for.
        runtime.shutdown_background();
        served
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
    if cache_dir.is_none() {
        let reason = "none of SLUICE_CACHE_DIR, `state_dir`, XDG_CACHE_HOME and HOME says where";
        tracing::warn!(event = "cache", reason, "compiled plugins are not kept");
    }
    let options = Options { cache_dir, compiler: Compiler::Child { exe } };
    match Sandbox::new(options.clone()) {
        Err(sandbox::Error::Cache(error)) if options.cache_dir.is_some() => {
            tracing::warn!(event = "cache", %error, "compiled plugins are not kept");
            Sandbox::new(Options { cache_dir: None, ..options }).context("cannot start the plugin sandbox")
        }
        other => other.context("cannot start the plugin sandbox"),
    }
}

/// Starts, after the process that serves if it is to be taken over from, and serves. Whatever is read or compiled
/// before, who stops the process is heeded: nothing was accepted yet.
async fn begin(args: &RunArgs, bundle: Bundle, passed: io::Result<Vec<TcpListener>>) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let mut signals = Signals::listen()?;
    let find = {
        let (args, bundle) = (args.clone(), bundle.clone());
        move || Start::find(&args, &bundle)
    };
    let Some(found) = signals.unless_stopped(preparing::aside(true, find)).await else { return Ok(ExitCode::SUCCESS) };
    let Some(start) = found?? else { return Ok(ExitCode::from(COULD_NOT_START)) };
    telemetry::logs::configure(&start.loaded.config.service.telemetry.logs);
    raise_file_limit();
    open_state_dir(&start.loaded.config)?;
    let mut sockets = Sockets::default();
    passed.and_then(|passed| sockets.give(passed)).context("cannot use what `LISTEN_FDS` passes")?;
    let mut follows = Follows::Nobody;
    if args.take_over {
        let whom = Follows::whom(&start.loaded, bundle.clone(), &mut sockets);
        let Some(found) = signals.unless_stopped(whom).await else { return Ok(ExitCode::SUCCESS) };
        follows = found?;
    }
    match follows {
        Follows::Nobody => serve(args, start, began, bundle, signals, sockets, None).await,
        Follows::Somebody(succession) => serve(args, start, began, bundle, signals, sockets, Some(succession)).await,
        Follows::Unfit => Ok(ExitCode::from(COULD_NOT_START)),
    }
}

/// What comes of the preparation of the first generation.
enum First {
    Ready(Processors),
    Unfit(Vec<Unfit>),
    ToldToStop,
}

/// Prepares the first generation. Signals are heeded meanwhile: it may take as long as compiling does.
async fn first(workshop: &Workshop, config: &Config, signals: &mut Signals) -> anyhow::Result<First> {
    let prepare = {
        let (workshop, config) = (workshop.clone(), config.clone());
        move || workshop.first(&config)
    };
    // There is nobody yet to whom it would have to yield.
    let mut preparing = Box::pin(preparing::aside(true, prepare));
    tokio::select! {
        prepared = &mut preparing => Ok(prepared?.map_or_else(First::Unfit, First::Ready)),
        () = signals.stop() => {
            workshop.sandbox.stop_compiling();
            let _ = tokio::time::timeout(LEAVE_TIME, preparing).await;
            Ok(First::ToldToStop)
        }
    }
}

async fn serve(
    args: &RunArgs,
    start: Start,
    began: Instant,
    bundle: Bundle,
    mut signals: Signals,
    sockets: Sockets,
    succession: Option<Succession>,
) -> anyhow::Result<ExitCode> {
    let last_good = args.last_good.as_deref().map(LastGood::new);
    let (args, loaded) = (&args.config, start.loaded);
    let metrics = Metrics::default();
    let readiness = Readiness::default();
    let account = Account::new(metrics.registry())?;
    let (desk, orders) = Desk::new(account.clone());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let quarantine = loaded.config.sluice().map(Quarantine::open).transpose()?.flatten();
    let workshop = workshop(&loaded.config, bundle, &metrics, &readiness, quarantine.clone(), cores)?;
    let (tell, triggers) = mpsc::channel(TRIGGERS);
    // What changed before it is watched, or was not what is started with, is found as soon as this serves. An attempt
    // that finds nothing says nothing.
    let _ = tell.try_send(Trigger::File);
    let files = Watch::start(tell);
    files.files(loaded.config.files());
    let mut processors = match first(&workshop, &loaded.config, &mut signals).await? {
        First::Ready(processors) => processors,
        First::Unfit(unfit) => {
            config::print(&diagnostics(&loaded.config, unfit));
            return Ok(ExitCode::from(COULD_NOT_START));
        }
        // Nothing was accepted yet.
        First::ToldToStop => return Ok(ExitCode::SUCCESS),
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
    let keeper = Keeper::new(&account, collector.config().account_dir());
    let keeper = keep_account(keeper, collector.config().is_durable()).await;
    let replays = quarantine.map(|quarantine| {
        let account = account.receiver("quarantine");
        tokio::spawn(quarantine::replay::serve(quarantine, collector.courier(), account))
    });
    readiness.ready();
    tracing::info!(event = "ready", ms = began.elapsed().as_millis() as u64);
    let mut control = Control {
        signals,
        triggers,
        orders,
        door: collector.door(),
        lanes: Lanes::new(args.sources()),
        keeper,
        balance: account::Watch::new(account.clone()),
    };
    let successor = control.run(&mut collector).await;
    sandbox.stop_compiling();
    let Control { mut signals, triggers, orders, door, lanes, keeper, .. } = control;
    // Whoever follows has its own door, at the place of this one. Whoever waits for an order is told now.
    drop((triggers, orders, door));
    let left = lanes.leave();
    readiness.not_ready("the process is stopping");
    if let Some(replays) = replays {
        replays.abort();
    }
    let (drain_timeout, durable) = (collector.config().drain_timeout(), collector.config().is_durable());
    tracing::info!(event = "draining", timeout_ms = drain_timeout.as_millis() as u64);
    let followed = successor.is_some();
    let ended = async {
        let lost = collector.drain(Instant::now() + drain_timeout, successor).await;
        left.await;
        lost
    };
    let lost = tokio::select! {
        lost = ended => lost,
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

//! The engine: one a process, and the clock that interrupts calls.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use sluice_state::Stores;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, EngineWeak, OptLevel};

use crate::abi::Host;
use crate::cache::Cache;
use crate::compile::Hands;

/// How often it is looked whether guests run. Each look is a wake-up of a thread, which costs some 10 µs. The time of a call
/// counts from the first look at it, unless it is watched.
const TICK: Duration = Duration::from_millis(2);

/// How often while one does that was running at the last look, or is watched: hardly any call takes so long, and by
/// this it may exceed its time.
const CLOSE: Duration = Duration::from_millis(1);

/// Ticks without a call after which the clock sleeps. Waking it costs some µs; a busy collector
/// never lets it sleep.
const IDLE_TICKS: u32 = 50;

/// The CPU that embedded plugins are compiled for: x86-64-v2 (2009), because Cranelift needs SSE4.1
/// to translate SIMD well and every 64-bit edge box of the last decade has it. A machine that has
/// not compiles them itself.
#[cfg(target_arch = "x86_64")]
const BASELINE: [&str; 5] = ["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt"];
/// The CPU that embedded plugins are compiled for: plain ARMv8, as on every 64-bit board.
#[cfg(not(target_arch = "x86_64"))]
const BASELINE: [&str; 0] = [];

#[cfg(target_arch = "x86_64")]
const TARGET: &str = "x86_64-unknown-linux-gnu";
#[cfg(not(target_arch = "x86_64"))]
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Address space set aside for a memory when the process has little of it.
const NARROW_BYTES: u64 = 8 << 20;
/// Inaccessible bytes around a memory when the process has little address space.
const NARROW_GUARD_BYTES: u64 = 64 << 10;

/// How plugins are compiled.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// In a child process, bounded in time and memory.
    Child {
        /// The program; it is run as `exe __compile …` and calls [`crate::compile_child_main`].
        exe: PathBuf,
    },
    /// In this process. For tests.
    InProcess,
}

/// How a [`Sandbox`] is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where compiled code is kept, made if absent; must belong to this user alone. Without it
    /// everything is compiled anew in each process.
    pub cache_dir: Option<PathBuf>,
    /// How plugins are compiled.
    pub compiler: Compiler,
}

/// What keeps the sandbox from starting.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine refuses its settings or a component.
    #[error("wasmtime: {0:#}")]
    Engine(#[from] wasmtime::Error),
    /// The clock's thread cannot be started.
    #[error("cannot start the thread that interrupts plugins: {0}")]
    Clock(std::io::Error),
    /// The thread that starts compilers cannot be started.
    #[error("cannot start the thread that starts compilers: {0}")]
    Starter(std::io::Error),
    /// No place for compiled code.
    #[error(transparent)]
    Cache(#[from] crate::cache::CacheError),
}

/// Loads and prepares plugins. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Host>,
    pub(crate) cache: Cache,
    pub(crate) compiler: Hands,
    pub(crate) clock: Clock,
    pub(crate) reach: Reach,
    pub(crate) stores: Stores,
    stopping: AtomicBool,
}

impl Shared {
    /// Whether nothing is to be compiled any more.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// How much address space a memory sets aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// 4 GiB each, of which only what is used costs memory: an access needs no bounds check.
    Wide,
    /// A few MiB each and a bounds check at every access, under a limit like `ulimit -v`. What is
    /// embedded precompiled does not fit and is compiled once more.
    Narrow,
}

impl Reach {
    fn of_process() -> Self {
        let most = rustix::process::getrlimit(rustix::process::Resource::As).current;
        if most.is_some() { Self::Narrow } else { Self::Wide }
    }

    /// The word by which the compiling child is told.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }
}

impl Sandbox {
    /// Starts the engine and its clock.
    ///
    /// # Errors
    /// When the engine, the thread or the cache folder cannot be had.
    pub fn new(options: Options) -> Result<Self, Error> {
        let reach = Reach::of_process();
        let engine = Engine::new(&config(reach))?;
        let linker = crate::abi::linker(&engine)?;
        let cache = Cache::open(options.cache_dir, &engine)?;
        let clock = Clock::start(engine.weak())?;
        Ok(Self {
            shared: Arc::new(Shared {
                engine,
                linker,
                cache,
                compiler: Hands::new(options.compiler).map_err(Error::Starter)?,
                clock,
                reach,
                stores: Stores::default(),
                stopping: AtomicBool::new(false),
            }),
        })
    }

    /// The process is stopping: what is being compiled is left, and nothing more is compiled.
    pub fn stop_compiling(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
    }
}

/// The settings of every engine that runs or compiles plugins. Code compiled under other settings
/// is refused by wasmtime.
pub(crate) fn config(reach: Reach) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Calls are synchronous; support for concurrent ones doubles what each costs.
        .concurrency_support(false)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .wasm_memory64(false);
    if reach == Reach::Narrow {
        config
            .memory_reservation(NARROW_BYTES)
            .memory_reservation_for_growth(NARROW_BYTES)
            .memory_guard_size(NARROW_GUARD_BYTES);
    }
    config
}

/// Compiles a component for any machine of this architecture, to be embedded in a binary.
///
/// # Errors
/// When it is no component that compiles.
pub fn precompile(component: &[u8]) -> Result<Vec<u8>, Error> {
    let mut config = config(Reach::Wide);
    // Named explicitly, so that what the building machine's CPU can do does not count.
    config.target(TARGET)?;
    for flag in BASELINE {
        // SAFETY: the flags only let the compiler use instructions; wasmtime checks them
        // against the machine before it runs the code.
        unsafe { config.cranelift_flag_enable(flag) };
    }
    Ok(Engine::new(&config)?.precompile_component(component)?)
}

/// Advances the engine's epoch while plugins run. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Clock {
    thread: Thread,
    state: Arc<ClockState>,
}

#[derive(Default)]
struct ClockState {
    /// A call has begun since the last tick. Written once a tick, so that cores share it cheaply.
    used: AtomicBool,
    /// A call was running at the last tick, or is watched.
    seen: AtomicBool,
    asleep: AtomicBool,
    /// How often it has ticked: what a call into the host looks at, which costs it next to nothing.
    ticks: AtomicU64,
}

impl Clock {
    fn start(engine: EngineWeak) -> Result<Self, Error> {
        let state = Arc::new(ClockState::default());
        let ticking = Arc::clone(&state);
        let body = move || tick(&engine, &ticking);
        let thread = std::thread::Builder::new().name("epoch".to_owned()).spawn(body).map_err(Error::Clock)?;
        Ok(Self { thread: thread.thread().clone(), state })
    }

    /// How often it has ticked.
    pub(crate) fn ticks(&self) -> u64 {
        self.state.ticks.load(Ordering::Relaxed)
    }

    /// Notes that a call goes on that was running at the last tick, or that one begins that is watched.
    pub(crate) fn goes_on(&self) {
        self.state.seen.store(true, Ordering::SeqCst);
        self.call();
    }

    /// Notes that a call begins or goes on, so that the clock does not fall asleep during it.
    pub(crate) fn call(&self) {
        if !self.state.used.load(Ordering::SeqCst) {
            self.state.used.store(true, Ordering::SeqCst);
        }
        if self.state.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

fn tick(engine: &EngineWeak, state: &ClockState) {
    let mut idle = 0;
    loop {
        std::thread::sleep(if state.seen.swap(false, Ordering::SeqCst) { CLOSE } else { TICK });
        let Some(engine) = engine.upgrade() else { return };
        state.ticks.fetch_add(1, Ordering::Relaxed);
        engine.increment_epoch();
        drop(engine);
        idle = if state.used.swap(false, Ordering::SeqCst) { 0 } else { idle + 1 };
        if idle > IDLE_TICKS {
            state.asleep.store(true, Ordering::SeqCst);
            // A call that began before it could see `asleep` has not unparked us: look once more.
            if !state.used.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_secs(1));
            }
            state.asleep.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }
}

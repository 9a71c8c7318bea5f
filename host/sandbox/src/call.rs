//! One call of a guest: limits armed, outcome judged.

use wasmtime::{CallHook, Store, UpdateDeadline, bail};

use crate::abi::Host;
use crate::effects::LogLevel;
use crate::engine::{Clock, Shared};
use crate::failure::{CallError, FailureKind};

/// Ticks until the clock first looks at a call, and from one look to the next.
const TICKS: u64 = 1;

/// How wasmtime says that a guest handed over more bytes at once than [`Host::transfer_bytes`]; the
/// error's type is private.
const TRANSFER_SPENT: &str = "too much data is being copied";

/// What is said of a call over its limit of output.
const OUTPUT: &str = "the call's edits and what its request has staged were larger than the limit (limits.output_mib)";

/// Makes a store whose guests stop when their time is spent or their memory full.
pub(crate) fn store(shared: &Shared, host: Host) -> Store<Host> {
    let transfer = host.transfer_bytes();
    let mut store = Store::new(&shared.engine, host);
    store.limiter(|host| host);
    store.set_hostcall_fuel(transfer);
    let clock = shared.clock.clone();
    store.epoch_deadline_callback(move |mut context| {
        clock.goes_on();
        Ok(if context.data_mut().time_is_spent() { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(TICKS) })
    });
    store.set_epoch_deadline(TICKS);
    let clock = shared.clock.clone();
    store.call_hook(move |mut context, hook| {
        if matches!(hook, CallHook::CallingHost | CallHook::ReturningFromHost) && context.data_mut().is_late(&clock) {
            bail!("the call's time is over");
        }
        Ok(())
    });
    store
}

/// Arms the limits for a call that follows at once.
pub(crate) fn arm(store: &mut Store<Host>, clock: &Clock) {
    store.data_mut().begin(clock.ticks());
    if store.data().is_watched() {
        clock.goes_on();
    } else {
        clock.call();
    }
    store.set_epoch_deadline(TICKS);
}

/// What a trap was. Being over a limit often shows as a panic of the guest, so the limit that was
/// broken says more than the trap.
pub(crate) fn failure(host: &Host, error: &wasmtime::Error) -> CallError {
    let trap = error.root_cause().to_string();
    let over_transfer = trap.contains(TRANSFER_SPENT).then_some(FailureKind::Output);
    let store_full = host.effects.store.is_full().then_some(FailureKind::Store);
    let kind = host.broken().or(over_transfer).or(store_full).unwrap_or(FailureKind::Trap);
    let backtrace = error.downcast_ref::<wasmtime::WasmBacktrace>().map(frames);
    let message = match kind {
        FailureKind::Timeout => "the call used up its time".to_owned(),
        FailureKind::Overdue => "others had the CPU for longer than anybody waits for a call".to_owned(),
        FailureKind::Memory => format!("the plugin wanted {} ({trap})", host.wanted()),
        FailureKind::Output => format!("{OUTPUT} ({trap})"),
        FailureKind::HostCalls => format!("the call made more calls into the host than the limit ({trap})"),
        // A panic is a bare `unreachable`; what it was about, the guest has logged.
        _ => match host.effects.logs.iter().rfind(|line| line.level == LogLevel::Error) {
            Some(line) => format!("{trap}; the plugin said: {}", line.message),
            None => trap,
        },
    };
    CallError::told(kind, message, backtrace)
}

/// A function's name is cut here.
const NAME_BYTES: usize = 200;

/// Function names, innermost first.
fn frames(backtrace: &wasmtime::WasmBacktrace) -> String {
    let name = |frame: &wasmtime::FrameInfo| {
        let Some(name) = frame.func_name() else { return format!("function {}", frame.func_index()) };
        let mut shown = name.get(..name.floor_char_boundary(NAME_BYTES)).unwrap_or_default().to_owned();
        if shown.len() < name.len() {
            shown.push('…');
        }
        shown
    };
    backtrace.frames().iter().map(name).collect::<Vec<_>>().join(" < ")
}

/// A limit that a call broke although it returned.
pub(crate) fn broken(host: &Host) -> Option<CallError> {
    let kind = host.broken().filter(|kind| *kind != FailureKind::Memory)?;
    let message = match kind {
        FailureKind::Output => OUTPUT,
        FailureKind::HostCalls => "the call made more calls into the host than the limit",
        _ => "the call went over a limit",
    };
    Some(CallError { kind, message: message.to_owned(), backtrace: None })
}

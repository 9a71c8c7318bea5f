//! Guests below the SDK that do their worst, in a running collector with a neighbour under traffic.
//!
//! Each guest is put in place of a harmless one under steady requests and stays there for a second of the
//! neighbour's traffic. Before and after it the same requests come to the harmless guest, for comparison.
//!
//! A guest is a file in `guests/hostile`: a few sections of WebAssembly text around which the
//! sandbox's own tests build a component. What must come of it stands in [`expectations`].
//!
//! It is a program of its own, so that no other test runs beside it: one that starts processes has every thread of
//! its program wait, the longer the more memory the program has, and the neighbour would be blamed for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::unchecked_time_subtraction,
    clippy::duration_suboptimal_units,
    clippy::too_many_lines,
    reason = "tests"
)]

use std::thread::available_parallelism;
use std::time::Duration;

use guest::{Guest, little_endian, logs_in_one_stretch, takes_memory, takes_minutes};
use machine::{Others, resident_mib};
use neighbour::Less;
use stage::Stage;
use stretch::Stretch;

#[path = "../../../host/sandbox/tests/sandbox/guest.rs"]
#[allow(dead_code, reason = "the sandbox's tests need more of it")]
mod guest;

#[path = "../e2e/odd.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod odd;

mod attack;
mod compiling;
mod hoards;
mod machine;
mod neighbour;
mod replaced;
mod stage;
mod stretch;

mod expectations {
    /// What a guest comes to.
    pub enum Expected {
        /// It is not put in place, for a reason with this text, and is counted under this word; the version before
        /// serves on.
        Refused(&'static str, &'static str),
        /// It fails on requests of several spans; this kind of failure is counted, and no other.
        Fails(&'static str),
        /// It serves, and this kind is counted.
        Goes(&'static str),
        /// It serves, and nothing is counted.
        Serves,
        /// It fails on one span, which is found and dropped; the others go on, and this kind is counted.
        Isolated(&'static str),
    }

    use Expected::{Fails, Goes, Isolated, Refused, Serves};

    pub const ALLOCATES_IN_A_HOST_CALL: Expected = Fails("trap");
    pub const ASKS_A_BATCH_THAT_IT_GAVE_BACK: Expected = Fails("trap");
    pub const COLUMNS_OF_UNEQUAL_LENGTH: Expected = Fails("host_refused");
    pub const COMPILES_FOR_MINUTES: Expected = Refused("(limits.compile_timeout)", "compile_timeout");
    pub const COMPILES_INTO_MUCH_MEMORY: Expected =
        Refused("takes more than 1024 MiB of memory, the limit for every plugin", "compile_memory");
    pub const DESCRIBES_ITSELF_IN_MEGABYTES: Expected = Refused("with a version of 8388608 bytes", "description");
    pub const DESCRIBES_ITSELF_OVER_LINES: Expected = Refused("which has control characters", "description");
    pub const EDITS_AN_UNDECLARED_KEY: Expected = Fails("host_refused");
    pub const ENDS_THAT_LIE: Expected = Fails("host_refused");
    pub const FLOODS_EDITS: Expected = Fails("output");
    pub const FLOODS_LOGS: Expected = Goes("log");
    pub const FLOODS_METRICS: Expected = Goes("metrics");
    pub const FLOODS_THE_HOST_WITH_CALLS: Expected = Fails("host_calls");
    pub const FLOODS_THE_STORE: Expected = Goes("store");
    pub const FORGES_A_HANDLE: Expected = Fails("trap");
    pub const GIVES_UP_IN_MEGABYTES: Expected = Fails("trap");
    pub const GROWS_MEMORY: Expected = Fails("memory");
    pub const GROWS_TABLES: Expected = Fails("memory");
    pub const HOLDS_ALL_ITS_MEMORY: Expected = Serves;
    pub const IMPORTS_WASI: Expected = Refused("it imports `wasi:clocks/monotonic-clock@0.2.0`", "imports");
    pub const IS_100_MB: Expected = Refused("has 100000000 bytes, more than the limit", "size");
    pub const IS_A_CORE_MODULE: Expected = Refused("cargo xtask componentize", "not_a_component");
    pub const IS_TRUNCATED: Expected = Refused("it is not a WebAssembly component", "not_a_component");
    pub const KEEPS_THE_HANDLE_AFTER_THE_CALL: Expected = Goes("trap");
    pub const LARGE_FROM_THE_START: Expected = Refused("set up: memory", "memory");
    pub const LEAKS_A_BORROW: Expected = Fails("trap");
    pub const LISTS_OUT_OF_MEMORY: Expected = Fails("trap");
    pub const LOGS_IN_ONE_STRETCH: Expected = Fails("timeout");
    pub const LOOKS_UP_A_COLUMN_OF_DOTS: Expected = Fails("host_refused");
    pub const NAMES_ROWS_WITHOUT_END: Expected = Fails("host_refused");
    pub const READS_AN_UNDECLARED_KEY: Expected = Fails("host_refused");
    pub const RECURSES: Expected = Fails("trap");
    pub const REPLACED_FOR_MORE_SERIES: Expected = Goes("metrics");
    pub const ROWS_OUT_OF_RANGE: Expected = Fails("host_refused");
    pub const SPEAKS_ANOTHER_CONTRACT: Expected = Refused("this version of Sluice speaks 0.1.0", "contract");
    pub const SPINS_AT_START: Expected = Refused("set up: timeout", "timeout");
    pub const SPINS_IN_CONFIGURE: Expected = Refused("set up: timeout", "timeout");
    pub const SPINS_IN_DESCRIBE: Expected = Refused("set up: timeout", "timeout");
    pub const SPINS_IN_HOST_CALLS: Expected = Fails("timeout");
    pub const SPINS_IN_PROCESS: Expected = Fails("timeout");
    pub const TEXT_THAT_IS_NOT_UTF8: Expected = Fails("host_refused");
    pub const TRAPS_ALWAYS: Expected = Fails("trap");
    pub const TRAPS_ON_SPAN_N: Expected = Isolated("trap");
}

use expectations::Expected;

include!(concat!(env!("OUT_DIR"), "/hostile_guests.rs"));

/// Turns a guest's file into the bytes of the plugin's file.
fn component(text: &'static str) -> Vec<u8> {
    let mut guest = Guest::new();
    let mut version = None;
    for section in format!("\n{text}").split("\n@").skip(1) {
        let (head, body) = section.split_once('\n').unwrap_or((section, ""));
        let mut words = head.split_whitespace();
        let kind = words.next().unwrap();
        let words: Vec<&'static str> = words.map(|word| &*word.to_owned().leak()).collect();
        guest = match kind {
            "process" => guest.with_many(body),
            "whole-process" => guest.whole_process(body),
            "describe" => guest.before_describe(body),
            "configure" => guest.configure(body),
            "snapshot" => guest.snapshot(body),
            "start" => guest.start(body),
            "module" => guest.module(body),
            "imports" => guest.imports(body),
            "pages" => guest.pages(words[0].parse().unwrap()),
            "capabilities" => guest.capabilities(&words),
            "access" => guest.access(&words[1..2], &words[3..4]),
            "text" => guest.data(words[0].parse().unwrap(), words[1]),
            "u32" => {
                let numbers: Vec<u32> = words[1..].iter().map(|word| word.parse().unwrap()).collect();
                guest.data(words[0].parse().unwrap(), little_endian(&numbers))
            }
            "bomb" => guest.module(&takes_minutes(3_000)),
            "hoard" => guest.module(&takes_memory()),
            "version" => {
                version = Some(format!("@{}", words[0]));
                guest
            }
            "bytes" => return bytes(words[0]),
            "one-stretch" => return logs_in_one_stretch(words[0].parse().unwrap()),
            other => panic!("no section is called {other}"),
        };
    }
    match version {
        Some(version) => guest.component_for(|text, _| text.replace("@0.1.0", &version)),
        None => guest.component(),
    }
}

/// Files that are no component of ours.
fn bytes(what: &str) -> Vec<u8> {
    match what {
        "core" => wat::parse_str("(module)").unwrap(),
        "wasi" => wat::parse_str("(component (import \"wasi:clocks/monotonic-clock@0.2.0\" (instance)))").unwrap(),
        "half" => {
            let mut whole = Guest::new().component();
            whole.truncate(whole.len() / 2);
            whole
        }
        size => vec![0; size.parse().unwrap()],
    }
}

/// The memory that a guest may have unless configured, and what a process may need beside.
const LIMIT_MIB: u64 = 32;
const MARGIN_MIB: u64 = 10;

/// What a guest may cost the neighbour: its p99 is at most so much above that without the guest.
const NOTICED: Duration = Duration::from_millis(20);

/// How often the neighbour has to wait for too long before that counts: the most of five tries, unless the first one
/// goes well. A guest that harms it does so each time, what a machine does beside does not. All else has to hold each
/// time.
const MOST: u32 = 3;

/// Has a guest come and go, and tells what came of it. Gives the time after it, and whether the neighbour noticed.
fn judge(stage: &mut Stage, before: &Stretch, name: &str, component: &[u8], expected: &Expected) -> (Stretch, bool) {
    let others = Others::now(&stage.sluice);
    let (beside, answers) = stage.with(name, component, expected);
    let after = stage.without();
    let (part, is_much) = others.since(&stage.sluice);
    // On a machine of which others have much it is they who keep the cores from running; else it is the guest.
    let less = if is_much { Less::SenderAndCores } else { Less::Sender };
    let with = stage.neighbour.p99_beside(&beside, less);
    let without = stage.neighbour.p99_within(&[before, &after], less);
    let grown_mib = beside.peak_mib.saturating_sub(before.peak_mib);
    println!(
        "{name:<34}{:>7.1} ms{:>7.1} ms{:>4.0} %{grown_mib:>4} MiB{:>5} taken{:>4} refused",
        with.as_secs_f64() * 1e3,
        without.as_secs_f64() * 1e3,
        part * 100.0,
        answers.taken,
        answers.refused
    );
    // Each core has an instance of a plugin that serves, with a limit of its own.
    let cores = if matches!(expected, Expected::Serves) { available_parallelism().unwrap().get() as u64 } else { 1 };
    assert!(grown_mib <= cores * LIMIT_MIB + MARGIN_MIB, "{name}: {grown_mib} MiB more at its peak than before");
    (after, with > without + NOTICED)
}

#[test]
fn every_guest_is_contained_and_counted_under_its_own_name_and_the_neighbour_does_not_notice() {
    assert!(GUESTS.len() >= 30, "the folder of guests is where it was");
    let (mut stage, mut noticed) = (Stage::set(), Vec::new());
    let (mut before, first_mib) = (stage.without(), resident_mib(&stage.sluice, "VmRSS"));
    println!("guest: the neighbour's p99 with it and without, what others had of the machine, memory, answers");
    for (name, text, expected) in GUESTS {
        let component = component(text);
        let (mut well, mut badly) = (0, 0);
        while badly < MOST && well < MOST && (well, badly) != (1, 0) {
            let (after, is_noticed) = judge(&mut stage, &before, name, &component, expected);
            before = after;
            *(if is_noticed { &mut badly } else { &mut well }) += 1;
        }
        if badly >= MOST {
            noticed.push(*name);
        }
    }
    let grown_mib = resident_mib(&stage.sluice, "VmRSS").saturating_sub(first_mib);
    println!("{grown_mib} MiB grown in all");
    assert!(grown_mib <= LIMIT_MIB + MARGIN_MIB, "{grown_mib} MiB more than before the guests");
    stage.end();
    assert!(noticed.is_empty(), "the neighbour's p99 was more than {NOTICED:?} above that without: {noticed:?}");
}

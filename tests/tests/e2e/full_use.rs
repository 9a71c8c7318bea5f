//! On a machine in full use by other programs a new version serves soon all the same.

use std::fs;
use std::process::{Child, Command};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::process;
use sluice_tests::sink::Sink;

/// From a file being there to the compiler, and from there to serving.
const MOMENT: Duration = Duration::from_millis(500);

/// Within this a good file serves.
const PROMPT: Duration = Duration::from_secs(2);
/// What a compiler gets at least where there is nobody but these programs: two of them and itself on each core.
const PART: f64 = 1.0 / 3.0;
/// How often it is tried: what one try shows depends on how the system spreads programs over cores.
const TRIES: u8 = 5;

/// Programs that never sleep, two for each core.
pub struct Others(Vec<Child>);

impl Others {
    pub fn start() -> Self {
        let busy = |_| process::tie(Command::new("sh").args(["-c", "while :; do :; done"])).spawn().unwrap();
        Self((0..2 * cores()).map(busy).collect())
    }

    /// The CPU time of each of them on average.
    fn have(&self) -> Duration {
        let of = |child: &Child| {
            // In nanoseconds, and what else `sched-stats` of the kernel's documentation describes.
            let told = fs::read_to_string(format!("/proc/{}/schedstat", child.id())).unwrap();
            Duration::from_nanos(told.split_whitespace().next().unwrap().parse().unwrap())
        };
        self.0.iter().map(of).sum::<Duration>() / self.0.len() as u32
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn cores() -> usize {
    available_parallelism().unwrap().get()
}

/// The CPU time of the ended children of a process: fields 16 and 17 of `proc_pid_stat(5)`, the second of which is
/// the name, in parentheses.
fn children_had(pid: u32) -> Duration {
    let told = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = told.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap();
    // SAFETY: a call without pointers.
    let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_secs_f64(ticks as f64 / a_second as f64)
}

/// The largest of the plugins of usual size, with some bytes that nobody looks at: a custom section of the binary
/// format, of two letters' name.
fn version(number: u8) -> Vec<u8> {
    let mut module = fs::read(process::target().join("plugins/transform.wasm")).unwrap();
    module.extend([0, 4, 2, b'n', b'o', number]);
    module
}

/// That is 2 s on a machine that does nothing else. Where it does, or this one is itself not let run, nobody can keep
/// that; but the compiler has to get what each of the others gets, or its third, and not a small part of that.
#[test]
fn on_a_machine_in_full_use_a_new_version_is_compiled_as_soon_as_its_share_allows() {
    let config = "config: { trace_statements: ['set(span.attributes[\"a\"], \"b\")'] }";
    // A machine that stands still is no failure.
    let plugin = format!("module: transform.wasm\n{config}\nlimits: {{ compile_timeout: 10m }}");
    let folder = Folder::new(&Config::to(&Sink::start()).processor("wasm/transform", &plugin).yaml());
    folder.write("transform.wasm", version(0));
    // Compiled code that is kept would spare it the work.
    let cache = folder.path("cache");
    let sluice = Sluice::spawn(folder, &[("SLUICE_CACHE_DIR", cache.into_os_string())]);
    sluice.wait_ready();
    let others = Others::start();
    let mut seen = Vec::new();
    for number in 1..=TRIES {
        let swaps = sluice.swaps("wasm/transform").len();
        let (began, others_had, had) = (Instant::now(), others.have(), children_had(sluice.pid()));
        sluice.folder().write("transform.wasm", version(number));
        let swap = sluice.wait_swap("wasm/transform", swaps);
        let took = began.elapsed();
        assert_eq!(swap["outcome"], "swapped", "{swap}");
        let (others_had, had) = (others.have() - others_had, children_had(sluice.pid()) - had);
        let share = had.as_secs_f64() * 1_000.0 / swap["ms"]["compile"].as_f64().unwrap();
        let theirs = others_had.as_secs_f64() / took.as_secs_f64();
        let alone = (others_had * 2 * cores() as u32 + had).as_secs_f64() / (took.as_secs_f64() * cores() as f64);
        seen.push(format!(
            "{took:?}: {share:.2} of a CPU, others had {theirs:.2} each, and all of them {alone:.2} of the machine"
        ));
        // What compiling costs is up to the machine: with its part of a CPU it takes so long, and a moment for the rest.
        let fair = Duration::from_secs_f64(had.as_secs_f64() / PART) + MOMENT;
        if share >= 0.6 * PART.min(theirs) && (took <= PROMPT.max(fair) || alone < 0.95) {
            return println!("{seen:#?}");
        }
    }
    panic!("{seen:#?}");
}

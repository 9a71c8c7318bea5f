//! Components are compiled in a child process, which has limits.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sluice_sandbox::{Compiler, Effects, Limits, LoadError, Options, Sandbox, Source, compile_child_main};

use crate::guest::{Guest, takes_memory, takes_minutes};
use crate::stage::{batch, settings};

/// This test binary is its own compiling child: run with `__compile` it runs the test of that name.
fn child() -> Compiler {
    Compiler::Child { exe: std::env::current_exe().unwrap() }
}

#[test]
#[expect(non_snake_case, reason = "the child is run as `exe __compile`, which the test harness takes for a filter")]
fn as_the_child__compile() {
    if std::env::var_os("SLUICE_COMPILE_PRIORITY").is_some() {
        if std::env::var_os(WITHOUT_LIMITS).is_some() {
            deny_limits();
        }
        std::process::exit(compile_child_main(std::env::args_os().skip(2)).into());
    }
}

fn load_in_child(bytes: &[u8], compiler: Compiler, limits: &Limits) -> Result<(), LoadError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let sandbox = Sandbox::new(Options { cache_dir: None, compiler }).unwrap();
    let module = sandbox.load(&Source::File(file.path().to_owned()), limits, None)?;
    let mut instance = sandbox.prepare(&module, settings(limits.clone())).unwrap().instantiate().unwrap();
    instance.process(&mut batch(3), &mut Effects::default()).unwrap();
    Ok(())
}

#[test]
fn a_child_compiles_and_what_it_wrote_is_run() {
    load_in_child(&Guest::new().component(), child(), &Limits::default()).unwrap();
}

#[test]
fn a_child_that_takes_too_long_is_killed() {
    let limits = Limits { compile_timeout: Duration::ZERO, ..Limits::default() };
    let error = load_in_child(&Guest::new().component(), child(), &limits).unwrap_err();
    assert!(
        error.to_string().ends_with("compiling it took longer than the limit of 0ns (limits.compile_timeout)"),
        "{error}"
    );
}

#[test]
fn a_component_made_to_compile_for_minutes_costs_no_more_than_the_limit() {
    let component = Guest::new().module(&takes_minutes(3_000)).component();
    assert!(component.len() < 1 << 20, "it is no large file");
    let limits = Limits { compile_timeout: Duration::from_secs(1), ..Limits::default() };
    let started = std::time::Instant::now();
    let error = load_in_child(&component, child(), &limits).unwrap_err();
    assert!(error.to_string().ends_with("(limits.compile_timeout)"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    // Its child has ended and was waited for: nothing of this name is left that could use time.
    let own = std::process::id().to_string();
    let compiles = |process: &Path| {
        let read = |name| fs::read_to_string(process.join(name)).unwrap_or_default();
        let parent = read("stat").rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1).map(str::to_owned));
        parent.as_deref() == Some(&own) && read("environ").contains("SLUICE_COMPILE_SECONDS=1\0")
    };
    let left: Vec<_> =
        fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).filter(|p| compiles(p)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_component_made_to_take_much_memory_gets_no_more_than_the_limit() {
    let component = Guest::new().module(&takes_memory()).component();
    assert!(component.len() < 1 << 20, "it is no large file");
    let error = load_in_child(&component, child(), &Limits::default()).unwrap_err();
    assert!(error.to_string().ends_with("more than 1024 MiB of memory, the limit for every plugin"), "{error}");
}

/// Set for a child that the system does not let limit itself.
const WITHOUT_LIMITS: &str = "SLUICE_TEST_WITHOUT_LIMITS";

/// From now on the system lets this process set no limit.
fn deny_limits() {
    let step =
        |code: u32, jump_true, jump_false, k| libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k };
    let (load, is, end) =
        (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::BPF_RET);
    // By `seccomp(2)`: the number of the system call comes first in what is looked at. Of `prlimit64` the new limit
    // is the third argument, after the address of the call; without one it only asks.
    let mut steps = [
        step(load, 0, 0, 0),
        step(is, 0, 3, libc::SYS_prlimit64 as u32),
        step(load, 0, 0, 32),
        step(is, 1, 0, 0),
        step(end, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(end, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: system calls that read the structures, which live until they have returned.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

#[test]
fn a_child_that_cannot_limit_itself_does_not_compile() {
    let error = load_in_child(&Guest::new().component(), script("without-limits"), &Limits::default()).unwrap_err();
    let expected = "the compiler cannot work: the system does not let it limit its CPU time (setrlimit): ";
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(error.as_str(), "compiler");
    let error = load_in_child(&Guest::new().component(), script("without-a-bound"), &Limits::default()).unwrap_err();
    assert!(error.to_string().ends_with("SLUICE_COMPILE_SECONDS does not say its CPU time"), "{error}");
}

#[test]
fn a_child_that_runs_out_of_memory_or_of_cpu_time_is_named() {
    for (name, expected) in [
        ("aborts", "1024 MiB of memory, the limit for every plugin"),
        ("out-of-cpu-time", "(limits.compile_timeout)"),
        ("killed", "(limits.compile_timeout)"),
    ] {
        let error = load_in_child(&Guest::new().component(), script(name), &Limits::default()).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}

/// A compiler that is a script. It lies there: one that was just written cannot be run while a process that
/// another test has started meanwhile holds it open.
fn script(name: &str) -> Compiler {
    let exe = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/sandbox/children/{name}.sh"));
    Compiler::Child { exe }
}

#[test]
fn a_child_that_hardly_comes_to_run_is_started_anew_as_one_that_runs_as_others_do() {
    let error = load_in_child(&Guest::new().component(), script("starves"), &Limits::default()).unwrap_err();
    assert!(error.to_string().ends_with("started with equal priority"), "{error}");
}

#[test]
fn a_child_that_fails_or_is_not_there_is_an_error() {
    for (exe, message) in [("/bin/false", "the compiler ended without a word"), ("/nowhere", "cannot run the compiler")]
    {
        let error = load_in_child(&Guest::new().component(), Compiler::Child { exe: exe.into() }, &Limits::default())
            .unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn what_a_child_claims_to_have_compiled_is_checked() {
    let error =
        load_in_child(&Guest::new().component(), Compiler::Child { exe: "/bin/true".into() }, &Limits::default())
            .unwrap_err();
    assert!(matches!(error, LoadError::Link { .. }), "{error}");
}

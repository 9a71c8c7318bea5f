//! While a version of one plugin is compiled, which may take half a minute, everything else goes on: signals are
//! heeded, and another plugin goes back to the version before, at once and for good.

use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::send::{self, Grpc, http};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::wait;

use crate::guest::{Guest, takes_minutes};
use crate::guests::{self, Fails, Version};
use crate::odd;
use crate::poison::all_bad;
use crate::rollout::{ONE, PLUGIN, TWO};
use crate::swap::stamp_now;

/// A plugin whose next version takes a compiler long.
const SLOW: &str = "wasm/slow";

/// Versions of it that take a compiler minutes, and seconds.
pub const MINUTES: usize = 3_000;
pub const SECONDS: usize = 600;

/// How soon a process ends that has nothing to wait for, however busy the machine is; compiling takes longer.
pub const SOON: Duration = Duration::from_secs(10);

/// With that plugin.
pub fn with_slow(config: Config) -> Config {
    config.processor(SLOW, "module: slow.wasm\nlimits: { compile_timeout: 10m }")
}

/// Starts with its first version, which harms nobody, and without compiled code of an earlier test.
#[track_caller]
pub fn start_in(folder: Folder) -> Sluice {
    folder.write("slow.wasm", Guest::new().component());
    let cache = folder.path("cache").into_os_string();
    start_with(folder, &[("SLUICE_CACHE_DIR", cache)])
}

#[track_caller]
fn start_with(folder: Folder, variables: &[(&str, OsString)]) -> Sluice {
    let sluice = Sluice::spawn(folder, variables);
    sluice.wait_ready();
    sluice
}

/// Has its next version compiled, which goes on for minutes.
#[track_caller]
pub fn compile_for_minutes(sluice: &Sluice) {
    compile(sluice, MINUTES);
}

#[track_caller]
fn compile(sluice: &Sluice, loops: usize) {
    // Of a version before one may be left that did not get on: even its end takes its time.
    wait::until("other compilers to be gone", || (!is_compiling(sluice)).then_some(()));
    sluice.folder().write("slow.wasm", Guest::new().module(&takes_minutes(loops)).component());
    wait::until("the compiler to run", || is_compiling(sluice).then_some(()));
}

/// Whether a compiler runs.
pub fn is_compiling(sluice: &Sluice) -> bool {
    !compilers(sluice).is_empty()
}

/// The processes that a collector has started and that have not ended.
fn compilers(sluice: &Sluice) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", sluice.pid())).unwrap().flatten();
    let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let all = children.collect::<String>();
    all.split_whitespace().map(|pid| pid.parse().unwrap()).filter(|pid| is_alive(*pid)).collect()
}

/// Whether a process has not ended; one that has and that nobody has waited for is a zombie, `Z`.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !matches!(rest.trim_start().as_bytes()[0], b'Z' | b'X'))
}

/// A config with both plugins and the admin API.
fn config(upstream: &Sink) -> Config {
    // What a busy machine does to the time of calls is nobody's fault.
    let settings = "module: rollout.wasm\nrollout: { max_latency_ratio: 1000000 }\nlimits: { timeout: 1s }";
    let config = Config::to(upstream)
        .extension("sluice", "admin: { endpoint: '127.0.0.1:0', token_file: token }\ndrain_timeout: 10m")
        .processor(PLUGIN, settings);
    with_slow(config)
}

/// The files for the first version of both.
fn folder(config: &str) -> Folder {
    let folder = Folder::new(config);
    folder.write("token", "a token of this test\n");
    folder.write("rollout.wasm", guests::rollout(ONE));
    folder.write("slow.wasm", Guest::new().component());
    folder
}

/// A collector in which the first version of both serves.
fn start(upstream: &Sink) -> Sluice {
    start_in(folder(&config(upstream).yaml()))
}

fn put(sluice: &Sluice, version: Version) {
    sluice.folder().write("rollout.wasm", guests::rollout(version));
}

/// Replaces the module of the quick one.
#[track_caller]
fn replace(sluice: &Sluice, version: Version) {
    let seen = sluice.swaps(PLUGIN).len();
    put(sluice, version);
    let swap = sluice.wait_swap(PLUGIN, seen);
    assert_eq!(swap["outcome"], "swapped", "{swap}");
}

fn post(sluice: &Sluice, path: &str) -> (u16, Value) {
    let post = http::Post::json("").path(path).header("authorization", "Bearer a token of this test");
    let reply = post.to(sluice.address("sluice", "http")).unwrap();
    (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap())
}

fn bad() -> Bytes {
    odd::request(&[odd::span(1, 1, &[odd::field(5, b"bad")])])
}

#[test]
fn the_first_signal_drains() {
    let (upstream, temporary) = (Sink::start(), Folder::new(""));
    let place = temporary.path("place");
    fs::create_dir(&place).unwrap();
    // Code, versions of modules and what a compiler is given are files there.
    let variables = [("TMPDIR", place.clone().into_os_string()), ("SLUICE_CACHE_DIR", OsString::from("/dev/null/no"))];
    let sluice = start_with(folder(&config(&upstream).yaml()), &variables);
    send::all(sluice.grpc(), &Exporter::new(151).requests(10, 40)).unwrap();
    compile_for_minutes(&sluice);
    let (told, compilers) = (Instant::now(), compilers(&sluice));
    let end = sluice.terminate();
    assert!(told.elapsed() < SOON, "{:?}", told.elapsed());
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("destination", "delivered") as u64, upstream.spans());
    wait::until("the compiler to be gone", || (!compilers.iter().any(|pid| is_alive(*pid))).then_some(()));
    let left: Vec<_> = fs::read_dir(&place).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "what was there for the time of the process is gone: {left:?}");
}

#[test]
fn a_signal_at_the_start_ends_it() {
    let folder = folder(&config(&Sink::start()).yaml());
    folder.write("slow.wasm", Guest::new().module(&takes_minutes(MINUTES)).component());
    let sluice = Sluice::spawn(folder, &[]);
    wait::until("the compiler to run", || is_compiling(&sluice).then_some(()));
    let told = Instant::now();
    let end = sluice.terminate();
    assert!(told.elapsed() < SOON, "{:?}", told.elapsed());
    assert_eq!(end.code, 0, "nothing was accepted: {}", end.stderr);
}

#[test]
fn the_second_signal_ends_at_once() {
    let upstream = Sink::start();
    upstream.always(Answer::UNAVAILABLE);
    let sluice = start(&upstream);
    send::all(sluice.grpc(), &[Exporter::new(152).request(40)]).unwrap();
    compile_for_minutes(&sluice);
    sluice.signal(libc::SIGTERM);
    wait::until("the drain to begin", || sluice.log().find("draining"));
    let told = Instant::now();
    sluice.signal(libc::SIGTERM);
    let end = sluice.wait_end();
    assert!(told.elapsed() < SOON, "{:?}", told.elapsed());
    assert_eq!((end.code, end.account.missing()), (3, 0), "{}", end.stderr);
}

#[test]
fn a_bad_version_of_another_plugin_goes() {
    let upstream = Sink::start();
    let sluice = start(&upstream);
    replace(&sluice, Version { fails: Fails::Traps, ..TWO });
    compile_for_minutes(&sluice);
    let (seen, began, client) = (sluice.swaps(PLUGIN).len(), Instant::now(), Grpc::new(sluice.grpc()).unwrap());
    let event = wait::until("the version before", || {
        // The version before does what it fails on.
        client.send(&bad()).unwrap();
        sluice.swaps(PLUGIN).into_iter().nth(seen)
    });
    println!("it went after {:?}", began.elapsed());
    assert_eq!((&event["outcome"], &event["trigger"]), (&"rolled_back".into(), &"probation".into()), "{event}");
    assert!(is_compiling(&sluice), "the other one is still compiled");
    assert_eq!(stamp_now(&sluice, &upstream, "mark").as_deref(), Some("one"));
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_plugin_that_fails_and_is_rolled_back_keeps_nobody_from_being_ready() {
    let upstream = Sink::start();
    let config = config(&upstream).extension("health_check", "endpoint: '127.0.0.1:0'");
    // Nobody stands by on whom what it fails on could fall.
    let yaml = config.yaml().replace("max_latency_ratio: 1000000", "probation: 0s");
    let sluice = start_in(folder(&yaml));
    let health = || http::get(sluice.address("health_check", ""), "/").unwrap().status.as_u16();
    replace(&sluice, Version { fails: Fails::Traps, ..TWO });
    compile_for_minutes(&sluice);
    let client = Grpc::new(sluice.grpc()).unwrap();
    wait::until("its breaker to open", || {
        drop(client.send(&all_bad()));
        (health() == 503).then_some(())
    });
    assert_eq!(post(&sluice, &format!("/v1/plugins/{PLUGIN}/rollback")).0, 200);
    assert!(is_compiling(&sluice));
    assert_eq!(health(), 200, "the version before serves");
    assert_eq!(sluice.terminate().code, 0);
}

/// Has a version of the slow one compiled for seconds, with or without a change of the configuration, and another
/// plugin rolled back meanwhile.
fn rolled_back_meanwhile(changes_config: bool) {
    let upstream = Sink::start();
    let sluice = start(&upstream);
    replace(&sluice, TWO);
    assert_eq!(stamp_now(&sluice, &upstream, "mark").as_deref(), Some("two"));
    let seen = sluice.swaps(SLOW).len();
    if changes_config {
        let actions = "actions: [{ key: team, value: deliveries, action: upsert }]";
        sluice.rewrite(&config(&upstream).processor("attributes", actions));
    }
    compile(&sluice, SECONDS);
    let (status, done) = post(&sluice, &format!("/v1/plugins/{PLUGIN}/rollback"));
    assert_eq!((status, &done["outcome"]), (200, &"applied".into()), "{done}");
    assert!(is_compiling(&sluice), "the answer has not waited for the compiler");
    assert_eq!(sluice.swaps(SLOW).len(), seen, "{}", sluice.log().text());
    assert_eq!(stamp_now(&sluice, &upstream, "mark").as_deref(), Some("one"));

    let swap = sluice.wait_swap(SLOW, seen);
    assert_eq!(swap["outcome"], "swapped", "{swap}");
    assert_eq!(stamp_now(&sluice, &upstream, "mark").as_deref(), Some("one"), "{}", sluice.log().text());
    let quick = sluice.swaps(PLUGIN).len();
    let (status, done) = post(&sluice, "/v1/reload");
    assert_eq!((status, &done["outcome"]), (200, &"unchanged".into()), "what serves is what is written down: {done}");
    assert_eq!(sluice.swaps(PLUGIN).len(), quick);
    let team = changes_config.then_some("deliveries");
    assert_eq!(stamp_now(&sluice, &upstream, "team").as_deref(), team, "all of the configuration serves");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_rollback_is_done_at_once_and_outlasts_the_next_version_of_another_plugin() {
    rolled_back_meanwhile(false);
}

#[test]
fn a_rollback_is_done_at_once_and_outlasts_the_next_configuration() {
    rolled_back_meanwhile(true);
}

#[test]
fn what_changes_meanwhile_is_looked_at_afterwards() {
    let upstream = Sink::start();
    let sluice = start(&upstream);
    let [slow, quick] = [SLOW, PLUGIN].map(|plugin| sluice.swaps(plugin).len());
    compile(&sluice, SECONDS);
    // Its turn in the reload that goes on was before.
    put(&sluice, TWO);
    assert_eq!(sluice.wait_swap(SLOW, slow)["outcome"], "swapped");
    assert_eq!(sluice.wait_swap(PLUGIN, quick)["outcome"], "swapped");
    assert_eq!(stamp_now(&sluice, &upstream, "mark").as_deref(), Some("two"));
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn a_compiler_does_not_outlive_who_has_started_it() {
    let upstream = Sink::start();
    let sluice = start(&upstream);
    compile_for_minutes(&sluice);
    let compilers = compilers(&sluice);
    sluice.signal(libc::SIGKILL);
    assert_eq!(sluice.wait_end().code, 128 + libc::SIGKILL);
    let gone = wait::within(SOON, || (!compilers.iter().any(|pid| is_alive(*pid))).then_some(()));
    for pid in compilers.into_iter().filter(|pid| is_alive(*pid)) {
        // SAFETY: a plain system call. It is the child of a process of this test.
        unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
    }
    assert!(gone.is_some(), "it goes on without anybody who wants its work");
}

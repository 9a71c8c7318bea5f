//! What a change of a file does: it is noticed wherever the file is and however it came there, nothing else is a
//! reload, and what is wrong with one file keeps no other from serving.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use crate::guests::{self, Version};
use crate::rollout::{ONE, TWO};
use crate::swap::stamped;

const THREE: Version = Version::new("thr");
const FOUR: Version = Version::new("fou");
const FIVE: Version = Version::new("fiv");

/// Between two lines of a log: longer than the watch waits for quiet, so that each would be a reload of its own.
const PAUSE: Duration = Duration::from_millis(200);

/// Puts a version into a folder as `mv` does.
fn put(folder: &Path, version: Version) {
    fs::write(folder.join("next"), guests::rollout(version)).unwrap();
    fs::rename(folder.join("next"), folder.join("p.wasm")).unwrap();
}

/// Waits until a version of a plugin serves.
#[track_caller]
fn wait_serving(sluice: &Sluice, plugin: &str, version: Version) {
    let labels = [("plugin", plugin), ("version", version.mark)];
    let serves = || (sluice.metrics().sum("sluice_plugin_info", &labels) > 0.0).then_some(());
    wait::until(&format!("version {} of {plugin}", version.mark), serves);
}

/// A folder with a configuration of a plugin whose module is this file, which is not there yet.
fn with_module(upstream: &Sink, module: &str) -> Folder {
    Folder::new(&Config::to(upstream).processor("wasm/p", &format!("module: {module}")).yaml())
}

#[test]
fn a_log_that_grows_beside_a_broken_configuration_does_not_have_it_read_again() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&stamped(&upstream, "one"));
    let reloads = |outcome: &str| {
        let events = sluice.log().events("reload");
        events.iter().filter(|event| event["outcome"] == outcome).count()
    };
    sluice.folder().write("config.yaml", "a: [b");
    wait::until("the reload to fail", || (reloads("failed") > 0).then_some(()));
    let mut log = OpenOptions::new().create(true).append(true).open(sluice.folder().path("log")).unwrap();
    for line in 0..10 {
        writeln!(log, "line {line}").unwrap();
        thread::sleep(PAUSE);
    }
    sluice.rewrite(&stamped(&upstream, "two"));
    wait::until("the good configuration", || (reloads("applied") > 0).then_some(()));
    // A second one if the system was late to tell of the first.
    assert!(reloads("failed") <= 2, "{}", sluice.log().text());
}

#[test]
fn a_module_is_noticed_in_a_folder_that_was_made_anew() {
    let upstream = Sink::start();
    let folder = with_module(&upstream, "m/p.wasm");
    let (module, aside) = (folder.path("m"), folder.path("n"));
    fs::create_dir(&module).unwrap();
    put(&module, ONE);
    let sluice = Sluice::start_in(folder);
    // Another folder in its place.
    fs::create_dir(&aside).unwrap();
    put(&aside, TWO);
    fs::rename(&module, sluice.folder().path("before")).unwrap();
    fs::rename(&aside, &module).unwrap();
    wait_serving(&sluice, "wasm/p", TWO);
    put(&module, THREE);
    wait_serving(&sluice, "wasm/p", THREE);
    // None for some time.
    let seen = sluice.swaps("wasm/p").len();
    fs::remove_dir_all(&module).unwrap();
    assert_eq!(sluice.wait_swap("wasm/p", seen)["outcome"], "failed");
    fs::create_dir(&module).unwrap();
    put(&module, FOUR);
    wait_serving(&sluice, "wasm/p", FOUR);
    put(&module, FIVE);
    wait_serving(&sluice, "wasm/p", FIVE);
}

#[test]
fn a_module_behind_links_is_noticed_where_it_is() {
    let (upstream, there) = (Sink::start(), tempfile::tempdir().unwrap());
    let folder = with_module(&upstream, "linked.wasm");
    put(there.path(), ONE);
    symlink("through/p.wasm", folder.path("linked.wasm")).unwrap();
    symlink(there.path(), folder.path("through")).unwrap();
    let sluice = Sluice::start_in(folder);
    put(there.path(), TWO);
    wait_serving(&sluice, "wasm/p", TWO);
    fs::write(there.path().join("p.wasm"), guests::rollout(THREE)).unwrap();
    wait_serving(&sluice, "wasm/p", THREE);
    // A link on the way is turned.
    let other = tempfile::tempdir().unwrap();
    put(other.path(), FOUR);
    symlink(other.path(), sluice.folder().path("turned")).unwrap();
    fs::rename(sluice.folder().path("turned"), sluice.folder().path("through")).unwrap();
    wait_serving(&sluice, "wasm/p", FOUR);
    put(other.path(), FIVE);
    wait_serving(&sluice, "wasm/p", FIVE);
}

/// Two plugins in pipelines of their own; calls of the second may take so long.
fn two_plugins(upstream: &Sink, timeout: &str) -> Config {
    Config::to(upstream)
        .processor("wasm/p", "module: p.wasm")
        .processor("wasm/q", &format!("module: q.wasm\nlimits: {{ timeout: {timeout} }}"))
        .pipeline("traces/p", &["otlp"], &["wasm/p"], &["otlp_grpc"])
        .pipeline("traces/q", &["otlp"], &["wasm/q"], &["otlp_grpc"])
}

fn start_two(upstream: &Sink) -> Sluice {
    let folder = Folder::new(&two_plugins(upstream, "100ms").yaml());
    folder.write("p.wasm", guests::rollout(ONE));
    folder.write("q.wasm", guests::rollout(ONE));
    Sluice::start_in(folder)
}

/// Breaks the module of the first plugin, and gives how many swaps of it there were then.
#[track_caller]
fn break_first(sluice: &Sluice) -> usize {
    let seen = sluice.swaps("wasm/p").len();
    sluice.folder().write("p.wasm", "junk");
    assert_failed(&sluice.wait_swap("wasm/p", seen));
    seen + 1
}

#[track_caller]
fn assert_failed(swap: &Value) {
    assert_eq!((&swap["outcome"], &swap["step"]), (&Value::from("failed"), &Value::from("verify")), "{swap}");
}

#[test]
fn a_broken_module_holds_back_no_other_plugin_and_is_told_of_once() {
    let upstream = Sink::start();
    let sluice = start_two(&upstream);
    let seen = break_first(&sluice);
    sluice.folder().write("q.wasm", guests::rollout(TWO));
    wait_serving(&sluice, "wasm/q", TWO);
    wait_serving(&sluice, "wasm/p", ONE);
    let swaps = sluice.swaps("wasm/p");
    assert_eq!(swaps.len(), seen, "nothing has happened to its file: {swaps:?}");
    // Who asks is told.
    sluice.signal(libc::SIGHUP);
    assert_failed(&sluice.wait_swap("wasm/p", seen));
    // Another broken file is another report.
    sluice.folder().write("p.wasm", "junk, too");
    assert_failed(&sluice.wait_swap("wasm/p", seen + 1));
    // One good and one broken file at once.
    let seen = sluice.swaps("wasm/q").len();
    sluice.folder().write("q.wasm", "junk");
    sluice.folder().write("p.wasm", guests::rollout(THREE));
    wait_serving(&sluice, "wasm/p", THREE);
    assert_failed(&sluice.wait_swap("wasm/q", seen));
    wait_serving(&sluice, "wasm/q", TWO);
}

#[test]
fn a_change_of_the_configuration_comes_as_a_whole_or_not_at_all() {
    let upstream = Sink::start();
    let sluice = start_two(&upstream);
    let seen = break_first(&sluice);
    let others = sluice.swaps("wasm/q").len();
    sluice.rewrite(&two_plugins(&upstream, "90ms"));
    assert_failed(&sluice.wait_swap("wasm/p", seen));
    // Its own part of the change is good, but waits for the rest.
    sluice.folder().write("q.wasm", guests::rollout(TWO));
    assert_failed(&sluice.wait_swap("wasm/p", seen + 1));
    let swaps = sluice.swaps("wasm/q");
    assert_eq!(swaps.len(), others, "{swaps:?}");
    sluice.folder().write("p.wasm", guests::rollout(THREE));
    wait_serving(&sluice, "wasm/p", THREE);
    wait_serving(&sluice, "wasm/q", TWO);
}

#[test]
fn what_a_refused_configuration_lacks_is_noticed_when_it_comes() {
    let (upstream, elsewhere) = (Sink::start(), tempfile::tempdir().unwrap());
    let sluice = Sluice::start(&Config::to(&upstream));
    let module = elsewhere.path().join("p.wasm");
    sluice.rewrite(&Config::to(&upstream).processor("wasm/p", &format!("module: {}", module.display())));
    assert_failed(&sluice.wait_swap("wasm/p", 0));
    put(elsewhere.path(), ONE);
    wait_serving(&sluice, "wasm/p", ONE);
}

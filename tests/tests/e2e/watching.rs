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

#[track_caller]
fn assert_failed(swap: &Value) {
    assert_eq!((&swap["outcome"], &swap["step"]), (&Value::from("failed"), &Value::from("verify")), "{swap}");
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

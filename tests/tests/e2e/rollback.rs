//! The version before is one command away, and what was rolled back does not come again by itself.

use serde_json::Value;
use sluice_tests::collector::{Config, Folder, Output, Sluice, run};
use sluice_tests::send::{self, http};
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use crate::swap::stamp_now;
use crate::{guests, odd};

/// A config with the admin API, and more settings of the extension and of the plugin.
fn config(upstream: &Sink, extension: &str, plugin: &str) -> Config {
    Config::to(upstream)
        .extension("sluice", &format!("admin: {{ endpoint: '127.0.0.1:0', token_file: token }}\n{extension}"))
        .processor("wasm/tester", &format!("module: tester.wasm\nconfig: {{ does: stamp }}\n{plugin}"))
}

fn folder(config: &Config) -> Folder {
    let folder = Folder::new(&config.yaml());
    folder.write("token", "a token of this test\n");
    folder.write("tester.wasm", guests::tester("one"));
    folder
}

/// Replaces the module, and gives the event.
fn replace(sluice: &Sluice, stamp: &str) -> Value {
    let seen = sluice.swaps("wasm/tester").len();
    sluice.folder().write("tester.wasm", guests::tester(stamp));
    sluice.wait_swap("wasm/tester", seen)
}

fn order(sluice: &Sluice, order: &[&str]) -> Output {
    let (endpoint, token) = (sluice.address("sluice", "http").to_string(), sluice.folder().path("token"));
    let whom = ["wasm/tester", "--endpoint", &endpoint, "--token-file", token.to_str().unwrap(), "--json"];
    run(&[&["plugin"], order, &whom].concat(), None)
}

fn shown(sluice: &Sluice) -> Value {
    let reply = http::get(sluice.address("sluice", "http"), "/v1/plugins/wasm/tester").unwrap();
    serde_json::from_slice(&reply.body).unwrap()
}

/// Touches the file without changing it, and waits until that was looked at.
fn touch(sluice: &Sluice, stamp: &str) {
    sluice.folder().write("tester.wasm", guests::tester(stamp));
    let (status, done) = post(sluice, "/v1/reload");
    assert_eq!((status, &done["outcome"]), (200, &"unchanged".into()), "{done}");
}

fn post(sluice: &Sluice, path: &str) -> (u16, Value) {
    let post = http::Post::json("").path(path).header("authorization", "Bearer a token of this test");
    let reply = post.to(sluice.address("sluice", "http")).unwrap();
    (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap())
}

#[test]
fn a_rollback_brings_the_version_before_and_remembers() {
    let upstream = Sink::start();
    let sluice = Sluice::start_in(folder(&config(&upstream, "", "")));
    let none = order(&sluice, &["rollback"]);
    assert!(none.code == 1 && none.stderr.contains("no version before this one is kept"), "{none:?}");
    assert_eq!(replace(&sluice, "two")["outcome"], "swapped");
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("two"));
    let two = shown(&sluice)["digest"].clone();

    let done = order(&sluice, &["rollback"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"));
    let event = sluice.swaps("wasm/tester").pop().unwrap();
    assert_eq!(
        (&event["outcome"], &event["trigger"], &event["from"]),
        (&"rolled_back".into(), &"rollback".into(), &two)
    );
    let rolled_back = [("plugin", "wasm/tester"), ("outcome", "rolled_back")];
    assert_eq!(sluice.metrics().sum("sluice_plugin_swaps_total", &rolled_back), 1.0);
    assert_eq!(shown(&sluice)["rolled_back"], two);

    // The same file again, and the same configuration again, change nothing.
    touch(&sluice, "two");
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"));
    // Another file does.
    assert_eq!(replace(&sluice, "three")["outcome"], "swapped");
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("three"));
    assert_eq!(shown(&sluice).get("rolled_back"), None);
    assert_eq!(order(&sluice, &["rollback"]).code, 0);
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"), "not the one that was rolled back");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn what_was_rolled_back_is_tried_again_when_that_is_forced() {
    let upstream = Sink::start();
    let sluice = Sluice::start_in(folder(&config(&upstream, "", "")));
    replace(&sluice, "two");
    assert_eq!(order(&sluice, &["rollback"]).code, 0);
    let again: Value = serde_json::from_str(&order(&sluice, &["swap"]).stdout).unwrap();
    assert_eq!(again["outcome"], "unchanged");
    let forced: Value = serde_json::from_str(&order(&sluice, &["swap", "--force"]).stdout).unwrap();
    assert_eq!(forced["outcome"], "applied", "{forced}");
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("two"));
    assert_eq!(shown(&sluice).get("rolled_back"), None);
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn a_state_dir_keeps_versions_and_what_was_rolled_back_over_a_restart() {
    let upstream = Sink::start();
    let state = Folder::new("");
    let extension = format!("state_dir: '{}'", state.path("state").display());
    let config = config(&upstream, &extension, "");
    let sluice = Sluice::start_in(folder(&config));
    replace(&sluice, "two");
    assert_eq!(order(&sluice, &["rollback"]).code, 0);
    assert_eq!(sluice.terminate().code, 0);

    let again = folder(&config);
    again.write("tester.wasm", guests::tester("two"));
    let sluice = Sluice::start_in(again);
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"));
    assert_eq!(replace(&sluice, "three")["outcome"], "swapped");
    assert_eq!(sluice.terminate().code, 0);

    let last = folder(&config);
    last.write("tester.wasm", guests::tester("three"));
    let sluice = Sluice::start_in(last);
    assert_eq!(order(&sluice, &["rollback"]).code, 0);
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"));
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn all_versions_that_were_rolled_back_are_remembered_over_a_restart() {
    let upstream = Sink::start();
    let state = Folder::new("");
    let extension = format!("state_dir: '{}'", state.path("state").display());
    let config = config(&upstream, &extension, "");
    let sluice = Sluice::start_in(folder(&config));
    let digests = ["two", "three"].map(|stamp| {
        assert_eq!(replace(&sluice, stamp)["outcome"], "swapped");
        shown(&sluice)["digest"].clone()
    });
    for digest in digests.iter().rev() {
        assert_eq!(order(&sluice, &["rollback"]).code, 0);
        assert_eq!(shown(&sluice)["rolled_back"], *digest);
    }
    // Neither the one that was rolled back first comes again, nor the other one.
    for stamp in ["three", "two"] {
        touch(&sluice, stamp);
        assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"), "the file holds {stamp}");
    }
    assert_eq!(sluice.terminate().code, 0);

    for stamp in ["two", "three"] {
        let again = folder(&config);
        again.write("tester.wasm", guests::tester(stamp));
        let sluice = Sluice::start_in(again);
        assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"), "the file holds {stamp}");
        assert_eq!(sluice.terminate().code, 0);
    }

    // One of them is forced; the other one is remembered all the same.
    let last = folder(&config);
    last.write("tester.wasm", guests::tester("two"));
    let sluice = Sluice::start_in(last);
    assert_eq!(order(&sluice, &["swap", "--force"]).code, 0);
    assert_eq!((&shown(&sluice)["digest"], &shown(&sluice)["rolled_back"]), (&digests[0], &digests[1]));
    touch(&sluice, "three");
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("two"));
    assert_eq!(sluice.terminate().code, 0);
}

/// Version two serves and keeps its state there. Gives the digest of the one before.
fn two_after_one(upstream: &Sink, state: &Folder) -> (Sluice, String) {
    let extension = format!("state_dir: '{}'", state.path("state").display());
    let sluice = Sluice::start_in(folder(&config(upstream, &extension, "")));
    let one = shown(&sluice)["digest"].as_str().unwrap().to_owned();
    replace(&sluice, "two");
    (sluice, one)
}

#[test]
fn a_version_that_serves_is_not_remembered_as_rolled_back_if_there_is_no_other_one() {
    let upstream = Sink::start();
    let state = Folder::new("");
    let (sluice, one) = two_after_one(&upstream, &state);
    let kept = || Some(shown(&sluice)).filter(|now| now["kept"].as_array().is_some_and(|kept| kept.len() == 2));
    let two = wait::until("it to be kept", kept)["digest"].as_str().unwrap().to_owned();
    // As after a disk that took what was rolled back, and not what is kept.
    std::fs::write(state.path("state/versions/wasm%2Ftester/rolled_back"), format!("{one}\n{two}\n")).unwrap();
    let refused = order(&sluice, &["rollback"]);
    assert!(refused.code == 1 && refused.stderr.contains("must not serve either"), "{refused:?}");
    let now = shown(&sluice);
    assert_eq!((&now["digest"], now["rolled_back"] == two), (&two.as_str().into(), false), "{now}");
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("two"));
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn a_kept_version_that_was_tampered_with_does_not_serve() {
    let upstream = Sink::start();
    let state = Folder::new("");
    let (sluice, one) = two_after_one(&upstream, &state);
    let kept = state.path("state").join(format!("versions/wasm%2Ftester/{one}.wasm"));
    std::fs::write(kept, guests::tester("three")).unwrap();
    let refused = order(&sluice, &["rollback"]);
    assert!(refused.code == 1 && refused.stderr.contains("its sha256 is"), "{refused:?}");
    let digest = [("plugin", "wasm/tester"), ("reason", "digest")];
    assert_eq!(sluice.metrics().sum("sluice_plugin_refusals_total", &digest), 1.0);
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("two"));
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn a_new_version_that_fails_too_often_goes_by_itself() {
    let upstream = Sink::start();
    let config = config(&upstream, "", "").yaml().replace("does: stamp", "does: trap, to: bad");
    let folder = Folder::new(&config);
    folder.write("token", "a token of this test\n");
    folder.write("tester.wasm", guests::tester("one"));
    let sluice = Sluice::start_in(folder);
    let request = |name: &str| odd::request(&[odd::span(1, 1, &[odd::field(5, name.as_bytes())])]);
    let client = send::Grpc::new(sluice.grpc()).unwrap();
    // The first version is not on probation, whatever it does.
    (0..6).for_each(|_| assert!(client.send(&request("bad")).is_err()));
    // It is left alone for a while.
    wait::until("it to be called again", || client.send(&request("good")).ok());
    let swapped = replace(&sluice, "two");
    assert_eq!(swapped["outcome"], "swapped", "{swapped}");
    let seen = sluice.swaps("wasm/tester").len();
    let event = wait::until("the version before", || {
        let _ = client.send(&request("bad"));
        sluice.swaps("wasm/tester").into_iter().nth(seen)
    });
    assert_eq!((&event["outcome"], &event["trigger"]), (&"rolled_back".into(), &"probation".into()), "{event}");
    assert_eq!((&event["from"], &event["to"]), (&swapped["to"], &swapped["from"]));
    let told = sluice.log().find("plugin.probation").unwrap();
    assert!(told["reason"].as_str().unwrap().contains("calls have failed"), "{told}");
    let remembered = || Some(shown(&sluice)).filter(|shown| shown["rolled_back"].is_string());
    let shown = wait::until("what was rolled back to be remembered", remembered);
    assert_eq!((&shown["version"], &shown["rolled_back"]), (&"one".into(), &swapped["to"]));
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_pinned_version_is_not_rolled_back() {
    let upstream = Sink::start();
    let digest = {
        let folder = Folder::new("");
        folder.write("tester.wasm", guests::tester("one"));
        let output = std::process::Command::new("sha256sum").arg(folder.path("tester.wasm")).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    let sluice = Sluice::start_in(folder(&config(&upstream, "", &format!("sha256: '{digest}'"))));
    let refused = order(&sluice, &["rollback"]);
    assert!(refused.code == 1 && refused.stderr.contains("`sha256` says which version is meant"), "{refused:?}");
    assert_eq!(sluice.terminate().code, 0);
}

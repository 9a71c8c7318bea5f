//! What is pinned serves, whatever became of it before; a candidate that was let go of is not tried again by itself.

use serde_json::Value;
use sluice_tests::collector::{Sluice, run};
use sluice_tests::send::http;
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use super::{Flow, ONE, PLUGIN, TWO, flows, order, replace, shown, start};
use crate::guests::{self, Version};

/// The digest of a file.
fn sha256(sluice: &Sluice, file: &str) -> String {
    let output = std::process::Command::new("sha256sum").arg(sluice.folder().path(file)).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// Pins this module in the place of `before`, and gives the event of what becomes of it.
#[track_caller]
fn pin(sluice: &Sluice, before: &mut String, file: &str) -> Value {
    let pinned = format!("module: {file}\n    sha256: '{}'", sha256(sluice, file));
    let seen = sluice.swaps(PLUGIN).len();
    let config = std::fs::read_to_string(sluice.folder().config()).unwrap();
    sluice.folder().write("config.yaml", config.replace(before.as_str(), &pinned));
    *before = pinned;
    sluice.wait_swap(PLUGIN, seen)
}

fn reload(sluice: &Sluice) -> Value {
    let post = http::Post::json("").path("/v1/reload").header("authorization", "Bearer a token of this test");
    serde_json::from_slice(&post.to(sluice.address("sluice", "http")).unwrap().body).unwrap()
}

/// Waits until the canary that has just begun is let go of.
#[track_caller]
fn goes(sluice: &Sluice, came: &Value) {
    assert_eq!(came["outcome"], "candidate", "{came}");
    let gone = sluice.wait_swap(PLUGIN, sluice.swaps(PLUGIN).iter().position(|event| event == came).unwrap() + 1);
    assert_eq!((&gone["outcome"], &gone["from"]), (&"rolled_back".into(), &came["to"]), "{gone}");
}

#[test]
fn a_pinned_candidate_that_was_let_go_of_waits_for_another_pin_or_force() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "strategy: canary, share: 0.5, for: 1h, max_drop_ratio: 0.5");
    sluice.folder().write("two.wasm", guests::rollout(Version { drops: 90, ..TWO }));
    sluice.folder().write("one.wasm", guests::rollout(ONE));
    let flow = Flow::start(&sluice, 41);
    flows(&upstream, 100);
    let mut pinned = "module: rollout.wasm".to_owned();
    let two = pin(&sluice, &mut pinned, "two.wasm");
    goes(&sluice, &two);
    let seen = sluice.swaps(PLUGIN).len();
    for _ in 0..3 {
        let done = reload(&sluice);
        assert_eq!(done["outcome"], "unchanged", "{done}");
        flows(&upstream, 100);
    }
    assert_eq!(sluice.swaps(PLUGIN).len(), seen, "it is not tried again");
    let told = shown(&sluice);
    assert_eq!((&told["version"], &told["rolled_back"]), (&"one".into(), &two["to"]), "{told}");

    let (endpoint, token) = (sluice.address("sluice", "http").to_string(), sluice.folder().path("token"));
    let whom = [PLUGIN, "--force", "--endpoint", &endpoint, "--token-file", token.to_str().unwrap(), "--json"];
    let forced = run(&[&["plugin", "swap"], &whom[..]].concat(), None);
    assert_eq!(forced.code, 0, "{forced:?}");
    goes(&sluice, &sluice.wait_swap(PLUGIN, seen));
    assert_eq!(order(&sluice, "swap").code, 0);
    assert_eq!(sluice.swaps(PLUGIN).len(), seen + 2, "it is not tried again");

    // Who pins another version, and then this one, wants it tried.
    let one = pin(&sluice, &mut pinned, "one.wasm");
    assert_eq!((&one["outcome"], &one["to"]), (&"swapped".into(), &two["from"]), "{one}");
    goes(&sluice, &pin(&sluice, &mut pinned, "two.wasm"));
    flow.end();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_pin_counts_only_once_its_configuration_does() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "strategy: immediate");
    let two = replace(&sluice, TWO);
    assert_eq!(order(&sluice, "rollback").code, 0);
    wait::until("it to be remembered", || (shown(&sluice)["rolled_back"] == two["to"]).then_some(()));
    assert_eq!(reload(&sluice)["outcome"], "unchanged");

    // The pin is good, something else is not.
    let before = std::fs::read_to_string(sluice.folder().config()).unwrap();
    let mut module = "module: rollout.wasm".to_owned();
    let pinned = before.replace(&module, &format!("{module}\n    sha256: {}", two["to"]));
    sluice.folder().write("config.yaml", pinned.replace("admin:", "state_dir: elsewhere\n    admin:"));
    let refused = reload(&sluice);
    assert_eq!(refused["outcome"], "failed", "{refused}");
    assert!(refused["error"].as_str().unwrap().contains("`state_dir`"), "{refused}");
    sluice.folder().write("config.yaml", before);
    assert_eq!(reload(&sluice)["outcome"], "unchanged", "it is still remembered");
    let told = shown(&sluice);
    assert_eq!((&told["version"], &told["rolled_back"]), (&"one".into(), &two["to"]), "{told}");

    let pinned = pin(&sluice, &mut module, "rollout.wasm");
    assert_eq!((&pinned["outcome"], &pinned["to"]), (&"swapped".into(), &two["to"]), "{pinned}");
    wait::until("it to be forgiven", || shown(&sluice)["rolled_back"].is_null().then_some(()));
    let end = sluice.terminate();
    assert_eq!(end.code, 0, "{}", end.stderr);
}

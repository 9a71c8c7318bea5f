//! Where a bad version goes back to: the last version that has proved itself.

use std::fs;

use serde_json::Value;
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait};

use super::{Flow, ONE, PLUGIN, TWO, arrived, flows, replace, shown, span};
use crate::guests::{self, Fails, Version};
use crate::odd;

/// Two versions that fail on spans that are named `bad`.
const BAD_TWO: Version = Version { fails: Fails::Traps, ..TWO };
const BAD_THREE: Version = Version { mark: "thr", ..BAD_TWO };

/// A folder in which this version is to serve, beside others that are kept in `state`.
fn folder(upstream: &Sink, state: &Folder, version: Version) -> Folder {
    let state = state.path("state");
    let config = Config::to(upstream)
        .extension("sluice", &format!("admin: {{ endpoint: '127.0.0.1:0' }}\nstate_dir: '{}'", state.display()))
        .processor(PLUGIN, "module: rollout.wasm");
    let folder = Folder::new(&config.yaml());
    folder.write("rollout.wasm", guests::rollout(version));
    folder
}

/// Waits for a rollback by itself beyond those events that were `seen`.
#[track_caller]
fn rolled_back(sluice: &Sluice, seen: usize) -> Value {
    let event = sluice.wait_swap(PLUGIN, seen);
    assert_eq!((&event["outcome"], &event["trigger"]), (&"rolled_back".into(), &"probation".into()), "{event}");
    event
}

/// Has it end while version one serves.
#[track_caller]
fn ends_with_one(sluice: Sluice, upstream: &Sink, flow: Flow) {
    flows(upstream, 100);
    let sent = flow.end();
    assert_eq!(shown(&sluice)["version"], "one");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), arrived(upstream, &end)), (0, 0, sent), "{}", end.stderr);
    assert_eq!(end.account.dropped_by(PLUGIN), 0);
}

#[test]
fn a_bad_version_goes_back_to_the_last_that_has_proved_itself() {
    let (upstream, state) = (Sink::start(), Folder::new(""));
    let sluice = Sluice::start_in(folder(&upstream, &state, ONE));
    let flow = Flow::start(&sluice, 21);
    // Version three comes before version two has proved itself.
    let two = replace(&sluice, BAD_TWO);
    let three = replace(&sluice, BAD_THREE);
    assert_eq!((&two["outcome"], &three["outcome"]), (&"swapped".into(), &"swapped".into()), "{two} {three}");
    flow.turn_bad();
    let gone = rolled_back(&sluice, 3);
    assert_eq!((&gone["from"], &gone["to"]), (&three["to"], &two["from"]), "{gone}");
    ends_with_one(sluice, &upstream, flow);
}

#[test]
fn a_version_that_comes_back_unproved_is_on_probation_again() {
    let (upstream, state) = (Sink::start(), Folder::new(""));
    let sluice = Sluice::start_in(folder(&upstream, &state, ONE));
    let flow = Flow::start(&sluice, 22);
    let two = replace(&sluice, BAD_TWO);
    let three = replace(&sluice, BAD_THREE);
    // It is not known any more that version one has proved itself.
    fs::remove_file(state.path("state/versions/wasm%2Frollout/proved")).unwrap();
    flow.turn_bad();
    let gone = rolled_back(&sluice, 3);
    assert_eq!((&gone["from"], &gone["to"]), (&three["to"], &two["to"]), "{gone}");
    let gone = rolled_back(&sluice, 4);
    assert_eq!((&gone["from"], &gone["to"]), (&two["to"], &two["from"]), "{gone}");
    ends_with_one(sluice, &upstream, flow);
}

#[test]
fn a_version_without_a_good_call_does_not_prove_itself_by_not_being_called() {
    // It fails once, and is not called any more: then probes fail, or there is none until its probation is over.
    let never = "restart: { initial_interval: 10m, max_interval: 10m, budget: 0 }\n    rollout: { probation: 5s }";
    for (settings, why) in [
        ("restart: { budget: 0 }", "calls have failed; max_failure_ratio"),
        (never, "1 of 1 calls have failed, and none has gone well; max_failure_ratio"),
    ] {
        let (upstream, state) = (Sink::start(), Folder::new(""));
        let folder = folder(&upstream, &state, ONE);
        let config = fs::read_to_string(folder.config()).unwrap();
        let with = |module: &str| config.replace("module: rollout.wasm", &format!("module: {module}\n    {settings}"));
        folder.write("config.yaml", with("rollout.wasm"));
        folder.write("two.wasm", guests::rollout(BAD_TWO));
        let sluice = Sluice::start_in(folder);
        // With another configuration nobody stands by.
        sluice.folder().write("config.yaml", with("two.wasm\n    on_poison: drop"));
        let two = sluice.wait_swap(PLUGIN, 1);
        assert_eq!(two["outcome"], "swapped", "{two}");
        let (client, mut sent) = (send::Grpc::new(sluice.grpc()).unwrap(), 0);
        wait::until("spans to be taken again", || {
            let spans: Vec<_> = (0..20).map(|id| span(&[7; 16], sent + id, "bad")).collect();
            // Those that are refused come again.
            sent += client.send(&odd::request(&spans)).map_or(0, |_| 20);
            (sent > 0).then_some(())
        });
        let gone = rolled_back(&sluice, 2);
        assert_eq!((&gone["from"], &gone["to"]), (&two["to"], &two["from"]), "{gone}");
        assert!(gone["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{gone}");
        upstream.wait_for_spans(sent);
        assert_eq!(shown(&sluice)["version"], "one");
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing(), arrived(&upstream, &end)), (0, 0, sent), "{}", end.stderr);
        assert_eq!(end.account.dropped_by(PLUGIN), 0);
    }
}

#[test]
fn a_restart_does_not_end_a_probation() {
    let (upstream, state) = (Sink::start(), Folder::new(""));
    let sluice = Sluice::start_in(folder(&upstream, &state, ONE));
    let two = replace(&sluice, BAD_TWO);
    assert_eq!(sluice.terminate().code, 0);
    let sluice = Sluice::start_in(folder(&upstream, &state, BAD_TWO));
    assert_eq!(shown(&sluice)["digest"], two["to"]);
    let flow = Flow::start(&sluice, 23);
    flow.turn_bad();
    let gone = rolled_back(&sluice, 1);
    assert_eq!((&gone["from"], &gone["to"]), (&two["to"], &two["from"]), "{gone}");
    // Version one has proved itself: it serves from the start, and is not watched.
    flows(&upstream, 100);
    assert_eq!(sluice.log().events("plugin.probation").len(), 1);
    ends_with_one(sluice, &upstream, flow);
}

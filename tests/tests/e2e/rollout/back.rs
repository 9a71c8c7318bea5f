//! A version on probation has to go while another one is tried beside it.

use serde_json::Value;
use sluice_tests::collector::Sluice;
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use super::{Flow, ONE, PLUGIN, TWO, flows, order, replace, serving, shown, start};
use crate::guests::{self, Fails, Version};

/// Fails on spans that are named `bad`.
const BAD_TWO: Version = Version { fails: Fails::Traps, ..TWO };

/// A collector in which that is on probation, and another version is tried beside it; spans flow. Gives the event of
/// the coming of each.
fn on_probation(upstream: &Sink, seed: u64, beside: Version) -> (Sluice, Flow, [Value; 2]) {
    // What calls take is no reason to go here.
    let rollout = "strategy: canary, share: 0.1, for: 1h, probation: 1h, max_latency_ratio: 1000000";
    let sluice = start(upstream, rollout);
    let flow = Flow::start(&sluice, seed);
    flows(upstream, 100);
    let two = replace(&sluice, BAD_TWO);
    assert_eq!(order(&sluice, "promote").code, 0);
    assert_eq!(sluice.wait_swap(PLUGIN, 2)["to"], two["to"]);
    let tried = replace(&sluice, beside);
    assert_eq!((&tried["outcome"], &tried["from"]), (&"candidate".into(), &two["to"]), "{tried}");
    (sluice, flow, [two, tried])
}

/// Has it fail. Sees version one come back by itself, and the trial of the other one end.
#[track_caller]
fn goes(sluice: &Sluice, flow: &Flow, [two, tried]: &[Value; 2]) {
    flow.turn_bad();
    let gone = sluice.wait_swap(PLUGIN, 4);
    assert_eq!((&gone["outcome"], &gone["trigger"]), (&"rolled_back".into(), &"probation".into()), "{gone}");
    assert_eq!((&gone["from"], &gone["to"]), (&two["to"], &two["from"]), "{gone}");
    let ended = sluice.wait_swap(PLUGIN, 5);
    assert_eq!((&ended["outcome"], &ended["from"]), (&"superseded".into(), &tried["to"]), "{ended}");
    wait::until("it to be remembered", || (shown(sluice)["rolled_back"] == two["to"]).then_some(()));
    assert_eq!(serving(sluice), [("one".to_owned(), 1.0)]);
}

/// Reads the modules again.
fn swap(sluice: &Sluice) -> Value {
    let done: Value = serde_json::from_str(&order(sluice, "swap").stdout).unwrap();
    done["outcome"].clone()
}

#[track_caller]
fn ends(sluice: Sluice, upstream: &Sink, flow: Flow) {
    flows(upstream, 100);
    flow.end();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_bad_version_goes_back_to_the_one_that_is_tried_beside_it() {
    let upstream = Sink::start();
    let (sluice, flow, came) = on_probation(&upstream, 71, ONE);
    goes(&sluice, &flow, &came);
    let now = shown(&sluice);
    assert_eq!((&now["digest"], now.get("candidate")), (&came[0]["from"], None), "{now}");
    assert_eq!(swap(&sluice), "unchanged", "it is what the file holds");
    ends(sluice, &upstream, flow);
}

#[test]
fn what_was_tried_beside_a_bad_version_is_tried_beside_the_one_that_comes_back() {
    let upstream = Sink::start();
    let (sluice, flow, came) = on_probation(&upstream, 72, Version::new("thr"));
    goes(&sluice, &flow, &came);
    let [two, three] = came;
    let again = sluice.wait_swap(PLUGIN, 6);
    assert_eq!(
        (&again["outcome"], &again["trigger"], &again["from"], &again["to"]),
        (&"candidate".into(), &"turn".into(), &two["from"], &three["to"]),
        "{again}"
    );
    // The bad one is not, although its file comes back.
    sluice.folder().write("rollout.wasm", guests::rollout(BAD_TWO));
    let ended = sluice.wait_swap(PLUGIN, 7);
    assert_eq!((&ended["outcome"], &ended["to"]), (&"superseded".into(), &two["from"]), "{ended}");
    assert_eq!(swap(&sluice), "unchanged");
    let now = shown(&sluice);
    assert_eq!((&now["digest"], now.get("candidate")), (&two["from"], None), "{now}");
    ends(sluice, &upstream, flow);
}

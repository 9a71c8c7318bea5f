//! What else happens while a canary is tried: its plugin leaves, something else changes, the process ends.

use std::thread;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait};

use super::{Flow, ONE, PLUGIN, TWO, arrived, flows, marks, order, replace, serving, shown, span, start};
use crate::guests;
use crate::odd;
use crate::swap::wait_for_text;

/// The names of the series that are about what a plugin is now, and that are shown.
fn states(sluice: &Sluice) -> Vec<String> {
    let metrics = sluice.metrics();
    let names = ["sluice_plugin_info", "sluice_plugin_breaker_state", "sluice_plugin_memory_bytes"];
    let shown = |name: &&str| metrics.all(name).any(|sample| sample.label("plugin") == PLUGIN);
    names.into_iter().filter(shown).map(str::to_owned).collect()
}

#[test]
fn a_plugin_that_leaves_takes_its_canary_along_and_is_shown_no_more() {
    const CHAIN: &str = "processors: [wasm/rollout]";
    let upstream = Sink::start();
    let sluice = start(&upstream, "strategy: canary, share: 0.5, for: 1h");
    let flow = Flow::start(&sluice, 51);
    let came = replace(&sluice, TWO);
    assert_eq!(came["outcome"], "candidate", "{came}");
    wait_for_text(&upstream, "mark", "two");
    assert_eq!(states(&sluice).len(), 3);
    let with = std::fs::read_to_string(sluice.folder().config()).unwrap();
    assert!(with.contains(CHAIN), "{with}");
    sluice.folder().write("config.yaml", with.replace(CHAIN, "processors: []"));
    let gone = sluice.wait_swap(PLUGIN, 2);
    assert_eq!(
        (&gone["outcome"], &gone["from"], &gone["to"]),
        (&"superseded".into(), &came["to"], &"".into()),
        "{gone}"
    );
    wait::until("the reload", || sluice.log().find("reload"));
    let none = order(&sluice, "show");
    assert_eq!(none.code, 1, "{none:?}");
    upstream.take();
    flows(&upstream, 1_000);
    assert_eq!(states(&sluice), Vec::<String>::new());
    let metrics = sluice.metrics();
    assert!(metrics.sum("sluice_plugin_calls_total", &[("plugin", PLUGIN)]) > 0.0, "what was counted stays");

    // It comes back with the module that is in the file.
    sluice.folder().write("config.yaml", with);
    let back = sluice.wait_swap(PLUGIN, 3);
    assert_eq!((&back["outcome"], &back["to"], &back["from"]), (&"swapped".into(), &came["to"], &"".into()), "{back}");
    wait_for_text(&upstream, "mark", "two");
    let shown = [("plugin", PLUGIN), ("version", "two")];
    assert_eq!((states(&sluice).len(), sluice.metrics().sum("sluice_plugin_info", &shown)), (3, 1.0));
    flow.end();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "refused"), 0);
}

#[test]
fn what_serves_after_a_trial_is_shown_although_the_configuration_has_changed_meanwhile() {
    const BEFORE: &str = "strategy: canary, share: 0.1, for: 1h";
    for (now, outcome) in [("strategy: immediate", "swapped"), ("strategy: canary, share: 0.2, for: 1h", "candidate")] {
        let upstream = Sink::start();
        let sluice = start(&upstream, BEFORE);
        let came = replace(&sluice, TWO);
        assert_eq!(came["outcome"], "candidate", "{came}");
        assert_eq!(serving(&sluice), [("one".to_owned(), 1.0)]);
        let config = std::fs::read_to_string(sluice.folder().config()).unwrap();
        assert!(config.contains(BEFORE), "{config}");
        sluice.folder().write("config.yaml", config.replace(BEFORE, now));
        // The reload of the module, and that of the configuration.
        wait::until("the reload", || sluice.log().events("reload").into_iter().nth(1));
        let swaps = sluice.swaps(PLUGIN).split_off(2);
        let outcomes: Vec<_> = swaps.iter().map(|swap| swap["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, [outcome, "superseded"], "{swaps:?}");
        if outcome == "candidate" {
            assert_eq!(serving(&sluice), [("one".to_owned(), 1.0)]);
            assert_eq!(order(&sluice, "promote").code, 0);
        }
        assert_eq!(shown(&sluice)["digest"], came["to"]);
        assert_eq!(serving(&sluice), [("two".to_owned(), 1.0)]);
        assert_eq!(sluice.terminate().code, 0);
    }
}

#[test]
fn a_trial_goes_on_when_another_plugin_changes() {
    const OTHER: &str = "attributes/note";
    let upstream = Sink::start();
    let note = |note: &str| format!("actions: [{{ key: note, value: {note}, action: upsert }}]");
    let config = |value: &str| {
        Config::to(&upstream)
            .extension("sluice", "admin: { endpoint: '127.0.0.1:0', token_file: token }")
            .processor(PLUGIN, "module: rollout.wasm\nrollout: { strategy: canary, share: 0.5, for: 1h }")
            .processor(OTHER, &note(value))
    };
    let folder = Folder::new(&config("first").yaml());
    folder.write("token", "a token of this test\n");
    folder.write("rollout.wasm", guests::rollout(ONE));
    let sluice = Sluice::start_in(folder);
    let flow = Flow::start(&sluice, 52);
    let came = replace(&sluice, TWO);
    assert_eq!(came["outcome"], "candidate", "{came}");
    wait_for_text(&upstream, "mark", "two");
    let before = shown(&sluice)["candidate"].clone();
    let seen = sluice.swaps(OTHER).len();
    sluice.rewrite(&config("second"));
    assert_eq!(sluice.wait_swap(OTHER, seen)["outcome"], "swapped");
    wait_for_text(&upstream, "note", "second");
    upstream.take();
    wait_for_text(&upstream, "mark", "two");
    // The same trial, not one that was begun anew.
    let after = shown(&sluice)["candidate"].clone();
    assert_eq!((&after["digest"], &after["since"]), (&before["digest"], &before["since"]), "{after}");
    assert!(after["spans"].as_u64() > before["spans"].as_u64(), "{before} {after}");
    assert_eq!(sluice.swaps(PLUGIN).len(), 2, "{:?}", sluice.swaps(PLUGIN));
    assert_eq!(order(&sluice, "promote").code, 0);
    assert_eq!(shown(&sluice)["digest"], came["to"]);
    flow.end();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "refused"), 0);
}

#[test]
fn a_process_that_ends_amid_a_canary_delivers_what_it_has_accepted() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "strategy: canary, share: 0.5, for: 1h");
    let came = replace(&sluice, TWO);
    assert_eq!(came["outcome"], "candidate", "{came}");
    let address = sluice.grpc();
    // It sends until it is refused: then the process ends.
    let sender = thread::spawn(move || {
        let (client, mut chance) = (send::Grpc::new(address).unwrap(), StdRng::seed_from_u64(53));
        let mut request = || odd::request(&(0..20).map(|id| span(&chance.random(), id, "a")).collect::<Vec<_>>());
        let mut taken = 0;
        while client.send(&request()).is_ok() {
            taken += 20;
        }
        taken
    });
    wait_for_text(&upstream, "mark", "two");
    wait_for_text(&upstream, "mark", "one");
    let end = sluice.terminate();
    let taken: u64 = sender.join().unwrap();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    let accepted = end.account.sum("receiver", "accepted") as u64;
    assert_eq!((arrived(&upstream, &end), end.account.sum("pipeline", "held")), (accepted, 0), "{}", end.stderr);
    // The last answer may have been on its way when the connection ended.
    assert!((taken..=taken + 20).contains(&accepted), "{taken} {accepted}");
    let marks = marks(&upstream.decoded_spans());
    assert!(marks.len() == 2 && marks["one"] > 0 && marks["two"] > 0, "{marks:?}");
}

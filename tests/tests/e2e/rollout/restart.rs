//! A restart proves nothing: what was tried is tried again, what was watched is watched on.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sluice_tests::collector::{Config, Folder, Sluice, config};
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait};

use super::{Flow, ONE, PLUGIN, TWO, replace, shown, span};
use crate::guests::{self, Fails, Version};
use crate::odd;

/// What serves with this version in the file, and with what is left in `state` by those before.
fn folder(upstream: &Sink, state: &Path, rollout: &str, version: Version) -> Folder {
    let settings = format!("module: rollout.wasm\nrollout: {{ {rollout} }}\nlimits: {{ timeout: 100ms }}");
    let admin = "admin: { endpoint: '127.0.0.1:0', token_file: token }";
    let config = Config::new()
        .exporter("otlp_grpc", &config::grpc(upstream, "sending_queue: { batch: { flush_timeout: 20ms } }"))
        .extension("sluice", &format!("{admin}\nstate_dir: '{}'", state.join("state").display()))
        .processor(PLUGIN, &settings);
    let folder = Folder::new(&config.yaml());
    folder.write("token", "a token of this test\n");
    folder.write("rollout.wasm", guests::rollout(version));
    folder
}

/// Drops almost everything.
const DROPS: Version = Version { drops: 99, ..TWO };
/// Traps on spans that are named `bad`.
const TRAPS: Version = Version { fails: Fails::Traps, ..TWO };

fn outcomes(sluice: &Sluice) -> Vec<String> {
    let of =
        |event: &Value| [&event["trigger"], &event["outcome"]].map(|text| text.as_str().unwrap().to_owned()).join(" ");
    sluice.swaps(PLUGIN).iter().map(of).collect()
}

/// Sends what version [`TRAPS`] traps on until something becomes of it, and gives that.
fn until_next(sluice: &Sluice, seen: usize) -> Value {
    let request = odd::request(&[span(&[7; 16], 1, "bad")]);
    let client = send::Grpc::new(sluice.grpc()).unwrap();
    wait::until("the next swap", || {
        let _ = client.send(&request);
        sluice.swaps(PLUGIN).into_iter().nth(seen)
    })
}

/// How the first process ends.
enum Ends {
    ByTerm,
    ByKill,
    TakenOver,
}

/// A bad version is tried, and the process ends.
fn is_tried_again(phase: &str, ends: &Ends) {
    let (upstream, state) = (Sink::start(), tempfile::tempdir().unwrap());
    let rollout = format!("strategy: {phase}, share: 0.1, for: 1h, max_drop_ratio: 0.5");
    let folder = |version| folder(&upstream, state.path(), &rollout, version);
    let first = Sluice::start_in(folder(ONE));
    let came = replace(&first, DROPS);
    assert_eq!(came["outcome"], "candidate", "{came}");
    let second = match ends {
        Ends::ByTerm => {
            assert_eq!(first.terminate().code, 0);
            Sluice::start_in(folder(DROPS))
        }
        Ends::ByKill => {
            drop(first);
            Sluice::start_in(folder(DROPS))
        }
        Ends::TakenOver => {
            let second = Sluice::spawn_with(folder(DROPS), &["--take-over"], &[]);
            second.wait_ready();
            assert_eq!(first.wait_end().code, 0);
            second
        }
    };
    let now = shown(&second);
    assert_eq!((&now["version"], &now["digest"]), (&"one".into(), &came["from"]), "{now}");
    assert_eq!((&now["candidate"]["digest"], &now["candidate"]["phase"]), (&came["to"], &phase.into()), "{now}");
    assert_eq!(outcomes(&second), ["start swapped", "start candidate"]);
    let flow = Flow::start(&second, 1);
    let gone = second.wait_swap(PLUGIN, 2);
    let sent = flow.end();
    assert_eq!((&gone["outcome"], &gone["trigger"]), (&"rolled_back".into(), &phase.into()), "{gone}");
    wait::until("it to be remembered", || (shown(&second)["rolled_back"] == came["to"]).then_some(()));
    let end = second.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    let dropped = end.account.dropped_by(PLUGIN);
    assert!(dropped * 5 < sent as i64, "{dropped} of {sent} spans are dropped");

    // What was let go of does not come again.
    let third = Sluice::start_in(folder(DROPS));
    let now = shown(&third);
    assert_eq!((&now["digest"], now.get("candidate")), (&came["from"], None), "{now}");
    assert_eq!(outcomes(&third), ["start swapped"]);
    assert_eq!(third.terminate().code, 0);
}

#[test]
fn a_restart_in_the_middle_of_a_canary_tries_it_again() {
    is_tried_again("canary", &Ends::ByTerm);
}

#[test]
fn a_kill_in_the_middle_of_a_shadow_tries_it_again() {
    is_tried_again("shadow", &Ends::ByKill);
}

#[test]
fn who_takes_over_in_the_middle_of_a_canary_tries_it_again() {
    is_tried_again("canary", &Ends::TakenOver);
}

#[test]
fn a_version_that_came_while_the_process_was_down_is_on_probation_and_a_restart_does_not_end_that() {
    let (upstream, state) = (Sink::start(), tempfile::tempdir().unwrap());
    let folder = |version| folder(&upstream, state.path(), "strategy: immediate, probation: 1h", version);
    let first = Sluice::start_in(folder(ONE));
    let one = shown(&first)["digest"].clone();
    assert_eq!(first.terminate().code, 0);
    let new = Sluice::start_in(folder(TRAPS));
    assert_eq!((&shown(&new)["version"], &new.swaps(PLUGIN)[0]["from"]), (&"two".into(), &one));
    assert_eq!(new.terminate().code, 0);
    let sluice = Sluice::start_in(folder(TRAPS));
    let gone = until_next(&sluice, 1);
    assert_eq!((&gone["trigger"], &gone["outcome"], &gone["to"]), (&"probation".into(), &"rolled_back".into(), &one));
    wait::until("it to be remembered", || shown(&sluice)["rolled_back"].is_string().then_some(()));
    assert_eq!(sluice.terminate().code, 0);
    let last = Sluice::start_in(folder(TRAPS));
    assert_eq!(shown(&last)["digest"], one);
    assert_eq!(last.terminate().code, 0);
}

#[test]
fn a_kept_version_that_cannot_serve_stands_in_nobodys_way() {
    let (upstream, state) = (Sink::start(), tempfile::tempdir().unwrap());
    let folder = |version| folder(&upstream, state.path(), "strategy: canary, for: 1h", version);
    let first = Sluice::start_in(folder(ONE));
    let one = shown(&first)["digest"].as_str().unwrap().to_owned();
    assert_eq!(first.terminate().code, 0);
    let kept = state.path().join("state/versions").join(PLUGIN.replace('/', "%2F")).join(format!("{one}.wasm"));
    fs::write(kept, guests::rollout(Version::new("odd"))).unwrap();
    let again = Sluice::start_in(folder(TWO));
    let now = shown(&again);
    assert_eq!((&now["version"], now.get("candidate")), (&"two".into(), None), "{now}");
    let told = again.log().find("plugin.versions").unwrap();
    assert!(told["digest"] == one && told["reason"].as_str().unwrap().contains("its sha256 is"), "{told}");
    assert_eq!(again.terminate().code, 0);
}

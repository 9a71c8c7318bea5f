//! Of a chain one plugin has a canary at a time; the next one waits for its turn, and has it.

use serde_json::Value;
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use super::{ONE, PLUGIN, TWO, order, order_of, replace};
use crate::guests::{self, Version};

const SECOND: &str = "wasm/second";
const SIDE: &str = "wasm/side";

/// The plugins, and their modules.
const MODULES: [(&str, &str); 3] = [(PLUGIN, "rollout.wasm"), (SECOND, "second.wasm"), (SIDE, "side.wasm")];

/// Pipelines, and their plugins.
type Chains = [(&'static str, &'static [&'static str]); 2];

/// Two of the plugins in one chain, and in two.
const TOGETHER: Chains = [("traces", &[PLUGIN, SECOND]), ("traces/side", &[SIDE])];
const APART: Chains = [("traces", &[PLUGIN]), ("traces/side", &[SECOND, SIDE])];

fn config(upstream: &Sink, chains: &Chains) -> Config {
    let admin = "admin: { endpoint: '127.0.0.1:0', token_file: token }";
    let mut config = Config::to(upstream).extension("sluice", admin);
    for (plugin, module) in MODULES {
        let rollout = "{ strategy: canary, share: 0.5, for: 1h }";
        config =
            config.processor(plugin, &format!("module: {module}\nrollout: {rollout}\nlimits: {{ timeout: 100ms }}"));
    }
    chains.iter().fold(config, |config, (id, chain)| config.pipeline(id, &["otlp"], chain, &["otlp_grpc"]))
}

/// A collector in which version one of each plugin serves.
fn start_chains(config: &Config) -> Sluice {
    let folder = Folder::new(&config.yaml());
    folder.write("token", "a token of this test\n");
    for (_, module) in MODULES {
        folder.write(module, guests::rollout(ONE));
    }
    Sluice::start_in(folder)
}

/// Replaces the module of a plugin, and gives the event of what becomes of it first.
#[track_caller]
fn replace_of(sluice: &Sluice, plugin: &str, version: Version) -> Value {
    let seen = sluice.swaps(plugin).len();
    let (_, module) = MODULES.into_iter().find(|(known, _)| *known == plugin).unwrap();
    sluice.folder().write(module, guests::rollout(version));
    sluice.wait_swap(plugin, seen)
}

/// Waits until versions had to wait so many times, and gives the last event of that.
#[track_caller]
fn waits(sluice: &Sluice, times: usize) -> Value {
    wait::until("a version that waits", || sluice.log().events("plugin.waits").into_iter().nth(times - 1))
}

#[test]
fn of_a_chain_one_plugin_has_a_canary_at_a_time_and_the_next_one_has_its_turn() {
    let upstream = Sink::start();
    let sluice = start_chains(&config(&upstream, &TOGETHER));
    let first = replace(&sluice, TWO);
    assert_eq!(first["outcome"], "candidate", "{first}");
    // That of another chain does not wait; that of the same chain does, and nothing comes of it before.
    assert_eq!(replace_of(&sluice, SIDE, TWO)["outcome"], "candidate");
    let seen = sluice.swaps(SECOND).len();
    sluice.folder().write("second.wasm", guests::rollout(TWO));
    let told = waits(&sluice, 1);
    assert_eq!((&told["plugin"], &told["behind"]), (&SECOND.into(), &PLUGIN.into()), "{told}");
    assert_eq!((&told["from"], &told["to"]), (&first["from"], &first["to"]), "{told}");
    let again: Value = serde_json::from_str(&order_of(&sluice, SECOND, "swap").stdout).unwrap();
    assert_eq!(again["outcome"], "waits", "{again}");
    assert_eq!(sluice.swaps(SECOND).len(), seen);
    // However the first one ends, the next one has its turn then, and now the first one has to wait.
    assert_eq!(order(&sluice, "abort").code, 0);
    let turn = sluice.wait_swap(SECOND, seen);
    assert_eq!((&turn["outcome"], &turn["trigger"], &turn["to"]), (&"candidate".into(), &"turn".into(), &first["to"]));
    sluice.folder().write("rollout.wasm", guests::rollout(Version { burns: 2, ..TWO }));
    assert_eq!(waits(&sluice, 2)["plugin"], PLUGIN);
    let seen = sluice.swaps(PLUGIN).len();
    assert_eq!(order_of(&sluice, SECOND, "promote").code, 0);
    assert_eq!(sluice.wait_swap(PLUGIN, seen)["outcome"], "candidate");
    assert_eq!(sluice.log().events("plugin.waits").len(), 2, "it is told once");
    let waited = [("plugin", SECOND), ("outcome", "waits"), ("step", "canary")];
    assert_eq!(sluice.metrics().sum("sluice_plugin_swaps_total", &waited), 1.0);
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn a_version_that_waits_has_its_turn_although_the_one_that_serves_was_rolled_back() {
    let upstream = Sink::start();
    let sluice = start_chains(&config(&upstream, &TOGETHER));
    let two = replace_of(&sluice, SECOND, TWO);
    assert_eq!(two["outcome"], "candidate", "{two}");
    assert_eq!(order_of(&sluice, SECOND, "promote").code, 0);
    assert_eq!(replace(&sluice, TWO)["outcome"], "candidate");
    sluice.folder().write("second.wasm", guests::rollout(Version::new("thr")));
    let told = waits(&sluice, 1);
    assert_eq!((&told["plugin"], &told["behind"]), (&SECOND.into(), &PLUGIN.into()), "{told}");
    let rolled_back = order_of(&sluice, SECOND, "rollback");
    assert_eq!(rolled_back.code, 0, "{rolled_back:?}");
    let seen = sluice.swaps(SECOND).len();
    assert_eq!(order(&sluice, "promote").code, 0);
    let turn = sluice.wait_swap(SECOND, seen);
    assert_eq!(
        (&turn["outcome"], &turn["trigger"], &turn["from"], &turn["to"]),
        (&"candidate".into(), &"turn".into(), &two["from"], &told["to"]),
        "{turn}"
    );
    // What was rolled back does not come again in this way.
    let gone = replace_of(&sluice, SECOND, TWO);
    assert_eq!((&gone["outcome"], &gone["to"]), (&"superseded".into(), &two["from"]), "{gone}");
    let again: Value = serde_json::from_str(&order_of(&sluice, SECOND, "swap").stdout).unwrap();
    assert_eq!(again["outcome"], "unchanged", "{again}");
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn of_two_canaries_whose_chains_become_one_only_one_goes_on() {
    let upstream = Sink::start();
    let sluice = start_chains(&config(&upstream, &APART));
    let came = [replace(&sluice, TWO), replace_of(&sluice, SECOND, TWO)];
    assert!(came.iter().all(|came| came["outcome"] == "candidate"), "{came:?}");
    sluice.rewrite(&config(&upstream, &TOGETHER));
    let told = waits(&sluice, 1);
    let [waiting, behind] = [&told["plugin"], &told["behind"]].map(|id| id.as_str().unwrap());
    assert!([[PLUGIN, SECOND], [SECOND, PLUGIN]].contains(&[waiting, behind]), "{told}");
    let gone = sluice.wait_swap(waiting, 2);
    assert_eq!((&gone["outcome"], &gone["from"], &gone["to"]), (&"superseded".into(), &told["to"], &told["from"]));
    let candidate = |plugin: &str| {
        let shown = order_of(&sluice, plugin, "show");
        serde_json::from_str::<Value>(&shown.stdout).unwrap().get("candidate").cloned()
    };
    assert_eq!((candidate(waiting), candidate(behind).unwrap()["digest"].clone()), (None, told["to"].clone()));
    assert_eq!(sluice.swaps(behind).len(), 2, "it goes on");
    assert_eq!(order_of(&sluice, behind, "promote").code, 0);
    let turn = sluice.wait_swap(waiting, 3);
    assert_eq!((&turn["outcome"], &turn["trigger"], &turn["to"]), (&"candidate".into(), &"turn".into(), &told["to"]));
    assert_eq!(sluice.terminate().code, 0);
}

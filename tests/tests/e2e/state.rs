//! What a plugin knows in its memory moves to its next version, and back.

use std::ffi::OsStr;
use std::fs;
use std::sync::OnceLock;

use serde_json::Value;
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::send::{Grpc, http};
use sluice_tests::sink::Sink;
use sluice_tests::{process, wait};

use crate::swap::text;
use crate::{guests, odd};

/// What stands in the guest as it was built.
const BLOCK: &str = "state-test takes=count- schema=1 version=001";

/// A version of the guest: what it does with snapshots, its layout, its number.
#[track_caller]
fn version(takes: &str, schema: u32, number: u32) -> Vec<u8> {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let out = process::target().join("test-guests/counter.wasm");
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        guests::build(&process::workspace().join("tests/guests/counter"), &[OsStr::new("--out"), out.as_os_str()]);
        fs::read(out).unwrap()
    });
    let block = format!("state-test takes={takes:-<6} schema={schema} version={number:03}");
    let at = built.windows(BLOCK.len()).position(|bytes| bytes == BLOCK.as_bytes()).unwrap();
    let mut version = built.clone();
    version[at..at + BLOCK.len()].copy_from_slice(block.as_bytes());
    version
}

/// A collector with one version of the guest, and a sender that stays on one core.
struct Stage {
    upstream: Sink,
    sluice: Sluice,
    client: Grpc,
}

impl Stage {
    fn start(first: &[u8]) -> Self {
        let upstream = Sink::start();
        let config = Config::to(&upstream)
            .extension("sluice", "admin: { endpoint: '127.0.0.1:0', token_file: token }")
            .processor("wasm/counter", "module: counter.wasm\nlimits: { output_mib: 1 }");
        let folder = Folder::new(&config.yaml());
        folder.write("token", "a token of this test\n");
        folder.write("counter.wasm", first);
        let sluice = Sluice::start_in(folder);
        let client = Grpc::new(sluice.grpc()).unwrap();
        Self { upstream, sluice, client }
    }

    /// The count that the next span gets.
    #[track_caller]
    fn count(&self) -> u64 {
        let before = self.upstream.spans();
        self.client.send(&odd::request(&[odd::span(1, 1, &[])])).unwrap();
        self.upstream.wait_for_spans(before + 1);
        text(self.upstream.decoded_spans().last().unwrap(), "count").unwrap().parse().unwrap()
    }

    /// Puts another version in place, and gives the event.
    #[track_caller]
    fn replace(&self, version: &[u8]) -> Value {
        let seen = self.sluice.swaps("wasm/counter").len();
        self.sluice.folder().write("counter.wasm", version);
        self.sluice.wait_swap("wasm/counter", seen)
    }

    #[track_caller]
    fn roll_back(&self) -> Value {
        let path = "/v1/plugins/wasm/counter/rollback";
        let post = http::Post::json("").path(path).header("authorization", "Bearer a token of this test");
        let reply = post.to(self.sluice.address("sluice", "http")).unwrap();
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// The last event about state.
    #[track_caller]
    fn state(&self) -> Value {
        wait::until("an event about state", || self.sluice.log().events("plugin.state").pop())
    }

    #[track_caller]
    fn end(self) {
        let end = self.sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    }
}

#[test]
fn the_next_version_goes_on_from_what_this_one_knows_and_so_does_one_that_comes_back() {
    let stage = Stage::start(&version("count", 1, 1));
    assert_eq!([stage.count(), stage.count(), stage.count()], [1, 2, 3]);
    let swap = stage.replace(&version("count", 1, 2));
    assert_eq!(swap["outcome"], "swapped", "{swap}");
    assert!(swap["ms"]["restore"].is_number(), "{swap}");
    let state = stage.state();
    assert_eq!(
        (&state["outcome"], &state["snapshots"], &state["bytes"]),
        (&"restored".into(), &1.into(), &8.into()),
        "the other core's instance knows nothing: {state}"
    );
    assert_eq!([stage.count(), stage.count()], [4, 5]);
    assert_eq!(stage.roll_back()["outcome"], "applied");
    assert_eq!(stage.count(), 6);
    stage.end();
}

#[test]
fn another_layout_starts_empty() {
    let stage = Stage::start(&version("count", 1, 1));
    assert_eq!([stage.count(), stage.count()], [1, 2]);
    // It would refuse what it is given.
    assert_eq!(stage.replace(&version("failed", 2, 2))["outcome"], "swapped");
    let state = stage.state();
    assert_eq!(
        (&state["outcome"], &state["before"], &state["next"]),
        (&"empty".into(), &1.into(), &2.into()),
        "{state}"
    );
    assert_eq!(stage.count(), 1);
    stage.end();
}

#[test]
fn a_version_that_cannot_take_over_does_not_serve() {
    let stage = Stage::start(&version("count", 1, 1));
    assert_eq!(stage.count(), 1);
    for (known, takes, reason) in [
        (1, "failed", "these snapshots are not for me"),
        (2, "traps", "unreachable"),
        (3, "spins", "the call used up its time"),
    ] {
        let swap = stage.replace(&version(takes, 1, 2));
        assert_eq!((&swap["outcome"], &swap["step"]), (&"failed".into(), &"restore".into()), "{swap}");
        let told = swap["reason"].as_str().unwrap();
        assert!(told.contains(reason) && told.contains("`schema`"), "{told}");
        assert_eq!(stage.count(), known + 1, "the version before has lost nothing");
    }
    let metrics = stage.sluice.metrics();
    let shown: Vec<_> = metrics.all("sluice_plugin_info").map(|sample| sample.value).collect();
    assert_eq!(shown, [1.0], "nothing is shown of what was refused");
    stage.end();
}

#[test]
fn going_back_does_not_fail_for_what_the_version_that_goes_has_written() {
    let stage = Stage::start(&version("failed", 1, 1));
    assert_eq!(stage.count(), 1);
    assert_eq!(stage.replace(&version("count", 1, 2))["outcome"], "swapped");
    assert_eq!(stage.count(), 2);
    assert_eq!(stage.roll_back()["outcome"], "applied");
    let state = stage.state();
    assert_eq!(state["outcome"], "empty", "{state}");
    assert!(state["reason"].as_str().unwrap().contains("these snapshots are not for me"), "{state}");
    assert_eq!(stage.count(), 1);
    stage.end();
}

#[test]
fn a_version_that_cannot_hand_over_is_replaced_all_the_same_and_that_is_counted() {
    for (takes, kind) in [("plenty", "output"), ("stays", "trap"), ("keeps", "timeout")] {
        let stage = Stage::start(&version(takes, 1, 1));
        assert_eq!(stage.count(), 1);
        assert_eq!(stage.replace(&version("count", 1, 2))["outcome"], "swapped");
        assert_eq!(stage.count(), 1, "{takes}");
        let failures =
            stage.sluice.metrics().sum("sluice_plugin_failures_total", &[("plugin", "wasm/counter"), ("kind", kind)]);
        assert_eq!(failures, 1.0, "{takes}");
        stage.end();
    }
}

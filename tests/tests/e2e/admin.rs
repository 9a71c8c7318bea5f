//! The admin API tells what serves and changes it, for whoever has the token and is on this machine.

use std::net::SocketAddr;

use http::Method;
use serde_json::Value;
use sluice_tests::collector::{Config, Folder, Sluice, run};
use sluice_tests::send::http::{Post, Reply};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait, wire};

use crate::guests;
use crate::swap::stamp_now;

const TOKEN: &str = "a token of this test";

/// A collector with the API.
struct Served {
    sluice: Sluice,
    api: SocketAddr,
}

impl Served {
    fn start(upstream: &Sink) -> Self {
        let config = Config::to(upstream)
            .extension("sluice", "admin: { endpoint: '127.0.0.1:0', token_file: token }")
            .processor("wasm/tester", "module: tester.wasm\nconfig: { does: stamp }")
            .processor("attributes", "actions: [{ key: bundled, value: yes, action: upsert }]");
        let folder = Folder::new(&config.yaml());
        folder.write("token", format!("{TOKEN}\n"));
        folder.write("tester.wasm", guests::tester("one"));
        let sluice = Sluice::start_in(folder);
        let api = sluice.address("sluice", "http");
        Self { sluice, api }
    }

    fn module(&self, bytes: &[u8]) {
        self.sluice.folder().write("tester.wasm", bytes);
    }

    /// Puts another version in the place of the one that serves, and has the API look at it. The watch sees it,
    /// too, but waits a moment for more; if it was faster all the same, the one before is put back and it is all
    /// done again.
    #[track_caller]
    fn swapped_by(&self, path: &str, [before, next]: [&str; 2]) -> Value {
        wait::until("the API to be faster than the watch", || {
            self.module(&guests::tester(next));
            let (status, done) = self.post(path);
            assert_eq!(status, 200, "{done}");
            if done["outcome"] == "applied" {
                return Some(done);
            }
            self.module(&guests::tester(before));
            self.post(path);
            None
        })
    }

    fn get(&self, path: &str) -> Value {
        let reply = send::http::get(self.api, path).unwrap();
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/json"), "{path}");
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn post(&self, path: &str) -> (u16, Value) {
        let reply = Post::json("").path(path).header("authorization", &format!("Bearer {TOKEN}")).to(self.api).unwrap();
        (reply.status.as_u16(), json(&reply))
    }
}

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[test]
fn a_module_is_swapped_when_the_api_is_told_so() {
    let upstream = Sink::start();
    let served = Served::start(&upstream);
    let before = served.get("/v1/plugins/wasm/tester");
    assert_eq!((&before["plugin"], &before["version"]), (&"wasm/tester".into(), &"one".into()), "{before}");
    assert_eq!((&before["last_swap"]["trigger"], &before["signature"]["state"]), (&"start".into(), &"unsigned".into()));
    assert_eq!(
        served.post("/v1/plugins/wasm/tester/swap"),
        (200, serde_json::json!({ "outcome": "unchanged", "swaps": [] }))
    );

    let done = served.swapped_by("/v1/plugins/wasm%2Ftester/swap", ["one", "two"]);
    let after = served.get("/v1/plugins/wasm/tester");
    assert_eq!((&after["version"], &after["last_swap"]), (&"two".into(), &done["swaps"][0]), "{done}");
    assert_eq!((&after["last_swap"]["from"], &after["last_swap"]["to"]), (&before["digest"], &after["digest"]));
    let steps: Vec<_> = after["last_swap"]["ms"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(steps, ["compile", "configure", "instantiate", "read", "self_test", "swap", "verify"]);
    let event = served.sluice.swaps("wasm/tester").pop().unwrap();
    for key in ["from", "to", "trigger", "ms", "outcome"] {
        assert_eq!(event[key], after["last_swap"][key], "{event}");
    }
    assert_eq!(event["trigger"], "admin");
    assert_eq!(stamp_now(&served.sluice, &upstream, "stamp").as_deref(), Some("two"));
    // Nobody else was touched.
    assert_eq!(served.sluice.swaps("attributes").len(), 1);

    let done = served.swapped_by("/v1/reload", ["two", "one"]);
    assert_eq!(done["swaps"].as_array().unwrap().len(), 1, "{done}");
    let end = served.sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_swap_that_fails_is_answered_with_the_reason() {
    let upstream = Sink::start();
    let served = Served::start(&upstream);
    // After the watch has told of it, which does so once.
    let seen = served.sluice.swaps("wasm/tester").len();
    served.module(b"no component");
    assert_eq!(served.sluice.wait_swap("wasm/tester", seen)["trigger"], "file");
    for path in ["/v1/plugins/wasm/tester/swap", "/v1/reload"] {
        let (status, done) = served.post(path);
        assert_eq!((status, &done["outcome"]), (409, &"failed".into()), "{done}");
        assert!(done["error"].as_str().unwrap().contains("tester.wasm"), "{done}");
        let swap = &done["swaps"][0];
        assert_eq!((&swap["step"], &swap["outcome"]), (&"verify".into(), &"failed".into()), "{done}");
        assert!(swap["ms"]["verify"].is_number(), "{done}");
        let shown = served.get("/v1/plugins/wasm/tester");
        assert_eq!((&shown["last_swap"], &shown["version"]), (swap, &"one".into()));
    }
    assert_eq!(stamp_now(&served.sluice, &upstream, "stamp").as_deref(), Some("one"));
    let failed = [("plugin", "wasm/tester"), ("outcome", "failed"), ("step", "verify")];
    assert_eq!(served.sluice.metrics().sum("sluice_plugin_swaps_total", &failed), 3.0);
    assert_eq!(served.sluice.terminate().code, 0);
}

#[test]
fn strangers_get_nothing() {
    let upstream = Sink::start();
    let served = Served::start(&upstream);
    let status = |post: Post| {
        let reply = post.to(served.api).unwrap();
        assert!(json(&reply)["error"].is_string(), "{reply:?}");
        reply.status.as_u16()
    };
    let reload = || Post::json("").path("/v1/reload");
    assert_eq!(status(reload()), 401);
    assert_eq!(status(reload().header("authorization", "Bearer another")), 401);
    assert_eq!(status(reload().header("host", "example.com")), 403);
    let page = reload().header("authorization", &format!("Bearer {TOKEN}")).header("origin", "https://example.com");
    assert_eq!(status(page), 403);
    assert_eq!(status(reload().method(Method::GET)), 405);
    assert_eq!(status(Post::json("").path("/v1/plugins/nobody/swap")), 404);
    assert!(served.sluice.log().find("reload").is_none());
    assert_eq!(served.sluice.terminate().code, 0);
}

#[test]
fn the_command_line_shows_what_the_api_says() {
    let upstream = Sink::start();
    let served = Served::start(&upstream);
    let requests = Exporter::new(131).requests(3, 20);
    send::all(served.sluice.grpc(), &requests).unwrap();
    let sent: u64 = requests.iter().map(|request| wire::count(request).unwrap()).sum();
    upstream.wait_for_spans(sent);
    let account = served.get("/v1/account");
    let receiver = account["account"].as_array().unwrap().iter().find(|entry| entry["level"] == "receiver").unwrap();
    assert_eq!((&receiver["name"], &receiver["accepted"]), (&"otlp".into(), &sent.into()), "{account}");

    let endpoint = served.api.to_string();
    let ask = |args: &[&str]| {
        let output = run(&[args, &["--endpoint", &endpoint]].concat(), None);
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stdout
    };
    let listed: Value = serde_json::from_str(&ask(&["plugin", "list", "--json"])).unwrap();
    assert_eq!(listed, served.get("/v1/plugins"));
    let names: Vec<_> = listed["plugins"].as_array().unwrap().iter().map(|plugin| plugin["plugin"].clone()).collect();
    assert_eq!(names, ["attributes", "wasm/tester"]);
    let shown: Value = serde_json::from_str(&ask(&["plugin", "show", "wasm/tester", "--json"])).unwrap();
    assert_eq!(shown, served.get("/v1/plugins/wasm/tester"));
    let digest = shown["digest"].as_str().unwrap();
    assert!(ask(&["plugin", "show", "wasm/tester"]).contains(digest));
    let list = ask(&["plugin", "list"]);
    assert!(list.contains("wasm/tester") && list.contains(&digest[..12]), "{list}");

    let unknown = run(&["plugin", "show", "nobody", "--endpoint", &endpoint], None);
    assert!(unknown.code == 1 && unknown.stderr.contains("404"), "{unknown:?}");
    assert_eq!(served.sluice.terminate().code, 0);
    let nobody = run(&["plugin", "list", "--endpoint", &endpoint], None);
    assert!(nobody.code == 1 && nobody.stderr.contains("cannot reach the admin API"), "{nobody:?}");
}

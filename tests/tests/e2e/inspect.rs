//! Before a plugin runs, its operator can see what it is, what it asks for and what it gets.

use serde_json::{Value, json};
use sluice_tests::collector::{Config, Folder, run};
use sluice_tests::sink::Sink;

use crate::guest::Guest;
use crate::guests;

/// What the tester describes, by table.
fn described() -> (Value, Value) {
    (json!({ "spans": ["name", "attributes:stamp"], "tables": ["*"] }), json!({ "spans": ["attributes:stamp"] }))
}

fn shown(target: &str, folder: Option<&Folder>) -> Value {
    let output = run(&["plugin", "inspect", target, "--json"], folder.map(Folder::config).as_deref());
    assert_eq!(output.code, 0, "{}", output.stderr);
    serde_json::from_str(&output.stdout).unwrap()
}

#[test]
fn what_a_plugin_asks_for_and_what_it_gets_are_shown() {
    let settings = "module: tester.wasm\nconfig: { does: stamp }\naccess: { read: ['spans.*'], write: ['spans.attributes:st*', events.name] }";
    let folder = Folder::new(&Config::to(&Sink::start()).processor("wasm/tester", settings).yaml());
    folder.write("tester.wasm", guests::tester("one"));
    let (read, write) = described();
    let seen = shown("wasm/tester", Some(&folder));
    let sha256sum = std::process::Command::new("sha256sum").arg(folder.path("tester.wasm")).output().unwrap();
    let digest = String::from_utf8(sha256sum.stdout).unwrap();
    let all = ["log", "metrics", "tables"];
    let expected = json!({
        "plugin": "wasm/tester",
        "name": "tester",
        "version": "one",
        "contract": "sluice:plugin@0.1.0",
        "source": folder.path("tester.wasm").display().to_string(),
        "digest": digest.split_whitespace().next().unwrap(),
        "bytes": guests::tester("one").len(),
        "signature": { "state": "unsigned" },
        "redactor": false,
        "capabilities": { "requested": all, "imported": all, "granted": all },
        "access": {
            "read": { "described": read, "configured": read, "granted": { "spans": ["name", "attributes:stamp"] } },
            "write": { "described": write, "configured": write, "granted": { "spans": ["attributes:stamp"] } },
        },
    });
    assert_eq!(seen, expected);
    let text = run(&["plugin", "inspect", "wasm/tester"], Some(&folder.config())).stdout;
    assert!(text.contains("granted    spans(name, attributes:stamp)\n"), "{text}");
    assert!(text.contains("described  spans(name, attributes:stamp), tables(*)\n"), "{text}");
}

#[test]
fn a_file_alone_shows_what_it_says_of_itself() {
    let folder = Folder::new("");
    folder.write("tester.wasm", guests::tester("one"));
    let seen = shown(&folder.path("tester.wasm").display().to_string(), None);
    let (read, write) = described();
    assert_eq!(seen["access"], json!({ "read": { "described": read }, "write": { "described": write } }));
    assert_eq!((&seen["version"], seen.get("plugin")), (&"one".into(), None));
    folder.write("tester.wasm", b"no component");
    let broken = run(&["plugin", "inspect", &folder.path("tester.wasm").display().to_string()], None);
    assert!(broken.code == 1 && broken.stderr.contains("it is not a WebAssembly component"), "{broken:?}");
    let nobody = run(&["plugin", "inspect", "nobody"], None);
    assert!(nobody.code == 1 && nobody.stderr.contains("there is no plugin `nobody`"), "{nobody:?}");
}

#[test]
fn the_sampler_in_the_binary_asks_for_no_mail_address() {
    let seen = shown("probabilistic_sampler", None);
    assert_eq!((&seen["source"], &seen["signature"]["state"]), (&"bundled".into(), &"bundled".into()));
    let config = Config::to(&Sink::start()).processor("probabilistic_sampler", "sampling_percentage: 10").yaml();
    let configured = shown("probabilistic_sampler", Some(&Folder::new(&config)));
    let granted = json!({ "spans": ["trace_state", "ids", "attributes:sampling.priority"] });
    assert_eq!(configured["access"]["read"]["granted"], granted);
}

#[test]
fn a_plugin_that_gets_less_than_it_needs_is_told_of() {
    let settings = "module: tester.wasm\nconfig: { does: stamp }\ncapabilities: []";
    let folder = Folder::new(&Config::to(&Sink::start()).processor("wasm/tester", settings).yaml());
    folder.write("tester.wasm", guests::tester("one"));
    let refused = run(&["plugin", "inspect", "wasm/tester"], Some(&folder.config()));
    assert!(
        refused.code == 1 && refused.stderr.contains("the capability `log`, which `capabilities` does not allow"),
        "{refused:?}"
    );
}

#[test]
fn what_a_plugin_says_forges_no_line_and_steers_no_terminal() {
    let inspect = |guest: Guest| {
        let folder = Folder::new("");
        folder.write("guest.wasm", guest.component());
        let output = run(&["plugin", "inspect", &folder.path("guest.wasm").display().to_string()], None);
        assert!(!output.stdout.contains('\u{1b}') && !output.stderr.contains('\u{1b}'), "{output:?}");
        output
    };
    let output = inspect(Guest::new().access(&["spans.attributes:a\nsignature    signed with RWQ\u{1b}[8m"], &[]));
    let signatures = output.stdout.lines().filter(|line| line.starts_with("signature")).collect::<Vec<_>>();
    assert_eq!((output.code, &signatures[..]), (0, &["signature    not signed"][..]), "{output:?}");
    assert!(output.stdout.contains("attributes:a\\nsignature    signed with RWQ\\u{1b}[8m"), "{output:?}");
    // The version, at 1032, is the 7 bytes that hide all that comes after.
    let version = "(i32.store (i32.const 1032) (i32.const 5000)) (i32.store (i32.const 1036) (i32.const 7))";
    let output = inspect(Guest::new().data(5000, "1\n1\u{1b}[8m").before_describe(version));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("the version") && output.stderr.contains("control characters"), "{output:?}");
}

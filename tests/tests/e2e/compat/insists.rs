//! A plugin with all of Rust's standard library, as `cargo build --target wasm32-wasip2` makes it: the runtime imports
//! WASI and uses what it gets. Where the target cannot be had the test says so and does nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use sluice_tests::collector::{Config, Folder, Sluice, run};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{process, send};

use crate::sdks;

const TARGET: &str = "wasm32-wasip2";

/// A download of 20 MiB over a slow line.
const ADD: Duration = Duration::from_mins(3);
/// A build from nothing on a busy machine.
const BUILD: Duration = Duration::from_mins(5);

/// What a user may have set for other code.
const STRAY: [&str; 5] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR", "RUSTC_WRAPPER"];

/// What the plugin writes when there is nothing: a failure of each, no variable and argument, no input. It is 1970,
/// what seems to pass are its own looks at the clock, and hash seeds differ, because programs do not start without them.
const FINDS: [(&str, &str); 12] = [
    ("file", "nothing"),
    ("folder", "nothing"),
    ("written", "nothing"),
    ("variable", "nothing"),
    ("variables", "0"),
    ("connected", "nothing"),
    ("listens", "nothing"),
    ("name", "nothing"),
    ("input", "0"),
    ("printed", "nothing"),
    ("clocks", "0 s and 4 looks"),
    ("random", "true"),
];

/// The component; why there is none if the target cannot be had.
fn component() -> Result<Vec<u8>, String> {
    let mut where_to = Command::new("rustc");
    let folder = sdks::run(where_to.args(["--print", "target-libdir", "--target", TARGET]), BUILD)?;
    if !Path::new(folder.trim()).is_dir() {
        sdks::run(Command::new("rustup").args(["target", "add", TARGET]), ADD)?;
    }
    let out = process::target().join("wasm-wasip2");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--locked", "--release", "--target", TARGET, "--target-dir"]).arg(&out);
    build.current_dir(process::workspace().join("tests/guests/insists"));
    for name in STRAY {
        build.env_remove(name);
    }
    // With the target there, it has to build.
    sdks::run(&mut build, BUILD).unwrap();
    Ok(fs::read(out.join(TARGET).join("release/insists.wasm")).unwrap())
}

#[test]
fn rusts_standard_library_runs_under_compat_and_finds_nothing() {
    let component = match component() {
        Ok(component) => component,
        Err(reason) => return println!("SKIPPED Rust's standard library over WASI: {TARGET} cannot be had: {reason}"),
    };
    let (upstream, listener) = (Sink::start(), TcpListener::bind("127.0.0.1:0").unwrap());
    let there = tempfile::tempdir().unwrap();
    let file = there.path().join("secret");
    fs::write(&file, "in a file").unwrap();
    let (listening, folder) = (listener.local_addr().unwrap(), there.path().display());
    let asks =
        format!("config: {{ file: {}, folder: {folder}, variable: SECRET, address: '{listening}' }}", file.display());
    let config = |profile: &str| {
        Config::to(&upstream).processor("wasm/insists", &format!("module: insists.wasm\n{asks}\n{profile}")).yaml()
    };
    let folder = Folder::new(&config(""));
    folder.write("insists.wasm", component);

    let told = run(&["validate"], Some(&folder.config()));
    assert_eq!(told.code, 1, "{}", told.stderr);
    for part in ["it imports `wasi:", "set `profile: compat`"] {
        assert!(told.stderr.contains(part), "{}", told.stderr);
    }

    folder.write("config.yaml", config("profile: compat"));
    let sluice = Sluice::spawn(folder, &[("SECRET", OsString::from("in a variable"))]);
    sluice.wait_ready();
    send::all(sluice.grpc(), &Exporter::new(152).requests(5, 20)).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    let spans = upstream.decoded_spans();
    assert_eq!(spans.len() as i64, end.account.sum("receiver", "received"));
    for span in &spans {
        let found = span.attributes.iter().filter_map(|attribute| {
            let what = attribute.key.strip_prefix("wasi.")?;
            let Some(Value::StringValue(found)) = attribute.value.as_ref()?.value.as_ref() else { return None };
            Some((what, found.as_str()))
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), BTreeMap::from(FINDS));
    }
    assert!(!there.path().join("made").exists());
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "the plugin has connected");
    assert!(!end.stderr.contains("printed by the plugin"));
}

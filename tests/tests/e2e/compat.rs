//! A plugin that imports WASI runs if the operator allows it, and finds nothing there.

mod insists;

use std::ffi::OsString;

use sluice_tests::collector::{Config, Folder, Sluice, run};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{send, wire};

use crate::guest::Guest;
use crate::wasi::{FINDS_NOTHING, LEARNS_NOTHING, component};

fn folder(upstream: &Sink, profile: &str) -> Folder {
    let folder =
        Folder::new(&Config::to(upstream).processor("wasm/guest", &format!("module: guest.wasm\n{profile}")).yaml());
    folder.write("guest.wasm", component(Guest::new().process(&format!("{FINDS_NOTHING} {LEARNS_NOTHING}"))));
    folder
}

#[test]
fn wasi_is_refused_by_default_with_the_way_out() {
    let upstream = Sink::start();
    let folder = folder(&upstream, "");
    let told = run(&["validate"], Some(&folder.config()));
    assert_eq!(told.code, 1);
    assert!(
        told.stderr.contains("it imports `wasi:") && told.stderr.contains("set `profile: compat`"),
        "{}",
        told.stderr
    );
    let shown = run(&["plugin", "inspect", &folder.path("guest.wasm").display().to_string()], None);
    let denied = shown.stdout.lines().find(|line| line.trim_start().starts_with("wasi ")).unwrap_or_default();
    assert!(
        shown.code == 0 && denied.contains("`profile: compat`") && denied.contains("wasi:clocks/wall-clock@0.2.3"),
        "{shown:?}"
    );
}

#[test]
fn under_compat_there_is_neither_environment_nor_file_nor_network() {
    let upstream = Sink::start();
    let sluice = Sluice::spawn(folder(&upstream, "profile: compat"), &[("SECRET", OsString::from("value"))]);
    sluice.wait_ready();
    // It traps, and the request is refused, if it finds anything.
    let requests = Exporter::new(151).requests(5, 20);
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(wire::difference(&requests, &upstream.wires()).unwrap(), None);
}

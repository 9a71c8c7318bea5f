//! A pipe where a file is meant: opening one waits for whoever writes to it, so nobody must do so while Sluice serves.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use sluice_tests::collector::{Config, Folder, Sluice, run};
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use crate::guests;
use crate::rollout::{ONE, TWO};

/// Puts a pipe in the place of a file, at once.
fn pipe(at: &Path) {
    let aside = at.with_extension("pipe");
    assert!(Command::new("mkfifo").arg(&aside).status().unwrap().success());
    fs::rename(aside, at).unwrap();
}

/// A key as `minisign -G` shows it.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

#[test]
fn a_pipe_is_refused_by_its_name_wherever_a_file_is_meant() {
    let module = "module: tester.wasm\nconfig: { does: stamp }";
    let plugin = |more: &str| Config::to(&Sink::start()).processor("wasm/tester", &format!("{module}{more}"));
    let key = format!("\npublic_key: {KEY}");
    let table = "\ntables: { t: { file: tester.csv, key: id } }";
    let tls = "protocols: { grpc: { endpoint: '127.0.0.1:0', tls: { cert_file: cert.pem, key_file: cert.pem } } }";
    for (file, config) in [
        ("tester.wasm", plugin("")),
        ("tester.wasm.minisig", plugin(&key)),
        ("tester.csv", plugin(table)),
        ("cert.pem", plugin("").receiver("otlp", tls)),
    ] {
        let folder = Folder::new(&config.yaml());
        folder.write("tester.wasm", guests::tester("one"));
        pipe(&folder.path(file));
        let output = run(&["run"], Some(&folder.config()));
        assert_eq!(output.code, 1, "{file}: {output:?}");
        let told = output.stderr.lines().find(|line| line.contains("it is not a regular file"));
        assert!(told.is_some_and(|line| line.contains(file)), "{output:?}");
    }
}

#[test]
fn a_module_that_becomes_a_pipe_is_refused_and_the_one_before_serves() {
    let upstream = Sink::start();
    let folder = Folder::new(&Config::to(&upstream).processor("wasm/p", "module: p.wasm").yaml());
    folder.write("p.wasm", guests::rollout(ONE));
    let sluice = Sluice::start_in(folder);
    let seen = sluice.swaps("wasm/p").len();
    pipe(&sluice.folder().path("p.wasm"));
    let swap = sluice.wait_swap("wasm/p", seen);
    assert_eq!(swap["outcome"], "failed", "{swap}");
    assert!(swap["reason"].as_str().unwrap().ends_with("it is not a regular file"), "{swap}");
    // No signature is asked for, but one is kept with the version.
    pipe(&sluice.folder().path("p.wasm.minisig"));
    sluice.folder().write("p.wasm", guests::rollout(TWO));
    assert_eq!(sluice.wait_swap("wasm/p", seen + 1)["outcome"], "swapped");
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn a_configuration_may_come_through_a_pipe_once() {
    let upstream = Sink::start();
    let folder = Folder::new("");
    pipe(&folder.config());
    let written = folder.config();
    let printed = thread::scope(|scope| {
        let printed = scope.spawn(|| run(&["print-config"], Some(&written)));
        fs::write(&written, Config::to(&upstream).yaml()).unwrap();
        printed.join().unwrap()
    });
    assert!(printed.code == 0 && printed.stdout.contains("exporters:"), "{printed:?}");
    let sluice = Sluice::spawn(folder, &[]);
    // Waits until it is read.
    fs::write(written, Config::to(&upstream).yaml()).unwrap();
    sluice.wait_ready();
    sluice.signal(libc::SIGHUP);
    let reload = wait::until("the reload to fail", || sluice.log().find("reload"));
    assert_eq!(reload["outcome"], "failed", "{reload}");
    assert!(reload["reason"].as_str().unwrap().contains("it is not a regular file"), "{reload}");
    assert_eq!(sluice.terminate().code, 0);
}

//! The demonstration holds what it promises, and leaves nothing behind.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use sluice_tests::collector::Log;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::{process, send, wait, wire};

use crate::start;

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-demo"));
    command.args(["--seconds", "1"]);
    command
}

#[test]
fn without_a_terminal_it_prints_plain_lines_that_end_well() {
    let output = demo().output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complaint}");
    assert!(said.ends_with("demo: ok\n"), "{said}");
    assert!(!said.contains('\x1b'), "not plain: {said}");
}

/// The numbers of the processes that it says it has started.
fn cast(said: &str) -> Vec<u32> {
    let number = |line: &str| {
        let after = line.split_once(" process ")?.1;
        after.split_whitespace().next()?.parse().ok()
    };
    said.lines().filter_map(number).collect()
}

#[track_caller]
fn none_is_left(started: &[u32]) {
    for pid in started {
        let left = Path::new("/proc").join(pid.to_string()).join("cmdline");
        assert!(!left.exists(), "left behind: {:?}", fs::read_to_string(left));
    }
}

#[test]
fn ctrl_c_leaves_no_process_behind() {
    let mut command = demo();
    process::tie(command.stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut child = command.spawn().unwrap();
    let said = Log::follow(child.stdout.take().unwrap());
    let started = wait::until("three processes", || Some(cast(&said.text())).filter(|cast| cast.len() == 3));
    process::signal(&child, libc::SIGINT);
    let status = process::wait_for(&mut child, wait::PATIENCE).expect("the demo ends");
    assert_eq!(process::code(status), 130);
    none_is_left(&started);
}

#[test]
fn it_stays_for_spans_of_ones_own_and_ctrl_c_ends_it_well() {
    let Some(_turn) = start::usual_ports() else {
        println!("SKIPPED the demo that stays: port 4317 or 4318 is in use");
        return;
    };
    let mut command = demo();
    // The turn is not about the usual port of /metrics, which other tests have for a moment.
    command.arg("--stay").env("SLUICE_METRICS", "0");
    process::tie(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut child = command.spawn().unwrap();
    let said = Log::follow(child.stdout.take().unwrap());
    let complaint = Log::follow(child.stderr.take().unwrap());
    let stays = wait::within(3 * wait::PATIENCE, || {
        let told = said.lines().iter().any(|line| line.starts_with("== Yours: "));
        (told || said.ended()).then_some(told)
    });
    assert_eq!(stays, Some(true), "{}\n{}", said.text(), complaint.text());
    let started = cast(&said.text());
    assert_eq!(started.len(), 3, "{}", said.text());

    let requests = Exporter::new(96).requests(4, 20);
    let own: u64 = requests.iter().map(|request| wire::count(request).unwrap()).sum();
    send::all(SocketAddr::from(([127, 0, 0, 1], 4317)), &requests).unwrap();
    process::signal(&child, libc::SIGINT);
    let status = process::wait_for(&mut child, wait::PATIENCE).expect("the demo ends");
    let text = said.text();
    assert_eq!(process::code(status), 0, "{text}\n{}", complaint.text());
    assert!(text.contains(&format!(" spans of the shop were received, and {own} of yours\n")), "{text}");
    assert!(text.ends_with("\ndemo: ok"), "{text}");
    none_is_left(&started);
}

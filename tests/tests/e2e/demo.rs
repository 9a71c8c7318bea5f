//! The demonstration holds what it promises, and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use sluice_tests::collector::Log;
use sluice_tests::{process, wait};

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
    for pid in started {
        let left = Path::new("/proc").join(pid.to_string()).join("cmdline");
        assert!(!left.exists(), "left behind: {:?}", fs::read_to_string(left));
    }
}

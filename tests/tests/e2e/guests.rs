//! The plugins under `tests/guests`, built the way that anybody's plugin is.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use sluice_tests::process;

/// The component of `tests/guests/tester`. It is built with `stamp`, which it sets as an attribute
/// when told to, so that two stamps are two versions of one plugin.
#[track_caller]
pub fn tester(stamp: &str) -> Vec<u8> {
    static BUILT: Mutex<Option<HashMap<String, Vec<u8>>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    built.entry(stamp.to_owned()).or_insert_with(|| build("tester", stamp)).clone()
}

fn build(guest: &str, stamp: &str) -> Vec<u8> {
    let workspace = process::workspace();
    let out: PathBuf = process::target().join(format!("test-guests/{guest}-{stamp}.wasm"));
    fs::create_dir_all(out.parent().unwrap()).unwrap();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["xtask", "build", "--plugin"]).arg(workspace.join("tests/guests").join(guest)).arg("--out").arg(&out);
    command.current_dir(workspace).env("STAMP", stamp);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    fs::read(out).unwrap()
}

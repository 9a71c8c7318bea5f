//! Plugins outside the workspace, built the way that anybody's plugin is.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use sluice_tests::process;

/// The component of `tests/guests/tester`. It is built with `stamp`, which it sets as an attribute
/// when told to, so that two stamps are two versions of one plugin.
#[track_caller]
pub fn tester(stamp: &str) -> Vec<u8> {
    static BUILT: Mutex<Option<HashMap<String, Vec<u8>>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || {
        let out = process::target().join(format!("test-guests/tester-{stamp}.wasm"));
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        let guest = process::workspace().join("tests/guests/tester");
        build_stamped(&guest, &[OsStr::new("--out"), out.as_os_str()], stamp);
        fs::read(out).unwrap()
    };
    built.get_or_insert_default().entry(stamp.to_owned()).or_insert_with(make).clone()
}

/// A version of the component of `tests/guests/rollout`. All are made of one by replacing a block of bytes.
#[track_caller]
pub fn rollout(version: Version) -> Vec<u8> {
    static BUILT: Mutex<Option<Vec<u8>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || {
        let out = process::target().join("test-guests/rollout.wasm");
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        build(&process::workspace().join("tests/guests/rollout"), &[OsStr::new("--out"), out.as_os_str()]);
        fs::read(out).unwrap()
    };
    let mut module = built.get_or_insert_with(make).clone();
    let Version { mark, drops, burns, each, fails } = version;
    let places: Vec<_> = memchr::memmem::find_iter(&module, b"sluice-rollout mark=").collect();
    let &[at] = &places[..] else { panic!("its block is there {} times", places.len()) };
    let block =
        format!("sluice-rollout mark={mark:3} drops={drops:02} burns={burns:02} fails={} each={each:02}", fails as u8);
    module[at..at + block.len()].copy_from_slice(block.as_bytes());
    module
}

/// What a version does beside marking every span.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    /// The mark, of three letters.
    pub mark: &'static str,
    /// Of a hundred traces it drops so many, by the last bytes of their ids.
    pub drops: u8,
    /// Units of time that a call burns.
    pub burns: u8,
    /// Hundredths of such a unit that it burns for each span.
    pub each: u8,
    /// How it fails, and when.
    pub fails: Fails,
}

/// How a version fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fails {
    /// It does not.
    Never = 0,
    /// By a trap, on spans that are named `bad`.
    Traps = 1,
    /// By not coming back, on these.
    Spins = 2,
    /// By burning ten times as much after 100 calls of an instance.
    Slows = 3,
}

impl Version {
    /// One that marks, and burns one unit of time.
    pub const fn new(mark: &'static str) -> Self {
        Self { mark, drops: 0, burns: 1, each: 0, fails: Fails::Never }
    }
}

/// Builds the plugin in a folder.
#[track_caller]
pub fn build(folder: &Path, args: &[&OsStr]) {
    build_stamped(folder, args, "none");
}

#[track_caller]
fn build_stamped(folder: &Path, args: &[&OsStr], stamp: &str) {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["xtask", "build", "--plugin"]).arg(folder).args(args);
    command.current_dir(process::workspace()).env("STAMP", stamp);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

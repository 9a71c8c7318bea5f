//! What outlives the process is for its user alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sluice_tests::collector::{Config, Folder, Sluice, run};
use sluice_tests::sink::Sink;

/// Some user that does not run the tests.
const SOMEBODY: u32 = 65_533;

fn config(upstream: &Sink) -> Config {
    Config::to(upstream).extension("sluice", "state_dir: state")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn existing(yaml: &str, mode: u32) -> Folder {
    let folder = Folder::new(yaml);
    fs::create_dir(folder.path("state")).unwrap();
    fs::set_permissions(folder.path("state"), Permissions::from_mode(mode)).unwrap();
    folder
}

#[test]
fn a_state_dir_is_made_for_its_user_alone() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&config(&upstream));
    assert_eq!(mode(&sluice.folder().path("state")), 0o700);
    assert!(sluice.log().events("state_dir").is_empty(), "nothing is odd about it");
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn a_state_dir_that_others_may_enter_is_closed_to_them_and_told() {
    let upstream = Sink::start();
    for open in [0o777, 0o755] {
        let folder = existing(&config(&upstream).yaml(), open);
        fs::write(folder.path("state").join("ours"), "kept").unwrap();
        let sluice = Sluice::start_in(folder);
        assert_eq!(mode(&sluice.folder().path("state")), 0o700, "{open:o}");
        let told = sluice.log().find("state_dir").unwrap();
        assert_eq!((told["level"].as_str(), told["mode"].as_str()), (Some("warn"), Some(&*format!("{open:04o}"))));
        assert_eq!(fs::read(sluice.folder().path("state").join("ours")).unwrap(), b"kept");
        assert_eq!(sluice.terminate().code, 0);
    }
}

/// Gives a file to another user; only root may.
fn given_away(path: &Path) -> bool {
    std::os::unix::fs::lchown(path, Some(SOMEBODY), None).is_ok()
}

#[test]
fn a_state_dir_of_another_user_is_refused_with_its_place() {
    let yaml = config(&Sink::start()).yaml();
    let line = yaml.lines().position(|line| line.contains("state_dir")).unwrap() + 1;
    // Whoever is not root finds a folder of another user anyway.
    let folder = existing(&yaml, 0o700);
    let folder = if given_away(&folder.path("state")) {
        folder
    } else {
        Folder::new(&yaml.replace("state_dir: state", "state_dir: /"))
    };
    let refused = run(&["run"], Some(&folder.config()));
    assert_eq!(refused.code, 1, "{refused:?}");
    for says in [&format!("config.yaml:{line}:"), "belongs to another user", "0700"] {
        assert!(refused.stderr.contains(says), "{says}: {}", refused.stderr);
    }
}

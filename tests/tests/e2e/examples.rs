//! Every example has a README, and a config that `sluice validate` takes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use sluice_tests::collector::run;
use sluice_tests::process;

use crate::guests;

#[test]
fn every_example_is_valid_and_has_a_readme() {
    let mut configs = Vec::new();
    for entry in fs::read_dir(process::workspace().join("examples")).unwrap() {
        let example = entry.unwrap().path();
        assert!(example.join("README.md").is_file(), "{} has no README.md", example.display());
        // An example that is a plugin is built as its README says.
        if example.join("Cargo.toml").is_file() {
            guests::build(&example, &[]);
        }
        configs.extend(yaml_files(&example));
    }
    assert!(configs.len() >= 3, "only {configs:?}");
    for config in configs {
        let output = run(&["validate"], Some(&config));
        assert_eq!(output.code, 0, "{}:\n{}", config.display(), output.stderr);
    }
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension() == Some(OsStr::new("yaml"))).collect()
}

//! Every config of `examples/` is one that `sluice validate` takes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use sluice_tests::collector::run;
use sluice_tests::process;

#[test]
fn every_example_is_valid_and_has_a_readme() {
    let folder = process::workspace().join("examples");
    let mut configs = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let example = entry.unwrap().path();
        if example.is_dir() {
            assert!(example.join("README.md").is_file(), "{} has no README.md", example.display());
            configs.extend(yaml_files(&example));
        }
    }
    assert!(configs.len() >= 3, "only {configs:?}");
    for config in configs {
        let output = run(&["validate"], Some(&config));
        // A config may name a plugin that its README builds first.
        let unbuilt = output.stderr.contains(".wasm") && !fs::read_to_string(&config).unwrap().contains("SLUICE");
        if unbuilt {
            println!("SKIPPED {}: its plugin is not built", config.display());
            continue;
        }
        assert_eq!(output.code, 0, "{}:\n{}", config.display(), output.stderr);
    }
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension() == Some(OsStr::new("yaml"))).collect()
}

//! Every example has a README, and a config that `sluice validate` takes; so are those of the docs.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use sluice_tests::collector::{Folder, run};
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

/// Whether it can be read alone, its own tests see; here plugins take their configurations as well.
#[test]
fn every_whole_configuration_of_the_docs_is_valid_with_its_plugins() {
    let docs = process::workspace().join("docs");
    guests::build(&process::workspace().join("examples/waybill"), &[]);
    let folder = Folder::new("");
    fs::create_dir(folder.path("plugins")).unwrap();
    fs::copy(process::target().join("plugins/waybill.wasm"), folder.path("plugins/waybill.wasm")).unwrap();
    let mut seen = 0;
    for page in ["configuration.md", "delivery.md"] {
        let text = fs::read_to_string(docs.join(page)).unwrap();
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            folder.write("config.yaml", block);
            let output = run(&["validate"], Some(&folder.config()));
            assert_eq!(output.code, 0, "{page}:\n{block}\n{}", output.stderr);
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen}");
}

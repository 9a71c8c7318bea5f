//! Files that two exporters are to write to.

use std::path::Path;

use super::{text, told};

fn yaml(first: &Path, second: &Path, used: &str) -> String {
    let (first, second) = (first.display(), second.display());
    format!(
        "\
receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}
exporters:
  file: {{ path: '{first}' }}
  file/b: {{ path: '{second}', format: proto, append: true }}
service: {{ pipelines: {{ traces: {{ receivers: [otlp], exporters: [{used}] }} }} }}
"
    )
}

#[test]
fn two_exporters_do_not_write_to_one_file_and_both_places_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("sub")).unwrap();
    std::os::unix::fs::symlink(path("sub"), path("link")).unwrap();
    // None of them is there yet.
    for second in ["sub/out", "./sub//out", "sub/../sub/out", "link/out"] {
        let problems = told(&yaml(&path("sub/out"), &path(second), "file, file/b"));
        assert_eq!(problems.len(), 1, "{second}: {problems:?}");
        let told = problems.first().unwrap();
        assert!(told.starts_with("c.yaml:4:3: error: exporter `file/b` cannot write to `"), "{told}");
        assert!(told.contains("exporter `file` (c.yaml:3:3) is to"), "{told}");
    }
    assert!(told(&yaml(&path("sub/out"), &path("out"), "file, file/b")).is_empty());
    assert!(super::load(&[text(&yaml(&path("out"), &path("out"), "file"))]).is_ok(), "nobody opens the other");
}

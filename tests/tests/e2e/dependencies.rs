//! The dependency tree holds nothing that needs more than a C compiler to build, and one TLS.

use sluice_tests::process;

/// Names of crates, and why they are kept out.
const BANNED: [(&str, &str); 8] = [
    ("openssl", "TLS is rustls on ring"),
    ("openssl-sys", "TLS is rustls on ring"),
    ("native-tls", "TLS is rustls on ring"),
    ("aws-lc-rs", "needs cmake"),
    ("aws-lc-sys", "needs cmake"),
    ("bindgen", "needs libclang"),
    ("cmake", "is not on a bare machine"),
    ("protobuf-src", "builds protoc"),
];

#[test]
fn nothing_banned_is_in_the_tree() {
    let lock = std::fs::read_to_string(process::workspace().join("Cargo.lock")).unwrap();
    let names: Vec<&str> = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    assert!(names.contains(&"wasmtime"), "this is not the workspace's lock file");
    for (name, why) in BANNED {
        assert!(!names.contains(&name), "{name} is in the tree: {why}");
    }
}

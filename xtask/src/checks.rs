//! `cargo xtask test`: all checks, one after the other, all of them even if one fails.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::bindings;
use crate::build;
use crate::command::{cargo, output};

/// Crates that must not be in the tree: they need a system library, a code generator or a build
/// tool that a fresh machine does not have.
const FORBIDDEN: [&str; 9] =
    ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "bindgen", "cmake", "protobuf-src", "protoc-bin-vendored"];

#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: Vec<String>,
}

/// Runs all checks; success only if none failed.
pub fn run(root: &Path) -> Result<ExitCode> {
    let mut tally = Tally::default();
    if component("cargo-fmt") {
        tally.step("format", || stream(cargo().args(["fmt", "--all", "--check"]).current_dir(root)).map(drop));
    } else {
        tally.skip("format: rustfmt is not installed");
    }
    tally.step("bindings", || bindings::run(root, true));
    tally.step("dependencies", || dependencies(root));
    tally.step("build", || build::all(root));
    if component("cargo-clippy") {
        let lints = ["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
        tally.step("lints", || stream(cargo().args(lints).current_dir(root)).map(drop));
    } else {
        tally.skip("lints: clippy is not installed");
    }
    let docs = ["doc", "--release", "--workspace", "--no-deps", "--quiet"];
    tally.step("docs", || stream(cargo().args(docs).env("RUSTDOCFLAGS", "-Dwarnings").current_dir(root)).map(drop));
    tests(root, &mut tally);
    for config in configs(&root.join("examples")) {
        let name = config.strip_prefix(root).unwrap_or(&config).display().to_string();
        let mut validate = Command::new(root.join("target/release/sluice"));
        validate.arg("validate").arg("--config").arg(&config);
        tally.step(&name, || stream(&mut validate).map(drop));
    }
    for skipped in &tally.skipped {
        println!("SKIPPED {skipped}");
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped.len());
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Tally {
    fn step(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        println!("== {name}");
        let started = Instant::now();
        let result = check();
        let took = started.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("== {name}: ok ({took:.1} s)");
            }
            Err(error) => {
                self.failed += 1;
                println!("== {name}: FAILED ({took:.1} s): {error:#}");
            }
        }
    }

    fn skip(&mut self, what: &str) {
        self.skipped.push(what.to_owned());
    }

    /// Adds what a line of cargo's test output says.
    fn read(&mut self, line: &str) {
        if let Some(skipped) = line.strip_prefix("SKIPPED ") {
            self.skip(skipped);
        }
        let Some(counts) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else { return };
        for count in counts.1.split("; ") {
            let mut words = count.split_whitespace();
            let (number, what) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.next());
            match (number, what) {
                (Some(number), Some("passed")) => self.passed += number,
                (Some(number), Some("failed")) => self.failed += number,
                _ => {}
            }
        }
    }
}

fn tests(root: &Path, tally: &mut Tally) {
    println!("== tests");
    let mut test = cargo();
    test.args(["test", "--release", "--workspace", "--no-fail-fast", "--", "--show-output"]).current_dir(root);
    test.env("SLUICE_BIN", root.join("target/release/sluice"));
    match stream(&mut test) {
        Ok(lines) => lines.iter().for_each(|line| tally.read(line)),
        Err(error) => {
            let before = tally.failed;
            if let Some(Failed { lines, .. }) = error.downcast_ref() {
                lines.iter().for_each(|line| tally.read(line));
            }
            // A crate that does not compile reports no test.
            tally.failed = tally.failed.max(before + 1);
            println!("== tests: FAILED: {error:#}");
        }
    }
}

#[derive(Debug)]
struct Failed {
    what: String,
    lines: Vec<String>,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failed {}

/// Runs a command, shows what it prints, and gives what it printed on stdout.
fn stream(command: &mut Command) -> Result<Vec<String>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run it")?;
    let mut lines = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            lines.push(line);
        }
    }
    let status = child.wait()?;
    if status.success() { Ok(lines) } else { Err(Failed { what: status.to_string(), lines }.into()) }
}

/// Whether a component of the toolchain works.
fn component(name: &str) -> bool {
    let works = Command::new(name).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    works.is_ok_and(|status| status.success())
}

fn dependencies(root: &Path) -> Result<()> {
    let tree = output(cargo().args(["tree", "--workspace", "--prefix", "none", "--edges", "normal,build", "--format", "{p}"]).current_dir(root))?;
    let found: Vec<_> = FORBIDDEN.into_iter().filter(|name| tree.lines().any(|line| line.split(' ').next() == Some(name))).collect();
    if found.is_empty() { Ok(()) } else { bail!("in the dependency tree: {}", found.join(", ")) }
}

/// The configurations among the examples.
fn configs(folder: &Path) -> Vec<PathBuf> {
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for file in files.flatten().map(|file| file.path()) {
        if file.is_dir() && file.file_name().is_some_and(|name| name != "target") {
            found.extend(configs(&file));
        } else if file.extension().is_some_and(|extension| extension == "yaml") {
            found.push(file);
        }
    }
    found.sort();
    found
}

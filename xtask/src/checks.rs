//! `cargo xtask test`: all checks, one after the other, all of them even if one fails.

mod deny;

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::bindings;
use crate::build;
use crate::command::{cargo, output, succeeds_within};
use crate::sizes;
use crate::wasm_route::RUSTUP_LIMIT;

/// Crates that must not be in the tree: they need a system library, a code generator or a build
/// tool that a fresh machine does not have.
const FORBIDDEN: [&str; 8] =
    ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "bindgen", "cmake", "protobuf-src"];

/// The same for a family: copies of protoc.
const FORBIDDEN_PREFIX: &str = "protoc-";

#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Tests that said that they skip and that cargo counts as passed.
    silent: u64,
    skipped: Vec<String>,
    failed_steps: Vec<String>,
}

/// Runs all checks; success only if none failed.
pub fn run(root: &Path) -> ExitCode {
    let mut tally = Tally::default();
    if component("cargo-fmt", "rustfmt") {
        let all = ["fmt", "--all", "--check"];
        tally.step("format", || stream(cargo().args(all).current_dir(root)).map(drop));
        for manifest in apart(root) {
            let name = manifest.strip_prefix(root).unwrap_or(&manifest).display().to_string();
            let mut format = cargo();
            format.args(all).arg("--manifest-path").arg(&manifest).current_dir(root);
            tally.step(&format!("format of {name}"), || stream(&mut format).map(drop));
        }
    } else {
        tally.skip("rustfmt: it is not installed, and rustup cannot add it");
    }
    tally.step("bindings", || bindings::run(root, true));
    tally.step("dependencies", || dependencies(root));
    deny::run(root, &mut tally);
    tally.step("build", || build::all(root));
    tally.step("sizes", || sizes::check(&build::bundled(root)));
    if component("cargo-clippy", "clippy") {
        let lints = ["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
        tally.step("lints", || stream(cargo().args(lints).current_dir(root)).map(drop));
    } else {
        tally.skip("clippy: it is not installed, and rustup cannot add it");
    }
    let docs = ["doc", "--release", "--workspace", "--no-deps", "--quiet"];
    tally.step("docs", || stream(cargo().args(docs).env("RUSTDOCFLAGS", "-Dwarnings").current_dir(root)).map(drop));
    let mut workspace = cargo();
    workspace.args(["test", "--release", "--workspace", "--no-fail-fast", "--", "--show-output"]).current_dir(root);
    tests(root, "tests", &mut workspace, &mut tally);
    // The plugins of the docs are workspaces of their own, as their authors would have them.
    // `--locked`: what their lock files name are versions of ours, so that there is nothing to download.
    for example in ["examples/first-plugin", "examples/stations", "examples/waybill"] {
        let mut plugin = cargo();
        plugin.args(["test", "--release", "--locked", "--manifest-path", &format!("{example}/Cargo.toml")]);
        plugin.args(["--target-dir", "target"]).current_dir(root);
        tests(root, example, &mut plugin, &mut tally);
    }
    for config in configs(&root.join("examples")) {
        let name = config.strip_prefix(root).unwrap_or(&config).display().to_string();
        let mut validate = Command::new(root.join("target/release/sluice"));
        validate.arg("validate").arg("--config").arg(&config);
        tally.step(&name, || stream(&mut validate).map(drop));
    }
    for skipped in &tally.skipped {
        println!("SKIPPED {skipped}");
    }
    for failed in &tally.failed_steps {
        println!("FAILED {failed}");
    }
    println!("{tally}");
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
                self.failed_steps.push(name.to_owned());
                println!("== {name}: FAILED ({took:.1} s): {error:#}");
            }
        }
    }

    fn skip(&mut self, what: &str) {
        self.skipped.push(what.to_owned());
    }

    fn read_all(&mut self, lines: &[String]) {
        for line in lines {
            self.read(line);
        }
    }

    /// Adds what a line of cargo's test output says.
    fn read(&mut self, line: &str) {
        if let Some(skipped) = line.strip_prefix("SKIPPED ") {
            // The test that says so returns as if it had passed; its line, if it fails, is
            // printed twice.
            if !self.skipped.iter().any(|known| known == skipped) {
                self.skip(skipped);
                self.silent += 1;
            }
        }
        let Some(counts) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else { return };
        for count in counts.1.split("; ") {
            let mut words = count.split_whitespace();
            let (number, what) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.next());
            match (number, what) {
                (Some(number), Some("passed")) => self.passed += number,
                (Some(number), Some("failed")) => self.failed += number,
                (Some(number), Some("ignored")) => self.ignored += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, skipped) = (self.passed.saturating_sub(self.silent), self.skipped.len() as u64 + self.ignored);
        write!(f, "{passed} passed, {} failed, {skipped} skipped", self.failed)
    }
}

/// Runs tests and adds what they say to the tally.
fn tests(root: &Path, name: &str, test: &mut Command, tally: &mut Tally) {
    println!("== {name}");
    let started = Instant::now();
    let mut report = Report { held: Vec::new(), show: print };
    let result = stream_to(test.env("SLUICE_BIN", root.join("target/release/sluice")), |line| report.take(line));
    report.show_held();
    match result {
        Ok(lines) => {
            tally.read_all(&lines);
            println!("== {name}: ok ({:.1} s)", started.elapsed().as_secs_f64());
        }
        Err(error) => {
            let before = tally.failed;
            if let Some(Failed { lines, .. }) = error.downcast_ref() {
                tally.read_all(lines);
            }
            // A crate that does not compile reports no test.
            tally.failed = tally.failed.max(before + 1);
            tally.failed_steps.push(name.to_owned());
            println!("== {name}: FAILED ({:.1} s): {error:#}", started.elapsed().as_secs_f64());
        }
    }
}

#[derive(Debug)]
struct Failed {
    what: String,
    lines: Vec<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failed {}

/// What tests print, a program at a time. Of one in which all have passed the result is shown and what was
/// skipped: the names of all that work are of no use, and what fails is found among them only with care.
struct Report<S> {
    held: Vec<String>,
    show: S,
}

impl<S: FnMut(&str)> Report<S> {
    fn take(&mut self, line: &str) {
        // Who began before has ended without a result.
        if line.starts_with("running ") && (line.ends_with(" test") || line.ends_with(" tests")) {
            self.show_held();
        }
        if line.contains(" has been running for over ") || line.starts_with("SKIPPED ") {
            return (self.show)(line);
        }
        self.held.push(line.to_owned());
        if line.starts_with("test result: ok") {
            self.held.clear();
            (self.show)(line);
        } else if line.starts_with("test result: ") {
            self.show_held();
        }
    }

    /// Shows what has no result, because its program has ended without one, and what failed.
    fn show_held(&mut self) {
        for line in self.held.drain(..) {
            (self.show)(&line);
        }
    }
}

fn print(line: &str) {
    println!("{line}");
}

/// Runs a command, shows what it prints, and gives what it printed on stdout.
fn stream(command: &mut Command) -> Result<Vec<String>> {
    stream_to(command, print)
}

/// Runs a command, hands on each line that it prints on stdout, and gives them all.
fn stream_to(command: &mut Command, mut take: impl FnMut(&str)) -> Result<Vec<String>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run it")?;
    let mut lines = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            take(&line);
            lines.push(line);
        }
    }
    let status = child.wait()?;
    if status.success() { Ok(lines) } else { Err(Failed { what: status.to_string(), lines }.into()) }
}

/// Whether a program of a component of the toolchain works. Rustup's minimal profile has no components, so it is added.
fn component(program: &str, component: &str) -> bool {
    let add = || succeeds_within(Command::new("rustup").args(["component", "add", component]), RUSTUP_LIMIT);
    works(program) || (add() && works(program))
}

fn works(program: &str) -> bool {
    succeeds_within(Command::new(program).arg("--version"), RUSTUP_LIMIT)
}

fn dependencies(root: &Path) -> Result<()> {
    let tree = output(cargo().args(["tree", "--workspace", "--prefix", "none", "--format", "{p}"]).current_dir(root))?;
    let is_forbidden = |name: &&str| FORBIDDEN.contains(name) || name.starts_with(FORBIDDEN_PREFIX);
    let mut found: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).filter(is_forbidden).collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() { Ok(()) } else { bail!("in the dependency tree: {}", found.join(", ")) }
}

/// The configurations among the examples.
fn configs(folder: &Path) -> Vec<PathBuf> {
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for file in files.flatten().map(|file| file.path()) {
        if file.is_dir() && file.file_name().is_some_and(|name| name != "target") {
            found.extend(configs(&file));
        } else if file.extension().is_some_and(|extension| extension == "yaml") && is_config(&file) {
            found.push(file);
        }
    }
    found.sort();
    found
}

/// The manifests of what is no member of the workspace.
fn apart(root: &Path) -> Vec<PathBuf> {
    let folders = ["examples", "tests/guests"].map(|folder| std::fs::read_dir(root.join(folder)));
    let inside = folders.into_iter().flatten().flatten().flatten().map(|entry| entry.path());
    let manifests = inside.chain([root.join("fuzz")]).map(|folder| folder.join("Cargo.toml"));
    let mut found: Vec<_> = manifests.filter(|manifest| manifest.is_file()).collect();
    found.sort();
    found
}

fn is_config(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().any(|line| line.starts_with("service:") || line.starts_with("receivers:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_passed_is_not_told_and_what_has_failed_or_ended_without_a_result_is() {
        let shown = |lines: &[&str]| {
            let mut shown = Vec::new();
            let mut report = Report { held: Vec::new(), show: |line: &str| shown.push(line.to_owned()) };
            for line in lines {
                report.take(line);
            }
            report.show_held();
            shown
        };
        let passed = ["running 1 test", "test a ... ok", "test result: ok. 1 passed"];
        assert_eq!(shown(&passed), passed[2..]);
        assert_eq!(
            shown(&["running 1 test", "SKIPPED a: why", "test result: ok."]),
            ["SKIPPED a: why", "test result: ok."]
        );
        let failed = ["running 1 test", "test b ... FAILED", "test result: FAILED. 0 passed"];
        assert_eq!(shown(&failed), failed);
        // What has crashed is shown, too, and not forgotten with the next that passes.
        let crashed = ["running 2 tests", "test c ... ok"];
        assert_eq!(shown(&[&crashed[..], &passed[..]].concat()), [&crashed[..], &passed[2..]].concat());
        assert_eq!(shown(&crashed), crashed);
    }

    #[test]
    fn what_cargo_says_of_its_tests_is_summed() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "SKIPPED the SDK: no python",
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            tally.read(line);
        }
        assert_eq!(tally.to_string(), "6 passed, 2 failed, 2 skipped");
    }
}

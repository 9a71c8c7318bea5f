//! Real SDKs send, over every protocol that they have: everything arrives, with nothing secret.
//! Rust's always; Python's and Node's where they can be installed.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use sluice_tests::collector::{Config, Sluice};
use sluice_tests::shop::Shop;
use sluice_tests::shop::sdk::Sdk;
use sluice_tests::sink::Sink;
use sluice_tests::{process, wait};

/// How many spans each sends.
const SPANS: u64 = 600;

/// How long an installation may take before it counts as impossible.
const INSTALL: Duration = Duration::from_secs(90);

/// How long a sender may take.
const SEND: Duration = Duration::from_secs(60);

fn redacting(upstream: &Sink) -> Config {
    Config::to(upstream).processor("redaction", "allow_all_keys: true\ndetectors: [payment_card, email]")
}

#[test]
fn rusts_sdk() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&redacting(&upstream));
    let sdk = Sdk::new(&format!("http://{}", sluice.grpc())).unwrap();
    let mut shop = Shop::new(141);
    let made: usize = (0..300).map(|_| sdk.tell(&shop.deed()).len()).sum();
    sdk.shutdown().unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "received"), made as i64);
    assert_eq!(upstream.spans(), made as u64);
    assert!(!shop.secrets().iter().any(|secret| upstream.holds(secret)));
}

/// Has a sender send over each protocol and checks what arrives.
fn sends(sender: impl Fn() -> Command, protocols: &[&str]) {
    for protocol in protocols {
        let upstream = Sink::start();
        let sluice = Sluice::start(&redacting(&upstream));
        let address = if *protocol == "grpc" { sluice.grpc() } else { sluice.http() };
        let mut command = sender();
        command.arg(protocol).arg(format!("http://{address}")).arg(SPANS.to_string());
        let said = run(&mut command, SEND).unwrap_or_else(|said| panic!("{command:?} failed: {said}"));
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{protocol}: {}", end.stderr);
        assert_eq!(upstream.spans(), SPANS, "{protocol}: {said}");
        assert!(upstream.holds("mailed") && !upstream.holds("4111 1111") && !upstream.holds("jane.doe@"), "{protocol}");
    }
}

#[test]
fn pythons_sdk() {
    match python() {
        Ok(python) => {
            let script = process::workspace().join("tests/sdks/python/send.py");
            let sender = || {
                let mut command = Command::new(&python);
                command.arg(&script);
                command
            };
            sends(sender, &["grpc", "http"]);
        }
        Err(reason) => println!("SKIPPED Python's SDK: {reason}"),
    }
}

#[test]
fn nodes_sdk() {
    match node() {
        Ok(script) => {
            let sender = || {
                let mut command = Command::new("node");
                command.arg(&script);
                command
            };
            sends(sender, &["grpc", "http", "json"]);
        }
        Err(reason) => println!("SKIPPED Node's SDK: {reason}"),
    }
}

/// An interpreter with the SDK installed, in a virtual environment under the target directory.
fn python() -> Result<PathBuf, String> {
    let folder = process::target().join("test-sdks/python");
    let interpreter = folder.join("bin/python");
    let done = folder.join("installed");
    if !done.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder), INSTALL)?;
        let requirements = process::workspace().join("tests/sdks/python/requirements.txt");
        let mut install = Command::new(&interpreter);
        install.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--retries",
            "0",
            "--timeout",
            "15",
            "-r",
        ]);
        run(install.arg(requirements), INSTALL)?;
        fs::write(done, "").map_err(|error| error.to_string())?;
    }
    Ok(interpreter)
}

/// The script, in a folder under the target directory where its packages are installed.
fn node() -> Result<PathBuf, String> {
    let folder = process::target().join("test-sdks/node");
    let source = process::workspace().join("tests/sdks/node");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for file in ["package.json", "send.js"] {
        fs::copy(source.join(file), folder.join(file)).map_err(|error| error.to_string())?;
    }
    let done = folder.join("installed");
    if !done.is_file() {
        let mut install = Command::new("npm");
        install
            .args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=0"])
            .current_dir(&folder);
        run(&mut install, INSTALL)?;
        fs::write(done, "").map_err(|error| error.to_string())?;
    }
    Ok(folder.join("send.js"))
}

/// Runs a command to its end and gives what it said; in `Err` if it failed or took too long.
pub fn run(command: &mut Command, time: Duration) -> Result<String, String> {
    let said = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let (out, err) = (said.reopen(), said.reopen());
    let (Ok(out), Ok(err)) = (out, err) else {
        return Err("no temporary file".to_owned());
    };
    process::tie(command).stdin(Stdio::null()).stdout(out).stderr(err);
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let status = wait::within(time, || child.try_wait().ok().flatten());
    let said = fs::read_to_string(said.path()).unwrap_or_default();
    match status {
        Some(status) if status.success() => Ok(said),
        Some(status) => Err(format!("{status}: {}", said.trim())),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("not done in {time:?}: {}", said.trim()))
        }
    }
}

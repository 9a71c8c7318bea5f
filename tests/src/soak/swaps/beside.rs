//! Another process beside the collector, which does to the machine what a swap does, and nothing to the collector:
//! `sluice validate` with a version that nobody has seen. It compiles it as the collector would, with the time that
//! nobody else wants.

use std::process::Stdio;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::FIRST;
use super::version::Version;
use crate::collector::{self, Config, Folder};
use crate::process;
use crate::sink::Sink;

const FILE: &str = "first.wasm";

/// See the module.
pub(super) struct Beside {
    folder: Folder,
    /// Of its own, so that nothing is left.
    cache: TempDir,
}

impl Beside {
    pub(super) fn new(upstream: &Sink) -> Result<Self> {
        let plugin = format!("module: {FILE}\nconfig: {{ place: {FIRST}, note: '0' }}");
        let config = Config::to(upstream).processor("wasm/first", &plugin).yaml();
        Ok(Self { folder: Folder::new(&config), cache: tempfile::tempdir()? })
    }

    /// Compiles and configures a version; blocks until that is done.
    pub(super) fn validate(&self, version: &Version) -> Result<()> {
        self.folder.write(FILE, &version.file);
        let mut command = collector::command();
        command.env("SLUICE_CACHE_DIR", self.cache.path()).args(["validate", "--config"]).arg(self.folder.config());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let status = process::tie(&mut command).status()?;
        ensure!(status.success(), "`sluice validate` of a good version: {status}");
        Ok(())
    }
}

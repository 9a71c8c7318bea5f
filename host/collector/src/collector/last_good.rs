//! The last generation that served, kept for a start whose configuration cannot be used (`--last-good`).
//!
//! `generation` in the folder tells it: the SHA-256 of what follows, a line end, and a JSON object with the sources
//! before substitution and the digest of each plugin's module. `modules/DIGEST.wasm` are these modules, with their
//! signatures. Modules are written first, `generation` is renamed into its place, and then what it does not name is
//! removed: whenever the process ends, what is there is whole. What is damaged all the same does not have its
//! digest, and is not used. A disk that refuses costs what would be kept, not the generation.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sluice_sandbox::signature_of;
use tempfile::NamedTempFile;

use super::Collector;
use crate::config::{self, Config, Diagnostics, Loaded, Source, Written};
use crate::private_folder::{self, Named};
use crate::quarantine::sha256;
use crate::swap::versions::Versions;

/// Tells the generation.
const FILE: &str = "generation";
/// The folder of the modules.
const MODULES: &str = "modules";

/// The format of the file.
const FORMAT: u32 = 1;

/// The largest file that is read: sixteen sources of the largest size.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Where the last good generation is kept.
pub(super) struct LastGood {
    folder: PathBuf,
    /// What is there, as far as it is known.
    kept: Option<Content>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    format: u32,
    sources: Vec<Written>,
    /// Digests of modules, by component id.
    modules: BTreeMap<String, String>,
}

/// A generation that was kept.
pub(super) struct Kept {
    /// Its configuration; modules are those in the folder.
    pub loaded: Loaded,
    /// The names of its sources.
    pub sources: Vec<String>,
    /// Digests of modules, by component id.
    pub modules: BTreeMap<String, String>,
    /// When it was written.
    pub since: SystemTime,
}

/// Why nothing that is in the folder can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// The folder cannot be trusted.
    #[error(transparent)]
    Folder(#[from] private_folder::Unusable),
    /// No process has kept anything.
    #[error("no generation has been kept in {} yet", .0.display())]
    Nothing(PathBuf),
    /// The system refuses.
    #[error("cannot read {}: {error}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not what was written.
    #[error("{} is damaged: its content does not have the digest in its first line", .0.display())]
    Damaged(PathBuf),
    /// Another Sluice has written it.
    #[error("{} was written by another version of Sluice", .0.display())]
    Format(PathBuf),
    /// It needs what is not there any more.
    #[error("the configuration kept in {} cannot be used any more:\n{problems}", folder.display())]
    Config {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        problems: Diagnostics,
    },
}

/// Reads what is kept in the folder.
///
/// # Errors
/// When it cannot be used.
pub(super) fn read(folder: &Path) -> Result<Kept, Unusable> {
    private_folder::open(Named::LastGood, folder)?;
    let (Content { sources, modules, .. }, since) = content(folder)?;
    let names = sources.iter().map(|source| source.name.clone()).collect();
    let sources: Vec<_> = sources.into_iter().map(Source::Kept).collect();
    let mut loaded = config::load(&sources)
        .map_err(|broken| Unusable::Config { folder: folder.to_owned(), problems: broken.problems })?;
    for component in &mut loaded.config.processors {
        if let Some(digest) = modules.get(&component.id.to_string()) {
            component.settings.module = Some(module(folder, digest));
            component.settings.sha256 = Some(digest.clone());
        }
    }
    Ok(Kept { loaded, sources: names, modules, since })
}

fn content(folder: &Path) -> Result<(Content, SystemTime), Unusable> {
    let file = folder.join(FILE);
    let io = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unusable::Nothing(folder.to_owned()),
        _ => Unusable::Io { file: file.clone(), error },
    };
    let opened = File::open(&file).map_err(io)?;
    let since = opened.metadata().and_then(|found| found.modified()).map_err(io)?;
    let mut bytes = Vec::new();
    opened.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io)?;
    let damaged = || Unusable::Damaged(file.clone());
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
    let (digest, json) = bytes.split_at_checked(end).ok_or_else(damaged)?;
    let json = json.get(1..).unwrap_or_default();
    if digest != sha256(json).as_bytes() {
        return Err(damaged());
    }
    let other = |_| Unusable::Format(file.clone());
    let content: Content = serde_json::from_slice(json).map_err(other)?;
    if content.format == FORMAT { Ok((content, since)) } else { Err(Unusable::Format(file)) }
}

fn module(folder: &Path, digest: &str) -> PathBuf {
    folder.join(MODULES).join(format!("{digest}.wasm"))
}

impl LastGood {
    /// In this folder.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), kept: None }
    }

    /// Keeps a generation, unless it is there already. Blocking.
    fn keep(&mut self, content: Content, versions: &Versions) {
        if let Err(error) = self.write(content, versions) {
            tracing::warn!(
                event = "last_good.not_kept",
                folder = %self.folder.display(),
                %error,
                "a start with a broken configuration would not find this generation"
            );
        }
    }

    fn write(&mut self, content: Content, versions: &Versions) -> io::Result<()> {
        // Nothing is known only of what another process has left; of that the modules are looked at, too.
        if self.kept.as_ref() == Some(&content) {
            return Ok(());
        }
        private_folder::open(Named::LastGood, &self.folder).map_err(io::Error::other)?;
        DirBuilder::new().recursive(true).mode(0o700).create(self.folder.join(MODULES))?;
        for (plugin, digest) in &content.modules {
            self.write_module(&versions.file(plugin, digest), digest)?;
        }
        if !self::content(&self.folder).is_ok_and(|(known, _)| known == content) {
            let json = serde_json::to_vec(&content)?;
            self.place(FILE.as_ref(), &[sha256(&json).as_bytes(), b"\n", &json].concat())?;
        }
        self.tidy(&content)?;
        self.kept = Some(content);
        Ok(())
    }

    /// Copies a module and its signature, unless they are there.
    fn write_module(&self, from: &Path, digest: &str) -> io::Result<()> {
        let to = module(&self.folder, digest);
        if fs::read(&to).is_ok_and(|known| sha256(&known) == digest) {
            return Ok(());
        }
        let bytes = fs::read(from)?;
        if sha256(&bytes) != digest {
            return Err(io::Error::other(format!("{} is not the version that serves", from.display())));
        }
        match fs::read(signature_of(from)) {
            Ok(signature) => self.place(&signature_of(&to), &signature)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.place(&to, &bytes)
    }

    /// Writes a file as a whole or not at all, and so that a power cut does not change that.
    fn place(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.folder.join(file);
        let mut aside = NamedTempFile::new_in(self.folder.join(MODULES))?;
        aside.write_all(bytes)?;
        aside.as_file().sync_all()?;
        aside.persist(&file)?;
        File::open(file.parent().unwrap_or(&self.folder))?.sync_all()
    }

    /// Removes what the generation does not name, and what a process that was killed has left.
    fn tidy(&self, content: &Content) -> io::Result<()> {
        let named: Vec<_> = content.modules.values().map(|digest| module(&self.folder, digest)).collect();
        for entry in fs::read_dir(self.folder.join(MODULES))? {
            let path = entry?.path();
            if !named.iter().any(|module| path == *module || path == signature_of(module)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

impl Collector {
    /// Keeps what serves now as the last good generation, if that is wanted. Writing blocks; the control thread
    /// keeps accepting meanwhile.
    pub(super) async fn keep_last_good(&mut self) {
        // While a module that came with other settings is tried, the one that serves has those of before: both
        // together are no generation.
        let mut components = self.config.used_processors();
        let serves = |id: String| self.served.get(&id);
        if !components.all(|one| serves(one.id.to_string()).is_some_and(|now| now.settings == one.settings)) {
            return;
        }
        let Some(mut last_good) = self.last_good.take() else { return };
        let with_module = self.served.iter().filter(|(_, served)| served.settings.module.is_some());
        let modules = with_module.map(|(id, served)| (id.clone(), served.prepared.digest().to_owned())).collect();
        let (sources, versions) = (sources(&self.config), Arc::clone(&self.workshop.versions));
        let keep = move || {
            last_good.keep(Content { format: FORMAT, sources, modules }, &versions);
            last_good
        };
        match tokio::task::spawn_blocking(keep).await {
            Ok(last_good) => self.last_good = Some(last_good),
            Err(error) => tracing::error!(event = "internal", %error, "keeping the last good generation has failed"),
        }
    }
}

/// The sources of a configuration, with relative paths that go on meaning the same wherever a process starts.
fn sources(config: &Config) -> Vec<Written> {
    let absolute = |path: &Path| std::env::current_dir().unwrap_or_default().join(path);
    let source = |written: &Written| Written {
        file: written.file.as_deref().map(absolute),
        folder: absolute(&written.folder),
        ..written.clone()
    };
    config.written().iter().map(source).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SERVICE: &str = "service: { pipelines: { traces: { receivers: [otlp], exporters: [debug] } } }";
    const YAML: &str = "receivers: { otlp: { protocols: { grpc: {} } } }\nexporters: { debug: {} }\n";

    fn content(config: &Config) -> Content {
        Content { format: FORMAT, sources: sources(config), modules: BTreeMap::new() }
    }

    #[test]
    fn relative_paths_mean_the_same_from_wherever_a_process_starts() {
        let text = Source::Text("c.yaml".to_owned(), format!("{YAML}{SERVICE}"));
        let config = config::load(&[text, Source::Set("exporters.debug.verbosity=basic".to_owned())]).unwrap().config;
        let here = std::env::current_dir().unwrap();
        assert_eq!(sources(&config).iter().map(|source| &source.folder).collect::<Vec<_>>(), [&here, &here]);
        let folder = tempfile::tempdir().unwrap();
        let versions = Versions::open(None).unwrap();
        LastGood::new(folder.path()).write(content(&config), &versions).unwrap();
        let kept = read(folder.path()).unwrap();
        assert_eq!(kept.loaded.config, config);
        assert_eq!(content(&kept.loaded.config), content(&config), "what is kept of it once more is the same");
    }

    #[test]
    fn what_is_damaged_anywhere_is_not_read() {
        let text = Source::Text("c.yaml".to_owned(), format!("{YAML}{SERVICE}"));
        let config = config::load(&[text]).unwrap().config;
        let folder = tempfile::tempdir().unwrap();
        let nothing = read(folder.path()).err().unwrap();
        assert!(matches!(nothing, Unusable::Nothing(_)), "{nothing}");
        LastGood::new(folder.path()).write(content(&config), &Versions::open(None).unwrap()).unwrap();
        let file = folder.path().join(FILE);
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            *damaged.get_mut(at).unwrap() ^= 1;
            fs::write(&file, damaged).unwrap();
            assert!(matches!(read(folder.path()), Err(Unusable::Damaged(_))), "byte {at}");
        }
        fs::write(&file, whole.get(..whole.len() / 2).unwrap()).unwrap();
        assert!(matches!(read(folder.path()), Err(Unusable::Damaged(_))));
    }
}

//! The last versions of modules, for going back to one of them.
//!
//! A folder a plugin, in `versions` of the `state_dir`, else in a temporary folder that ends with the
//! process: `DIGEST.wasm` for each version that has served, with its signature if it has one, `order` with
//! the digests, oldest first, and `rolled_back` with the digests that must not serve any more, the last one
//! that was rolled back last, and behind them the one that serves instead; `proved` with the digests of those that
//! have proved themselves. What is read from here is verified as any module is, and must have the digest
//! that its name says. A disk that refuses costs the way back, not the swap.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sluice_sandbox::{read_signature, signature_of};
use tempfile::{NamedTempFile, TempDir};

/// Versions of a plugin that are kept, the one that serves included.
const KEPT: usize = 4;

/// Digests of a plugin that are remembered as rolled back; the oldest are forgotten.
const ROLLED_BACK: usize = 100;

/// Where versions are kept.
pub struct Versions {
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

/// Versions that must not serve any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// Their digests, in the order in which they were rolled back; there is one at least.
    pub digests: Vec<String>,
    /// The digest of the version that serves instead.
    pub instead: String,
}

impl RolledBack {
    /// Whether this version must not serve.
    pub fn has(&self, digest: &str) -> bool {
        self.digests.iter().any(|known| known == digest)
    }
}

impl Versions {
    /// Opens the folder in the `state_dir`, or a temporary one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(state_dir: Option<&Path>) -> io::Result<Self> {
        let Some(state_dir) = state_dir else {
            let temporary = TempDir::with_prefix("sluice-versions-")?;
            return Ok(Self { folder: temporary.path().to_owned(), _temporary: Some(temporary) });
        };
        Ok(Self { folder: state_dir.join("versions"), _temporary: None })
    }

    /// The file of a version.
    pub fn file(&self, plugin: &str, digest: &str) -> PathBuf {
        self.of(plugin).join(format!("{digest}.wasm"))
    }

    /// The versions that are kept, oldest first.
    pub fn kept(&self, plugin: &str) -> Vec<String> {
        self.lines(plugin, "order")
    }

    /// The version that served last, if it is kept.
    pub fn last(&self, plugin: &str) -> Option<String> {
        self.kept(plugin).pop().filter(|digest| self.file(plugin, digest).exists())
    }

    /// The version before this one, if it is kept.
    pub fn before(&self, plugin: &str, digest: &str) -> Option<String> {
        let kept = self.kept(plugin);
        let earlier = kept.split(|known| known == digest).next()?;
        earlier.iter().rev().find(|digest| self.file(plugin, digest).exists()).cloned()
    }

    /// The version that a bad one goes back to by itself: the last one before it that has proved itself, if one is
    /// kept, else the one before.
    pub fn proved_before(&self, plugin: &str, digest: &str) -> Option<String> {
        let (kept, proved) = (self.kept(plugin), self.lines(plugin, "proved"));
        let earlier = kept.split(|known| known == digest).next()?;
        let is_there = |digest: &&String| proved.contains(digest) && self.file(plugin, digest).exists();
        earlier.iter().rev().find(is_there).cloned().or_else(|| self.before(plugin, digest))
    }

    /// Whether a version has proved itself.
    pub fn has_proved(&self, plugin: &str, digest: &str) -> bool {
        self.lines(plugin, "proved").iter().any(|known| known == digest)
    }

    /// Whether a version has yet to prove itself, because there is one that has.
    pub fn has_to_prove(&self, plugin: &str, digest: &str) -> bool {
        let (kept, proved) = (self.kept(plugin), self.lines(plugin, "proved"));
        !proved.iter().any(|known| known == digest) && proved.iter().any(|known| kept.contains(known))
    }

    /// A version that is kept has proved itself, or serves without having to.
    pub fn prove(&self, plugin: &str, digest: &str) {
        let (kept, mut proved) = (self.kept(plugin), self.lines(plugin, "proved"));
        if self.has_proved(plugin, digest) || !kept.iter().any(|known| known == digest) {
            return;
        }
        proved.retain(|known| kept.contains(known));
        proved.push(digest.to_owned());
        if let Err(error) = self.list(plugin, "proved", &proved) {
            tracing::warn!(event = "plugin.versions", plugin, digest, %error, "that this version has proved itself is not remembered");
        }
    }

    /// The versions that must not serve any more, if there are any and the one instead of them is kept.
    pub fn rolled_back(&self, plugin: &str) -> Option<RolledBack> {
        let mut digests = self.lines(plugin, "rolled_back");
        let instead = digests.pop()?;
        (!digests.is_empty() && self.file(plugin, &instead).exists()).then_some(RolledBack { digests, instead })
    }

    /// Keeps a version that serves from now on: `module` is its bytes, read from `file`.
    pub fn keep(&self, plugin: &str, digest: &str, module: &[u8], file: &Path) {
        if let Err(error) = self.write(plugin, digest, module, file) {
            tracing::warn!(event = "plugin.versions", plugin, folder = %self.folder.display(), %error, "this version is not kept; there will be no way back to it");
        }
    }

    fn write(&self, plugin: &str, digest: &str, module: &[u8], file: &Path) -> io::Result<()> {
        let folder = self.of(plugin);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut order = self.kept(plugin);
        let kept = self.file(plugin, digest);
        // One that comes again moves to the end.
        order.retain(|known| known != digest);
        order.push(digest.to_owned());
        if file != kept {
            place(&folder, &kept, module)?;
            match read_signature(file) {
                Ok(signature) => place(&folder, &signature_of(&kept), &signature)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        // The file has changed to another version. What comes from here is gone back to, which allows nothing.
        if file != kept && self.rolled_back(plugin).is_some_and(|rolled_back| rolled_back.instead != digest) {
            self.allow(plugin)?;
        }
        while order.len() > KEPT {
            // The one that it would go back to by itself stays.
            let stays = self.proved_before(plugin, digest);
            let old = order.iter().position(|known| Some(known) != stays.as_ref()).unwrap_or_default();
            self.forget(plugin, &order.remove(old))?;
        }
        self.list(plugin, "order", &order)
    }

    fn list(&self, plugin: &str, name: &str, digests: &[String]) -> io::Result<()> {
        let folder = self.of(plugin);
        place(&folder, &folder.join(name), (digests.join("\n") + "\n").as_bytes())
    }

    /// This version must not serve any more, beside those that must not already; `instead` does. It is not kept
    /// any longer.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn roll_back(&self, plugin: &str, digest: &str, instead: &str) -> io::Result<()> {
        let mut digests = self.rolled_back(plugin).map(|before| before.digests).unwrap_or_default();
        digests.retain(|known| known != digest && known != instead);
        digests.push(digest.to_owned());
        self.write_down(plugin, &RolledBack { digests, instead: instead.to_owned() })?;
        for name in ["order", "proved"] {
            let mut others = self.lines(plugin, name);
            others.retain(|known| known != digest);
            self.list(plugin, name, &others)?;
        }
        self.forget(plugin, digest)
    }

    /// These versions must not serve any more, and no others. They stay as kept as they are.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn write_down(&self, plugin: &str, rolled_back: &RolledBack) -> io::Result<()> {
        let (folder, RolledBack { digests, instead }) = (self.of(plugin), rolled_back);
        let file = folder.join("rolled_back");
        let last = digests.get(digests.len().saturating_sub(ROLLED_BACK)..).unwrap_or_default();
        place(&folder, &file, format!("{}\n{instead}\n", last.join("\n")).as_bytes())?;
        // After a power cut the version that must not serve would be tried again, or the one instead of it
        // would be torn. What is torn of the others is noticed by its digest when it is wanted.
        for written in [&file, &self.file(plugin, instead), &folder] {
            fs::File::open(written)?.sync_all()?;
        }
        Ok(())
    }

    /// This version may serve again.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn forgive(&self, plugin: &str, digest: &str) -> io::Result<()> {
        let Some(mut rolled_back) = self.rolled_back(plugin).filter(|one| one.has(digest)) else { return Ok(()) };
        rolled_back.digests.retain(|known| known != digest);
        if rolled_back.digests.is_empty() { self.allow(plugin) } else { self.write_down(plugin, &rolled_back) }
    }

    /// Any version may serve again.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn allow(&self, plugin: &str) -> io::Result<()> {
        gone(fs::remove_file(self.of(plugin).join("rolled_back")))
    }

    fn forget(&self, plugin: &str, digest: &str) -> io::Result<()> {
        let file = self.file(plugin, digest);
        gone(fs::remove_file(signature_of(&file)))?;
        gone(fs::remove_file(file))
    }

    fn of(&self, plugin: &str) -> PathBuf {
        self.folder.join(utf8_percent_encode(plugin, NON_ALPHANUMERIC).to_string())
    }

    /// The digests in a file; none if it cannot be read.
    fn lines(&self, plugin: &str, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.of(plugin).join(name)).unwrap_or_default();
        let is_digest = |line: &&str| line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        text.lines().filter(is_digest).map(str::to_owned).collect()
    }
}

/// Writes a file as a whole or not at all.
fn place(folder: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut aside = NamedTempFile::new_in(folder)?;
    aside.write_all(bytes)?;
    aside.persist(file)?;
    Ok(())
}

/// What is not there need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const PLUGIN: &str = "wasm/../a";

    fn digest(letter: char) -> String {
        letter.to_string().repeat(64)
    }

    /// Keeps versions of these letters, one after the other.
    fn kept(letters: &str) -> (TempDir, Versions) {
        let state = tempfile::tempdir().unwrap();
        let versions = Versions::open(Some(state.path())).unwrap();
        for letter in letters.chars() {
            versions.keep(PLUGIN, &digest(letter), &[letter as u8], Path::new("/nowhere/a.wasm"));
        }
        (state, versions)
    }

    #[test]
    fn the_last_ones_are_kept_with_their_bytes_in_a_private_folder() {
        let (state, versions) = kept("abcdbe");
        assert_eq!(versions.kept(PLUGIN), ["c", "d", "b", "e"].map(|letter| letter.repeat(64)));
        assert_eq!(fs::read(versions.file(PLUGIN, &digest('d'))).unwrap(), b"d");
        assert!(!versions.file(PLUGIN, &digest('a')).exists());
        assert_eq!(versions.before(PLUGIN, &digest('e')), Some(digest('b')));
        assert_eq!((versions.before(PLUGIN, &digest('c')), versions.before("other", &digest('e'))), (None, None));
        let folder = state.path().join("versions").join("wasm%2F%2E%2E%2Fa");
        assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_signature_is_kept_beside_its_module() {
        let (_state, versions) = kept("a");
        let outside = tempfile::tempdir().unwrap();
        let module = outside.path().join("b.wasm");
        fs::write(signature_of(&module), "signed").unwrap();
        versions.keep(PLUGIN, &digest('b'), b"b", &module);
        let signature = signature_of(&versions.file(PLUGIN, &digest('b')));
        assert_eq!(fs::read(&signature).unwrap(), b"signed");
        "cdef".chars().for_each(|letter| versions.keep(PLUGIN, &digest(letter), b"", &module.with_file_name("c")));
        assert!(!signature.exists(), "it goes with its module");
    }

    #[test]
    fn all_that_was_rolled_back_is_remembered_and_not_kept() {
        let (state, versions) = kept("abc");
        // Each time the one before serves again, from where it is kept.
        for (bad, instead) in [('c', 'b'), ('b', 'a')] {
            versions.keep(PLUGIN, &digest(instead), &[], &versions.file(PLUGIN, &digest(instead)));
            versions.roll_back(PLUGIN, &digest(bad), &digest(instead)).unwrap();
        }
        let again = Versions::open(Some(state.path())).unwrap();
        let remembered = RolledBack { digests: vec![digest('c'), digest('b')], instead: digest('a') };
        assert!(remembered.has(&digest('b')) && remembered.has(&digest('c')) && !remembered.has(&digest('a')));
        assert_eq!(again.rolled_back(PLUGIN), Some(remembered));
        assert_eq!(again.kept(PLUGIN), [digest('a')]);
        assert!(!again.file(PLUGIN, &digest('c')).exists() && !again.file(PLUGIN, &digest('b')).exists());
        fs::remove_file(again.file(PLUGIN, &digest('a'))).unwrap();
        assert_eq!(again.rolled_back(PLUGIN), None, "nothing could serve instead");
        again.allow(PLUGIN).unwrap();
        again.allow(PLUGIN).unwrap();
        assert!(!state.path().join("versions/wasm%2F%2E%2E%2Fa/rolled_back").exists());
    }

    #[test]
    fn another_version_in_the_file_ends_that_and_what_was_rolled_back_again_comes_last() {
        let (_state, versions) = kept("ab");
        for bad in ['c', 'd', 'c'] {
            versions.roll_back(PLUGIN, &digest(bad), &digest('b')).unwrap();
        }
        let digests = |versions: &Versions| versions.rolled_back(PLUGIN).map(|rolled_back| rolled_back.digests);
        assert_eq!(digests(&versions), Some(vec![digest('d'), digest('c')]));
        versions.keep(PLUGIN, &digest('b'), b"b", Path::new("/nowhere/a.wasm"));
        assert!(digests(&versions).is_some(), "it is the one that serves instead");
        versions.keep(PLUGIN, &digest('e'), b"e", Path::new("/nowhere/a.wasm"));
        assert_eq!(digests(&versions), None);
    }

    #[test]
    fn the_oldest_of_very_many_are_forgotten() {
        let (_state, versions) = kept("a");
        let digests = (0..=ROLLED_BACK).map(|number| format!("{number:064}")).collect::<Vec<_>>();
        versions.write_down(PLUGIN, &RolledBack { digests: digests.clone(), instead: digest('a') }).unwrap();
        assert_eq!(versions.rolled_back(PLUGIN).unwrap().digests, digests.get(1..).unwrap());
    }

    #[test]
    fn a_bad_version_goes_back_to_the_last_that_has_proved_itself() {
        let (state, versions) = kept("abcd");
        let back = |versions: &Versions, letter| versions.proved_before(PLUGIN, &digest(letter));
        assert_eq!(back(&versions, 'd'), Some(digest('c')), "none has: the one before");
        assert!(!versions.has_to_prove(PLUGIN, &digest('d')));
        "ab9".chars().for_each(|letter| versions.prove(PLUGIN, &digest(letter)));
        let again = Versions::open(Some(state.path())).unwrap();
        assert_eq!((back(&again, 'd'), back(&again, 'b')), (Some(digest('b')), Some(digest('a'))));
        assert!(again.has_proved(PLUGIN, &digest('a')) && !again.has_proved(PLUGIN, &digest('d')));
        assert!(!again.has_proved(PLUGIN, &digest('9')), "it is not kept");
        assert!(again.has_to_prove(PLUGIN, &digest('d')) && !again.has_to_prove(PLUGIN, &digest('b')));
        versions.roll_back(PLUGIN, &digest('b'), &digest('a')).unwrap();
        assert_eq!(back(&again, 'd'), Some(digest('a')), "what was rolled back has not");
    }

    #[test]
    fn the_last_that_has_proved_itself_stays_however_many_come_after_it() {
        let (_state, versions) = kept("ab");
        versions.prove(PLUGIN, &digest('a'));
        "cdef0".chars().for_each(|letter| versions.keep(PLUGIN, &digest(letter), b"", Path::new("/nowhere/a.wasm")));
        assert_eq!(versions.kept(PLUGIN), ["a", "e", "f", "0"].map(|letter| letter.repeat(64)));
        assert_eq!(versions.proved_before(PLUGIN, &digest('0')), Some(digest('a')));
    }

    #[test]
    fn a_list_that_was_tampered_with_names_no_other_file() {
        let (state, versions) = kept("a");
        let folder = state.path().join("versions/wasm%2F%2E%2E%2Fa");
        fs::write(folder.join("order"), format!("../../{}\n{}\n", digest('a'), digest('a'))).unwrap();
        assert_eq!(versions.kept(PLUGIN), [digest('a')]);
    }

    #[test]
    fn without_a_state_dir_versions_end_with_the_process() {
        let versions = Versions::open(None).unwrap();
        versions.keep(PLUGIN, &digest('a'), b"a", Path::new("/nowhere/a.wasm"));
        let file = versions.file(PLUGIN, &digest('a'));
        assert!(file.exists());
        drop(versions);
        assert!(!file.exists());
    }
}

//! The folder that outlives the process, as it is found.
//!
//! What is kept in it is trusted (code, stores) or may be secret (quarantined spans), so it is for this
//! user alone (0700).

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What a group or others could do, and what of it lets them put something in.
const NOT_OURS: u32 = 0o077;
const NOT_OURS_TO_WRITE: u32 = 0o022;

/// Nothing can be kept in the folder.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be made or looked at.
    #[error("cannot use the `state_dir` {}: {error}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is somebody else's.
    #[error("the `state_dir` {} belongs to another user: give it to this user with mode 0700, or name another folder", .0.display())]
    NotOurs(PathBuf),
    /// Others could put something in, and somebody has.
    #[error(
        "others may write to the `state_dir` {}, and {} belongs to another user: find out what it is, remove it or give it to this user, and set mode 0700",
        folder.display(), entry.display()
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// What is in it.
        entry: PathBuf,
    },
}

/// Makes the folder, or sees to it that it is for this user alone.
///
/// # Errors
/// When it, or what others could put in, is somebody else's, or the system refuses.
pub fn open(folder: &Path) -> Result<(), Unusable> {
    open_as(folder, rustix::process::geteuid().as_raw())
}

fn open_as(folder: &Path, user: u32) -> Result<(), Unusable> {
    let io = |error| Unusable::Io { folder: folder.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let found = fs::metadata(folder).map_err(io)?;
    if found.uid() != user {
        return Err(Unusable::NotOurs(folder.to_owned()));
    }
    let mode = found.permissions().mode() & 0o777;
    if mode & NOT_OURS == 0 {
        return Ok(());
    }
    // First nobody can add anything, then it is looked at what is there.
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(io)?;
    if mode & NOT_OURS_TO_WRITE != 0
        && let Some(entry) = foreign(folder, user).map_err(io)?
    {
        // The next start has to find it as well.
        fs::set_permissions(folder, Permissions::from_mode(mode)).map_err(io)?;
        return Err(Unusable::Foreign { folder: folder.to_owned(), entry });
    }
    let (folder, mode) = (folder.display(), format!("{mode:04o}"));
    tracing::warn!(event = "state_dir", %folder, mode, "others could enter the `state_dir`: it has mode 0700 now");
    Ok(())
}

/// Something in the folder that is of another user.
fn foreign(folder: &Path, user: u32) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.metadata()?.uid() != user {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn mode(folder: &Path) -> u32 {
        fs::metadata(folder).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn it_is_made_for_this_user_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        open(&folder).unwrap();
        assert_eq!([mode(&folder), mode(&parent.path().join("a"))], [0o700; 2]);
        open(&folder).unwrap();
    }

    #[test]
    fn one_that_others_could_enter_is_closed_to_them_and_keeps_what_is_in_it() {
        for open_to in [0o755, 0o770, 0o777, 0o701] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("account.json"), "{}").unwrap();
            fs::set_permissions(folder.path(), Permissions::from_mode(open_to)).unwrap();
            open(folder.path()).unwrap();
            assert_eq!(mode(folder.path()), 0o700, "{open_to:o}");
            assert_eq!(fs::read(folder.path().join("account.json")).unwrap(), b"{}");
        }
    }

    #[test]
    fn one_of_another_user_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let somebody = rustix::process::geteuid().as_raw() + 1;
        let refused = open_as(folder.path(), somebody).unwrap_err().to_string();
        assert!(refused.contains("belongs to another user") && refused.contains("0700"), "{refused}");
        assert!(refused.contains(folder.path().to_str().unwrap()), "{refused}");
        assert_eq!(mode(folder.path()), 0o755);
    }

    #[test]
    fn what_others_have_put_in_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let us = rustix::process::geteuid().as_raw();
        assert_eq!(foreign(folder.path(), us + 1).unwrap(), None);
        let entry = folder.path().join("stores");
        std::os::unix::fs::symlink("/nowhere", &entry).unwrap();
        assert_eq!(foreign(folder.path(), us).unwrap(), None);
        assert_eq!(foreign(folder.path(), us + 1).unwrap(), Some(entry));
    }

    #[test]
    fn a_file_in_its_place_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("state");
        fs::write(&file, "").unwrap();
        let refused = open(&file).unwrap_err().to_string();
        assert!(refused.contains("state") && refused.contains("`state_dir`"), "{refused}");
    }
}

//! The folders that outlive the process, as they are found.
//!
//! What is kept in them is trusted (code, stores, a configuration) or may be secret (quarantined spans), so they
//! are for this user alone (0700).

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What a group or others could do, and what of it lets them put something in.
const NOT_OURS: u32 = 0o077;
const NOT_OURS_TO_WRITE: u32 = 0o022;

/// Who has named the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The extension `sluice`.
    StateDir,
    /// The argument `--last-good`.
    LastGood,
}

impl Named {
    fn event(self) -> &'static str {
        match self {
            Self::StateDir => "state_dir",
            Self::LastGood => "last_good.folder",
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StateDir => "`state_dir`",
            Self::LastGood => "`--last-good`",
        })
    }
}

/// Nothing can be kept in the folder.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be made or looked at.
    #[error("cannot use the {named} {}: {error}", folder.display())]
    Io {
        /// By whom it is named.
        named: Named,
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is somebody else's.
    #[error("the {named} {} belongs to another user: give it to this user with mode 0700, or name another folder", folder.display())]
    NotOurs {
        /// By whom it is named.
        named: Named,
        /// The folder.
        folder: PathBuf,
    },
    /// Others could put something in, and somebody has.
    #[error(
        "others may write to the {named} {}, and {} belongs to another user: find out what it is, remove it or give it to this user, and set mode 0700",
        folder.display(), entry.display()
    )]
    Foreign {
        /// By whom it is named.
        named: Named,
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
pub fn open(named: Named, folder: &Path) -> Result<(), Unusable> {
    open_as(named, folder, rustix::process::geteuid().as_raw())
}

fn open_as(named: Named, folder: &Path, user: u32) -> Result<(), Unusable> {
    let io = |error| Unusable::Io { named, folder: folder.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let found = fs::metadata(folder).map_err(io)?;
    if found.uid() != user {
        return Err(Unusable::NotOurs { named, folder: folder.to_owned() });
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
        return Err(Unusable::Foreign { named, folder: folder.to_owned(), entry });
    }
    let (folder, mode) = (folder.display(), format!("{mode:04o}"));
    tracing::warn!(event = named.event(), %folder, mode, "others could enter the {named}: it has mode 0700 now");
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
    #![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]
    use super::*;

    fn mode(folder: &Path) -> u32 {
        fs::metadata(folder).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn it_is_made_for_this_user_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        open(Named::StateDir, &folder).unwrap();
        assert_eq!([mode(&folder), mode(&parent.path().join("a"))], [0o700; 2]);
        open(Named::StateDir, &folder).unwrap();
    }

    #[test]
    fn one_that_others_could_enter_is_closed_to_them_and_keeps_what_is_in_it() {
        for open_to in [0o755, 0o770, 0o777, 0o701] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("account.json"), "{}").unwrap();
            fs::set_permissions(folder.path(), Permissions::from_mode(open_to)).unwrap();
            open(Named::StateDir, folder.path()).unwrap();
            assert_eq!(mode(folder.path()), 0o700, "{open_to:o}");
            assert_eq!(fs::read(folder.path().join("account.json")).unwrap(), b"{}");
        }
    }

    #[test]
    fn one_of_another_user_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let somebody = rustix::process::geteuid().as_raw() + 1;
        let refused = open_as(Named::StateDir, folder.path(), somebody).unwrap_err().to_string();
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
    fn one_that_others_could_write_to_is_refused_if_they_have_and_stays_open_for_the_next_look() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let entry = folder.path().join("stores");
        fs::write(&entry, "").unwrap();
        let nobody = 65534;
        if std::os::unix::fs::chown(&entry, Some(nobody), None).is_err() {
            return println!("SKIPPED a state_dir with something of another user: only root can give a file away");
        }
        for _ in 0..2 {
            let refused = open(Named::StateDir, folder.path()).unwrap_err().to_string();
            assert!(refused.contains("others may write to") && refused.contains("stores belongs to"), "{refused}");
            assert_eq!(mode(folder.path()), 0o777);
        }
    }

    #[test]
    fn a_file_in_its_place_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("state");
        fs::write(&file, "").unwrap();
        let refused = open(Named::StateDir, &file).unwrap_err().to_string();
        assert!(refused.contains("state") && refused.contains("`state_dir`"), "{refused}");
    }
}

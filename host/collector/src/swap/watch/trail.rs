//! How a file is found by its path: by which names, and what there is in the end.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crate::reread::Stamp;

/// Device and inode: of two folders that have the same path one after the other they tell which it is.
pub(super) type Inode = (u64, u64);

/// As many links as Linux follows.
const LINKS: usize = 40;

/// See the module. Two are equal if it is still the same file and nothing has been written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trail {
    steps: Vec<Step>,
    stamp: Option<Stamp>,
}

/// A name that may come to mean another file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    /// The folder, without links, and the name in it.
    place: PathBuf,
    /// Which folder it is.
    folder: Option<Inode>,
}

impl Trail {
    /// That of a file, as it is now. There need not be one.
    pub(super) fn of(file: &Path) -> Self {
        Self { steps: steps(file), stamp: Stamp::of(file) }
    }

    /// The folders in which something may happen to the file.
    pub(super) fn folders(&self) -> impl Iterator<Item = (PathBuf, Option<Inode>)> {
        self.steps.iter().filter_map(|step| Some((step.place.parent()?.to_owned(), step.folder)))
    }

    /// Whether what happens at this path may happen to the file.
    pub(super) fn passes(&self, path: &Path) -> bool {
        self.steps.iter().any(|step| step.place == path || step.place.parent() == Some(path))
    }
}

/// The links on the way to a file, and the file; where it ends before, the first name that is not there.
fn steps(file: &Path) -> Vec<Step> {
    let mut steps = Vec::new();
    // Without a working directory a relative path leads nowhere.
    let Ok(mut rest) = std::path::absolute(file) else { return steps };
    let mut folder = PathBuf::new();
    'links: for _ in 0..=LINKS {
        let mut names = rest.components();
        while let Some(name) = names.next() {
            let name = match name {
                Component::Normal(name) => name,
                Component::RootDir => {
                    folder = PathBuf::from("/");
                    continue;
                }
                Component::ParentDir => {
                    folder.pop();
                    continue;
                }
                Component::CurDir | Component::Prefix(_) => continue,
            };
            let (place, after) = (folder.join(name), names.as_path());
            let link = fs::read_link(&place).ok();
            let goes_on = link.is_none() && place.is_dir();
            if !goes_on {
                steps.push(Step { place: place.clone(), folder: inode(&folder) });
            }
            if let Some(target) = link {
                rest = target.join(after);
                continue 'links;
            }
            if !goes_on {
                return steps;
            }
            folder = place;
        }
        return steps;
    }
    steps
}

fn inode(folder: &Path) -> Option<Inode> {
    fs::metadata(folder).ok().map(|folder| (folder.dev(), folder.ino()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A folder, and its path without links.
    fn folder() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    fn places(file: &Path) -> Vec<PathBuf> {
        steps(file).into_iter().map(|step| step.place).collect()
    }

    #[test]
    fn a_file_in_a_config_map_is_reached_by_its_links() {
        let (_guard, mount) = folder();
        fs::create_dir(mount.join("..1")).unwrap();
        fs::write(mount.join("..1/p.wasm"), "one").unwrap();
        symlink("..1", mount.join("..data")).unwrap();
        symlink("..data/p.wasm", mount.join("p.wasm")).unwrap();
        let file = mount.join("p.wasm");
        assert_eq!(places(&file), ["p.wasm", "..data", "..1/p.wasm"].map(|name| mount.join(name)));
        let trail = Trail::of(&file);
        for passed in [&mount, &mount.join("..data"), &mount.join("..1"), &mount.join("..1/p.wasm")] {
            assert!(trail.passes(passed), "{}", passed.display());
        }
        for beside in ["log", "..2", "..1/q.wasm", "..data/p.wasm"] {
            assert!(!trail.passes(&mount.join(beside)), "{beside}");
        }
        fs::create_dir(mount.join("..2")).unwrap();
        fs::write(mount.join("..2/p.wasm"), "one").unwrap();
        symlink("..2", mount.join("..tmp")).unwrap();
        fs::rename(mount.join("..tmp"), mount.join("..data")).unwrap();
        assert_ne!(Trail::of(&file), trail);
        assert_eq!(places(&file).last(), Some(&mount.join("..2/p.wasm")));
    }

    #[test]
    fn a_link_out_of_the_folder_and_ways_around_are_followed() {
        let (_guard, here) = folder();
        let (_other, there) = folder();
        fs::write(there.join("b.wasm"), "").unwrap();
        symlink(there.join("b.wasm"), here.join("a.wasm")).unwrap();
        let around = here.join(".").join("nope").join("..").join("a.wasm");
        assert_eq!(places(&here.join("a.wasm")), [here.join("a.wasm"), there.join("b.wasm")]);
        // The kernel does not find its way through a folder that is not there either.
        assert_eq!(places(&around), [here.join("nope")]);
        fs::create_dir(here.join("nope")).unwrap();
        assert_eq!(places(&around), [here.join("a.wasm"), there.join("b.wasm")]);
    }

    #[test]
    fn what_is_not_there_is_waited_for_where_it_would_come() {
        let (_guard, here) = folder();
        let file = here.join("m/n/p.wasm");
        let before = Trail::of(&file);
        assert_eq!(places(&file), [here.join("m")]);
        fs::create_dir_all(here.join("m/n")).unwrap();
        assert_eq!(places(&file), std::slice::from_ref(&file));
        assert_ne!(Trail::of(&file), before);
    }

    #[test]
    fn links_in_a_circle_end() {
        let (_guard, here) = folder();
        symlink("b", here.join("a")).unwrap();
        symlink("a", here.join("b")).unwrap();
        let trail = Trail::of(&here.join("a"));
        assert!(trail.passes(&here.join("b")) && trail.stamp.is_none());
    }

    #[test]
    fn the_same_file_written_in_place_is_another_and_so_is_a_folder_made_anew() {
        let (_guard, here) = folder();
        let file = here.join("m/p.wasm");
        fs::create_dir(here.join("m")).unwrap();
        fs::write(&file, "one").unwrap();
        let one = Trail::of(&file);
        assert_eq!(Trail::of(&file), one);
        fs::write(&file, "three").unwrap();
        let three = Trail::of(&file);
        assert_ne!(three, one);
        fs::rename(here.join("m"), here.join("before")).unwrap();
        fs::create_dir(here.join("m")).unwrap();
        fs::hard_link(here.join("before/p.wasm"), &file).unwrap();
        assert_ne!(Trail::of(&file).steps, three.steps);
    }
}

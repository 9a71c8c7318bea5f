//! Notices that a file has changed.
//!
//! Who reads files names them here before. From then on a change of one of them becomes a trigger, a burst of
//! changes one trigger, sent when they have been quiet for a moment. A trigger says only that something
//! may have changed; whoever gets it compares contents. Two ways lead to one:
//!
//! - The kernel tells of what happens in folders. Folders are watched, not files: editors, `mv` and `ConfigMap`
//!   mounts replace a file by renaming, which a watch on the old inode would not see. What else happens in such a
//!   folder is no trigger: a log may grow beside the configuration.
//! - Once a second the files are looked at. That finds what the kernel does not tell: a change in a folder
//!   that was made anew a moment ago, on a network file system, or when the system has no watches left.

mod trail;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Trigger;
use trail::{Inode, Trail};

/// Files are quiet when nothing has happened to them for this long: longer than the pauses within
/// one save of an editor, too short to be noticed.
const QUIET: Duration = Duration::from_millis(100);

/// Files that are never quiet trigger this often: a good one beside them is to serve within 2 seconds.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Events that may wait. More say nothing new.
const EVENTS: usize = 1;

/// Watches files. Cheap to clone; all clones are one. The default watches nothing, ever.
#[derive(Clone, Default)]
pub struct Watch {
    kernel: Arc<Mutex<Kernel>>,
    known: Arc<Mutex<Known>>,
}

/// The kernel's part.
#[derive(Default)]
struct Kernel {
    watcher: Option<RecommendedWatcher>,
    /// The folders that are to be watched.
    folders: HashMap<PathBuf, Option<Inode>>,
}

/// How each file was found when it was last looked at.
#[derive(Default)]
struct Known(HashMap<PathBuf, Trail>);

impl Watch {
    /// Starts watching nothing; triggers go to `triggers`, until nobody takes them any more. Must be called
    /// within a tokio runtime.
    pub fn start(triggers: mpsc::Sender<Trigger>) -> Self {
        let (tell, events) = mpsc::channel(EVENTS);
        let known = Arc::<Mutex<Known>>::default();
        let files = Arc::clone(&known);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // What the kernel cannot tell is found by looking.
            let Ok(event) = event else { return };
            // Reading a file is no change: our own reads would trigger for ever.
            if !event.kind.is_access() && locked(&files).is_led_by(&event.paths) {
                let _ = tell.try_send(());
            }
        });
        let watcher = watcher.inspect_err(|error| cannot(Path::new(""), error)).ok();
        tokio::spawn(tell_changes(Arc::clone(&known), events, triggers));
        Self { kernel: Arc::new(Mutex::new(Kernel { watcher, folders: HashMap::new() })), known }
    }

    /// Watches these files from now on, and no others. Blocking. To be called before they are read: what changes
    /// while they are read is noticed then.
    pub fn files<'f>(&self, files: impl IntoIterator<Item = &'f Path>) {
        self.watch(&mut locked(&self.kernel), files.into_iter().map(Path::to_owned));
    }

    /// Watches these files, too, from now on. Blocking.
    pub fn also(&self, files: Vec<PathBuf>) {
        // Who names files meanwhile waits for this lock.
        let mut kernel = locked(&self.kernel);
        let known: Vec<_> = locked(&self.known).0.keys().cloned().collect();
        self.watch(&mut kernel, known.into_iter().chain(files));
    }

    fn watch(&self, kernel: &mut Kernel, files: impl Iterator<Item = PathBuf>) {
        let found: HashMap<_, _> = files.map(|file| (file.clone(), Trail::of(&file))).collect();
        let folders = found.values().flat_map(Trail::folders).collect();
        locked(&self.known).follow(found);
        kernel.watch(folders);
    }
}

impl Kernel {
    /// Watches these folders, and no others.
    fn watch(&mut self, wanted: HashMap<PathBuf, Option<Inode>>) {
        let Some(watcher) = &mut self.watcher else { return };
        for (folder, inode) in &self.folders {
            if wanted.get(folder) != Some(inode) {
                // It may be gone; then it is watched no more.
                let _ = watcher.unwatch(folder);
            }
        }
        // Those that are watched, too: one that was moved away and back is not any more.
        for (folder, inode) in &wanted {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive)
                && self.folders.get(folder) != Some(inode)
            {
                cannot(folder, &error);
            }
        }
        self.folders = wanted;
    }
}

impl Known {
    /// Whether one of these paths leads to a file.
    fn is_led_by(&self, paths: &[PathBuf]) -> bool {
        paths.iter().any(|path| self.0.values().any(|trail| trail.passes(path)))
    }

    /// These are the files from now on. Changes of those that were before are still to be found.
    fn follow(&mut self, found: HashMap<PathBuf, Trail>) {
        let mut before = std::mem::replace(&mut self.0, found);
        for (file, trail) in &mut self.0 {
            if let Some(before) = before.remove(file) {
                *trail = before;
            }
        }
    }

    /// Whether one of these is another than before.
    fn differ(&mut self, found: Vec<(&PathBuf, Trail)>) -> bool {
        let mut differ = false;
        for (file, trail) in found {
            if let Some(known) = self.0.get_mut(file)
                && *known != trail
            {
                (*known, differ) = (trail, true);
            }
        }
        differ
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cannot(folder: &Path, error: &notify::Error) {
    tracing::warn!(event = "watch", folder = %folder.display(), %error, "the system does not tell of changes here; they are looked for once a second");
}

/// Makes triggers of changes until nobody takes them any more.
async fn tell_changes(known: Arc<Mutex<Known>>, mut events: mpsc::Receiver<()>, triggers: mpsc::Sender<Trigger>) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = triggers.closed() => return,
            Some(()) = events.recv() => {}
            _ = look.tick() => if !have_changed(&known).await {
                continue;
            },
        }
        let since = Instant::now();
        while since.elapsed() < PATIENCE
            && let Ok(Some(())) = tokio::time::timeout(QUIET, events.recv()).await
        {}
        // What is found now is what the trigger is about.
        have_changed(&known).await;
        // A full channel holds a trigger already.
        let _ = triggers.try_send(Trigger::File);
    }
}

/// Whether a file is not as it was when it was last looked at. Another thread looks: a network file system may
/// take its time.
async fn have_changed(known: &Arc<Mutex<Known>>) -> bool {
    let known = Arc::clone(known);
    let looked = tokio::task::spawn_blocking(move || look(&known)).await;
    looked.unwrap_or_else(|error| {
        tracing::error!(event = "internal", %error, "looking at files has failed");
        false
    })
}

fn look(known: &Mutex<Known>) -> bool {
    // Files are looked at without the lock: every event in their folders takes it.
    let files: Vec<_> = locked(known).0.keys().cloned().collect();
    let found: Vec<_> = files.iter().map(|file| (file, Trail::of(file))).collect();
    locked(known).differ(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_change_is_found_once_also_when_the_file_was_named_again_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::write(&one, "one").unwrap();
        let watch = Watch::default();
        let name = || watch.files([one.as_path(), &two]);
        name();
        assert!(!look(&watch.known));
        fs::write(&one, "other").unwrap();
        name();
        assert!(look(&watch.known));
        assert!(!look(&watch.known));
        fs::write(&two, "two").unwrap();
        name();
        assert!(look(&watch.known));
        let three = folder.path().join("three");
        watch.also(vec![three.clone()]);
        fs::write(&one, "the last one").unwrap();
        assert!(look(&watch.known), "it is watched as well");
        fs::write(&three, "three").unwrap();
        assert!(look(&watch.known));
        // One that is no longer named is nobody's business.
        watch.files([one.as_path()]);
        fs::remove_file(&two).unwrap();
        assert!(!look(&watch.known));
    }

    #[tokio::test]
    async fn what_the_system_does_not_tell_of_is_found_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("one");
        fs::write(&file, "one").unwrap();
        let (triggers, mut told) = mpsc::channel(1);
        let watch = Watch::start(triggers);
        // As where the system has no watches left.
        locked(&watch.kernel).watcher = None;
        watch.files([file.as_path()]);
        fs::write(&file, "other").unwrap();
        let trigger = tokio::time::timeout(Duration::from_mins(1), told.recv()).await;
        assert_eq!(trigger, Ok(Some(Trigger::File)));
    }

    #[test]
    fn only_what_leads_to_a_file_is_an_event() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let watch = Watch::default();
        watch.files([path.join("c.yaml").as_path()]);
        let leads = |to: &Path| locked(&watch.known).is_led_by(&[to.to_owned()]);
        assert!(leads(&path.join("c.yaml")) && leads(&path));
        assert!(!leads(&path.join("log")) && !leads(&path.join("c.yaml.swp")));
    }
}

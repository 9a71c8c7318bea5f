//! Notices that a file has changed.
//!
//! Folders are watched, not files: editors, `mv` and `ConfigMap` mounts replace a file by renaming,
//! which a watch on the old inode would not see. A burst of events becomes one trigger, sent when
//! the folder has been quiet for a moment. A trigger says only that something may have changed;
//! whoever gets it compares contents. When the kernel cannot watch, that is logged and SIGHUP
//! remains.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::Trigger;

/// A folder is quiet when nothing has happened in it for this long: longer than the pauses within
/// one save of an editor, too short to be noticed.
const QUIET: Duration = Duration::from_millis(100);

/// A folder that is never quiet triggers this often.
const PATIENCE: Duration = Duration::from_secs(2);

/// Raw events that may wait. More say nothing new.
const EVENTS: usize = 16;

/// Watches the folders of files.
pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: HashSet<PathBuf>,
}

impl Watch {
    /// Starts watching nothing; triggers go to `triggers`. Must be called within a tokio runtime.
    pub fn start(triggers: mpsc::Sender<Trigger>) -> Self {
        let (tell, events) = mpsc::channel(EVENTS);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is no change: our own reads would trigger for ever.
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = tell.try_send(());
            }
        });
        let watcher = watcher.inspect_err(|error| cannot(Path::new(""), error)).ok();
        tokio::spawn(debounce(events, triggers));
        Self { watcher, folders: HashSet::new() }
    }

    /// Watches the folders of these files from now on, and no others.
    pub fn files<'f>(&mut self, files: impl Iterator<Item = &'f Path>) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: HashSet<PathBuf> = files.filter_map(folder).collect();
        for folder in self.folders.difference(&wanted) {
            // It may be gone, which is why it is not wanted any more.
            let _ = watcher.unwatch(folder);
        }
        for folder in wanted.difference(&self.folders) {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                cannot(folder, &error);
            }
        }
        self.folders = wanted;
    }
}

fn cannot(folder: &Path, error: &notify::Error) {
    tracing::warn!(event = "watch", folder = %folder.display(), %error, "changes are not noticed; send SIGHUP to reload");
}

fn folder(file: &Path) -> Option<PathBuf> {
    let folder = file.parent()?;
    Some(if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() })
}

async fn debounce(mut events: mpsc::Receiver<()>, triggers: mpsc::Sender<Trigger>) {
    while events.recv().await.is_some() {
        let since = Instant::now();
        while let Ok(Some(())) = tokio::time::timeout(QUIET, events.recv()).await {
            if since.elapsed() > PATIENCE {
                break;
            }
        }
        // A full channel holds a trigger already.
        let _ = triggers.try_send(Trigger::File);
    }
}

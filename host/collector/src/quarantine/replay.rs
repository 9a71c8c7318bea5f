//! Replay: a record goes through its plugin and the rest of its pipeline, once.
//!
//! It is asked for by a file in `replay` in the quarantine, named as the record. The collector that
//! takes it renames it, so that it cannot be taken back any more, passes the spans, and removes the
//! record as soon as the destinations' queues have them, then the file. A record whose spans are
//! refused stays, and the reason is left in a file. A collector that is killed on the way begins
//! anew when it starts: it may then pass spans twice, never less.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Quarantine, Record, is_id, path_in};
use crate::account::ReceiverAccount;
use crate::cores::Courier;
use crate::intake;

/// Its folder in the quarantine.
const FOLDER: &str = "replay";
const TAKEN: &str = "taken";
const REFUSED: &str = "refused";

/// How often is looked whether a replay is asked for.
const LOOK: Duration = Duration::from_millis(500);

/// The files by which replays are asked for.
pub(super) struct Requests {
    folder: PathBuf,
}

impl Requests {
    /// Those of the quarantine in this folder.
    pub(super) fn new(quarantine: &Path) -> Self {
        Self { folder: quarantine.join(FOLDER) }
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    fn with(&self, id: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{id}.{ending}"))
    }

    /// Asks for a replay. If it has been asked for already, that one is meant.
    pub(super) fn ask(&self, id: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        if self.with(id, TAKEN).exists() {
            return Ok(());
        }
        // An answer that nobody has waited for is not the answer to this.
        if let Err(error) = fs::remove_file(self.with(id, REFUSED))
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        match File::create_new(self.file(id)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map(drop),
        }
    }

    /// Takes it back; `false` if a collector has taken it.
    pub(super) fn take_back(&self, id: &str) -> bool {
        fs::remove_file(self.file(id)).is_ok()
    }

    /// Whether it has not been answered.
    pub(super) fn is_pending(&self, id: &str) -> bool {
        // In this order: it is renamed from the first to the second.
        self.file(id).exists() || self.with(id, TAKEN).exists()
    }

    /// Why it was refused, if it was. Told once.
    pub(super) fn refused(&self, id: &str) -> Option<String> {
        let file = self.with(id, REFUSED);
        let reason = fs::read_to_string(&file).ok()?;
        fs::remove_file(file).is_ok().then_some(reason)
    }

    /// Takes one that is asked for, or that was begun by a process that is no more.
    pub(super) fn take(&self) -> Option<String> {
        for entry in fs::read_dir(&self.folder).ok()?.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let id = name.strip_suffix(TAKEN).and_then(|id| id.strip_suffix('.')).unwrap_or(&name);
            if is_id(id) && fs::rename(entry.path(), self.with(id, TAKEN)).is_ok() {
                return Some(id.to_owned());
            }
        }
        None
    }

    pub(super) fn done(&self, id: &str, refused: Option<&str>) -> io::Result<()> {
        if let Some(reason) = refused {
            let aside = self.folder.join(format!("{id}.{REFUSED}.tmp"));
            fs::write(&aside, reason)?;
            fs::rename(aside, self.with(id, REFUSED))?;
        }
        fs::remove_file(self.with(id, TAKEN))
    }
}

/// Answers the requests of a quarantine, for ever unless the disk fails.
pub async fn serve(quarantine: Arc<Quarantine>, courier: Courier, account: ReceiverAccount) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        let from = Arc::clone(&quarantine);
        let taken = tokio::task::spawn_blocking(move || from.take_requested()).await;
        let Ok(Some((id, read))) = taken else { continue };
        let outcome = match read {
            Ok((record, wire)) => pass(&quarantine, &courier, &account, record, wire)
                .await
                .unwrap_or_else(|| Err("the process is stopping".to_owned())),
            Err(error) => Err(error.to_string()),
        };
        match &outcome {
            Ok(spans) => tracing::info!(event = "quarantine.replay", record = id, spans, outcome = "replayed"),
            Err(reason) => tracing::warn!(event = "quarantine.replay", record = id, reason, outcome = "refused"),
        }
        let answered = Requests::new(&quarantine.folder).done(&id, outcome.err().as_deref());
        if let Err(error) = answered {
            // A disk that lets nothing be removed would have the same spans passed for ever.
            tracing::error!(event = "quarantine.replay", record = id, %error, "cannot be answered: no more replays until a restart");
            return;
        }
        // There may be more.
        look.reset_immediately();
    }
}

type Outcome = Result<u32, String>;

/// Passes a record on a core; `None` if the cores have stopped.
async fn pass(
    quarantine: &Arc<Quarantine>,
    courier: &Courier,
    account: &ReceiverAccount,
    record: Record,
    wire: Vec<u8>,
) -> Option<Outcome> {
    let (tell, told) = oneshot::channel();
    let (quarantine, account) = (Arc::clone(quarantine), account.clone());
    let sent = courier.send(move |core| {
        Box::pin(async move {
            let taken =
                intake::replay(&Rc::clone(&core), &account, &record.case.pipeline, &record.case.plugin, wire.into())
                    .await;
            let outcome = taken.map(|accepted| accepted.spans).map_err(|refused| refused.to_string());
            if outcome.is_ok() {
                quarantine.replayed(&record.id);
            }
            // Nobody listens any more only when the process ends.
            let _ = tell.send(outcome);
        })
    });
    sent.await.ok()?;
    told.await.ok()
}

impl Quarantine {
    /// A record whose replay is asked for.
    #[expect(clippy::type_complexity, reason = "an id, and what reading it gave")]
    fn take_requested(&self) -> Option<(String, Result<(Record, Vec<u8>), super::Damaged>)> {
        let id = Requests::new(&self.folder).take()?;
        let read = Record::read(&path_in(&self.folder, &id));
        Some((id, read))
    }

    /// The record has gone where it should: it is removed.
    fn replayed(&self, id: &str) {
        let path = path_in(&self.folder, id);
        let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        self.remove(&path, bytes);
    }
}

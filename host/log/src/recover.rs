//! Opens a directory: repairs what was found, and builds the state from it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use tokio::sync::Notify;

use crate::cursor::CursorFile;
use crate::disk::{Buffer, Disk};
use crate::error::{Context, IoFailure, OpenError};
use crate::format::{
    CURSOR_NEW, CursorSlot, DATA_START, LOCK, QUARANTINE, damaged_name, is_damaged_name, segment_name,
};
use crate::options::Options;
use crate::quarantine::quarantine;
use crate::state::{SegmentInfo, Shared, State};
use crate::survey::{CursorFound, Lost, Survey, Surveyed, survey};
use crate::writer::{Fetcher, Writer};

/// What was found when the log was opened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Records that are still to be delivered.
    pub records: u64,
    /// Their spans.
    pub spans: u64,
    /// Their spans by [`Options::group`](crate::Options::group); what has no group is not in here.
    pub groups: BTreeMap<Vec<u8>, u64>,
    /// Records that are gone, and were neither acknowledged by the taker nor dropped. After a crash
    /// this may count records that were never acknowledged to their senders, but none too few.
    pub lost: Lost,
    /// Damaged ranges that cost records.
    pub damaged_ranges: u64,
    /// Whole segments that cannot be read, and have been renamed.
    pub damaged_segments: u64,
    /// Bytes that were cut off because the process ended while it wrote them.
    pub torn_bytes: u64,
    /// The cursor could not be read: everything on disk is delivered again.
    pub cursor_damaged: bool,
}

/// Opens a directory, and leaves everything to a writer.
pub(crate) fn recover(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: Options,
) -> Result<(Arc<Shared>, Writer, Recovered), OpenError> {
    options.check()?;
    disk.create_dir(dir).context("create", dir)?;
    let lock_path = dir.join(LOCK);
    let lock = disk.lock(&lock_path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse { dir: dir.to_owned() },
        _ => IoFailure::new("lock", &lock_path, error).into(),
    })?;
    let survey = survey(disk.as_ref(), dir, options.group)?;
    let recovered = report(&survey);
    repair(disk.as_ref(), dir, &options, &survey)?;
    let (found, handed_to) = match &survey.cursor {
        CursorFound::Whole(slot, index) => (Some((slot.generation, *index)), slot.handed_to),
        CursorFound::New => (None, 0),
        // Nobody knows what was delivered: all of it may have been.
        CursorFound::Damaged => (None, survey.end.sequence),
    };
    let mut cursor = CursorFile::new(disk.clone(), dir, options.fsync, found)?;
    let mut slot = CursorSlot {
        generation: 0,
        floor: survey.acked.floor(),
        end: survey.end,
        handed_to,
        next_segment: survey.next_segment,
        ranges: survey.acked.ranges().collect(),
    };
    slot.fit();
    cursor.write(&mut slot)?;
    cursor.sync()?;
    let now = Instant::now();
    let (next, next_segment, last_unix_nano) = (survey.end, survey.next_segment, survey.last_unix_nano);
    let state = state(survey, handed_to);
    let shared = Arc::new(Shared {
        dir: dir.to_owned(),
        options,
        state: Mutex::new(state),
        work: Condvar::new(),
        takers: Notify::new(),
        room: Notify::new(),
    });
    let writer = Writer {
        shared: shared.clone(),
        disk,
        active: None,
        buffer: Buffer::default(),
        next,
        next_segment,
        last_unix_nano,
        cursor,
        fetcher: Fetcher::default(),
        last_cursor_write: now,
        last_cursor_sync: now,
        retry_at: None,
        unneeded: Vec::new(),
        lock,
    };
    Ok((shared, writer, recovered))
}

fn report(survey: &Survey) -> Recovered {
    let sum = |of: fn(&Surveyed) -> u64| survey.segments.iter().map(of).sum();
    Recovered {
        records: sum(|segment| segment.live_records),
        spans: sum(|segment| segment.live_spans),
        groups: survey.groups.clone(),
        lost: survey.lost,
        damaged_ranges: survey.damaged.iter().filter(|damage| damage.lost).count() as u64,
        damaged_segments: survey.unreadable.len() as u64,
        torn_bytes: sum(|segment| segment.torn),
        cursor_damaged: survey.cursor == CursorFound::Damaged,
    }
}

/// Keeps what is damaged, cuts off what is torn, and removes what never held anything.
fn repair(disk: &dyn Disk, dir: &Path, options: &Options, survey: &Survey) -> Result<(), IoFailure> {
    let now = options.clock.now_unix_nano();
    for damage in survey.damaged.iter().filter(|damage| damage.lost) {
        match quarantine(disk, dir, damage, now, options.quarantine_bytes) {
            // A full disk must not keep the log from giving space back: the range is only counted.
            Err(failure) if failure.is_no_space() => {}
            result => result?,
        }
    }
    for segment in survey.segments.iter().filter(|segment| segment.torn > 0) {
        let path = dir.join(segment_name(segment.header.number));
        let file = disk.open(&path).context("open", &path)?;
        file.truncate(segment.data_end).context("truncate", &path)?;
        if options.fsync {
            file.sync().context("sync", &path)?;
        }
    }
    if options.fsync {
        // The process before this one may have ended between a write and its sync. What is delivered
        // from here on must not vanish with the next power loss.
        for segment in survey.segments.iter().filter(|segment| segment.live_records > 0) {
            let path = dir.join(segment_name(segment.header.number));
            disk.open(&path).and_then(|file| file.sync()).context("sync", &path)?;
        }
        disk.sync_dir(dir).context("sync", dir)?;
    }
    for number in &survey.unreadable {
        let path = dir.join(segment_name(*number));
        if kept_bytes(disk, dir, &path)? <= options.quarantine_bytes {
            disk.rename(&path, &dir.join(damaged_name(*number))).context("rename", &path)?;
        } else {
            disk.remove(&path).context("remove", &path)?;
        }
    }
    for number in &survey.blank {
        let path = dir.join(segment_name(*number));
        disk.remove(&path).context("remove", &path)?;
    }
    if survey.new_cursor_left {
        let path = dir.join(CURSOR_NEW);
        disk.remove(&path).context("remove", &path)?;
    }
    Ok(())
}

/// How many damaged bytes are kept, with this file.
fn kept_bytes(disk: &dyn Disk, dir: &Path, file: &Path) -> Result<u64, IoFailure> {
    let names = disk.list(dir).context("list", dir)?;
    let kept = names.iter().filter(|name| *name == QUARANTINE || is_damaged_name(name)).map(|name| dir.join(name));
    kept.chain([file.to_owned()])
        .map(|path| disk.open(&path).and_then(|file| file.len()).context("read the length of", &path))
        .sum()
}

fn state(survey: Survey, handed_to: u64) -> State {
    let floor = survey.acked.floor();
    let segments: VecDeque<SegmentInfo> = survey
        .segments
        .into_iter()
        .map(|segment| SegmentInfo {
            number: segment.header.number,
            salt: segment.header.salt,
            base: segment.header.base,
            end: segment.end,
            length: segment.data_end.max(DATA_START),
            live_records: segment.live_records,
            live_spans: segment.live_spans,
        })
        .collect();
    State {
        on_disk: segments.iter().map(|segment| segment.length).sum(),
        segments,
        fetched: floor,
        acked: survey.acked,
        end: survey.end,
        taken_to: floor.sequence,
        marked_to: handed_to.max(floor.sequence),
        marked_before: handed_to,
        // So that what is done is removed in the first round.
        cursor_dirty: true,
        ..State::default()
    }
}

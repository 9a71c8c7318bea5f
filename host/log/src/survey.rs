//! Looks at a directory without changing it: which records are there, which are done, which are lost.
//!
//! What is lost is known from sequences and running totals: records that were acknowledged to a
//! sender, are not done, and are not there.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::acked::Acked;
use crate::disk::{Disk, File};
use crate::error::{Context, OpenError};
use crate::format::{
    CURSOR, CURSOR_LENGTH, CURSOR_NEW, Checksums, CursorSlot, DATA_START, HeaderRead, Mark, RecordHeader, SLOT_LENGTH,
    SegmentHeader, VERSION, parse_segment_name, segment_name,
};
use crate::options::{GROUP_HEAD, Group};
use crate::scan::{Payloads, Scanner, Step, read_tolerant};

/// Records that are gone although they should not be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub records: u64,
    /// How many spans they held.
    pub spans: u64,
}

/// Bytes of a segment that are no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's number.
    pub segment: u64,
    /// Where the bytes begin.
    pub from: u64,
    /// Where the next record begins, or the file ends.
    pub to: u64,
    /// Whether records that were still needed are gone with them.
    pub lost: bool,
    /// No record of the segment follows.
    pub(crate) trailing: bool,
}

/// What was found in place of a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CursorFound {
    /// Nothing, and no segments either.
    New,
    /// The cursor, and which of its slots it was.
    Whole(CursorSlot, usize),
    /// Nothing that can be read: all that is on disk is delivered again.
    Damaged,
}

/// One segment.
#[derive(Debug)]
pub(crate) struct Surveyed {
    pub header: SegmentHeader,
    pub header_damaged: bool,
    /// Where its last record ends.
    pub data_end: u64,
    /// Bytes after that which were never acknowledged.
    pub torn: u64,
    /// After its last record.
    pub end: Mark,
    pub records: u64,
    pub spans: u64,
    pub compressed_records: u64,
    pub plain_bytes: u64,
    pub live_records: u64,
    pub live_spans: u64,
}

/// A segment's file, before its records were looked at.
struct Opened {
    file: Arc<dyn File>,
    path: PathBuf,
    length: u64,
    header: SegmentHeader,
    header_damaged: bool,
}

/// The directory.
#[derive(Debug)]
pub(crate) struct Survey {
    pub segments: Vec<Surveyed>,
    pub damaged: Vec<Damage>,
    /// Segments neither of whose headers can be read.
    pub unreadable: Vec<u64>,
    /// Files of segments into which nothing was ever synced.
    pub blank: Vec<u64>,
    pub new_cursor_left: bool,
    pub cursor: CursorFound,
    /// What is done, lost records included.
    pub acked: Acked,
    pub end: Mark,
    pub next_segment: u64,
    pub last_unix_nano: u64,
    pub lost: Lost,
    /// Spans of live records by group.
    pub groups: BTreeMap<Vec<u8>, u64>,
}

/// Surveys a directory.
pub(crate) fn survey(disk: &dyn Disk, dir: &Path, group: Option<Group>) -> Result<Survey, OpenError> {
    let names = disk.list(dir).context("list", dir)?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    numbers.sort_unstable();
    let cursor = match read_cursor(disk, dir, &names)? {
        CursorFound::New if !numbers.is_empty() => CursorFound::Damaged,
        cursor => cursor,
    };
    let (mut unreadable, mut blank, mut opened) = (Vec::new(), Vec::new(), Vec::new());
    for &number in &numbers {
        match open_segment(disk, dir.join(segment_name(number)))? {
            Some(Ok(segment)) => opened.push(segment),
            Some(Err(())) => unreadable.push(number),
            None => blank.push(number),
        }
    }
    let next_segment = numbers.last().map_or(0, |last| last + 1);
    let mut walk = Walk::new(&cursor, opened.first().map(|first| first.header.base), group);
    for (index, segment) in opened.iter().enumerate() {
        let next_base = opened.get(index + 1).map_or(u64::MAX, |next| next.header.base.sequence);
        walk.segment(segment, next_base).context("read", &segment.path)?;
    }
    let cursor_end = if let CursorFound::Whole(slot, _) = &cursor { slot.end } else { Mark::default() };
    let mut survey = walk.finish(cursor_end);
    survey.unreadable = unreadable;
    survey.blank = blank;
    survey.new_cursor_left = names.iter().any(|name| name == CURSOR_NEW);
    survey.next_segment = survey.next_segment.max(next_segment);
    Ok(survey)
}

fn read_cursor(disk: &dyn Disk, dir: &Path, names: &[String]) -> Result<CursorFound, OpenError> {
    if !names.iter().any(|name| name == CURSOR) {
        return Ok(CursorFound::New);
    }
    let path = dir.join(CURSOR);
    let file = disk.open(&path).context("open", &path)?;
    let mut bytes = vec![0; CURSOR_LENGTH];
    let length = read_tolerant(file.as_ref(), &mut bytes, 0).context("read", &path)?;
    bytes.truncate(length);
    let mut found = CursorFound::Damaged;
    for (index, slot) in bytes.chunks(SLOT_LENGTH).enumerate() {
        match (CursorSlot::decode(slot), &found) {
            (Some(Err(version)), _) => {
                return Err(OpenError::Version { path, found: version, known: VERSION });
            }
            (Some(Ok(slot)), CursorFound::Whole(other, _)) if slot.generation <= other.generation => {}
            (Some(Ok(slot)), _) => found = CursorFound::Whole(slot, index),
            (None, _) => {}
        }
    }
    Ok(found)
}

/// The segment; `Err(())` if it cannot be read, nothing if it was never written.
fn open_segment(disk: &dyn Disk, path: PathBuf) -> Result<Option<Result<Opened, ()>>, OpenError> {
    let file = disk.open(&path).context("open", &path)?;
    let length = file.len().context("read the length of", &path)?;
    let mut page = vec![0; DATA_START as usize];
    let read = read_tolerant(file.as_ref(), &mut page, 0).context("read", &path)?;
    page.truncate(read);
    match SegmentHeader::decode(&page) {
        HeaderRead::Good(header, header_damaged) => Ok(Some(Ok(Opened { file, path, length, header, header_damaged }))),
        HeaderRead::Version(found) => Err(OpenError::Version { path, found, known: VERSION }),
        HeaderRead::Blank => Ok(None),
        HeaderRead::Damaged => Ok(Some(Err(()))),
    }
}

/// Goes through all records in order.
struct Walk {
    survey: Survey,
    /// What the cursor said was done.
    before: Acked,
    /// Spans of records above the cursor's floor that are done and there.
    found_spans: u64,
    gap_spans: u64,
    /// The sequence that comes next if nothing is missing.
    expected: Mark,
    /// So many damaged ranges stand before a record; the others belong to the next gap.
    judged: usize,
    group: Option<Group>,
}

impl Walk {
    fn new(cursor: &CursorFound, first_base: Option<Mark>, group: Option<Group>) -> Self {
        let (before, expected, next_segment) = match cursor {
            CursorFound::Whole(slot, _) => {
                (Acked::from_ranges(slot.floor, &slot.ranges), slot.floor, slot.next_segment)
            }
            CursorFound::New | CursorFound::Damaged => {
                let start = first_base.unwrap_or_default();
                (Acked::new(start), start, 0)
            }
        };
        let survey = Survey {
            segments: Vec::new(),
            damaged: Vec::new(),
            unreadable: Vec::new(),
            blank: Vec::new(),
            new_cursor_left: false,
            cursor: cursor.clone(),
            acked: Acked::new(expected),
            end: expected,
            next_segment,
            last_unix_nano: 0,
            lost: Lost::default(),
            groups: BTreeMap::new(),
        };
        Self { survey, before, found_spans: 0, gap_spans: 0, expected, judged: 0, group }
    }

    fn segment(&mut self, opened: &Opened, next_base: u64) -> io::Result<()> {
        let SegmentHeader { number, base, salt, unix_nano } = opened.header;
        self.gap(base);
        let mut scanner = Scanner::new(
            opened.file.clone(),
            Checksums::new(salt),
            self.group.map_or(Payloads::Skip, |_| Payloads::Head(GROUP_HEAD)),
            DATA_START.min(opened.length)..opened.length,
            base.sequence..next_base,
        );
        self.survey.last_unix_nano = self.survey.last_unix_nano.max(unix_nano);
        self.survey.next_segment = self.survey.next_segment.max(number + 1);
        let mut segment = Surveyed {
            header: opened.header,
            header_damaged: opened.header_damaged,
            data_end: DATA_START,
            torn: 0,
            end: base,
            records: 0,
            spans: 0,
            compressed_records: 0,
            plain_bytes: 0,
            live_records: 0,
            live_spans: 0,
        };
        loop {
            match scanner.step()? {
                Step::Record { header, payload, .. } => self.record(&mut segment, &header, &payload),
                Step::Damaged(range) => self.damaged(number, range.start, range.end),
                Step::End { at, trailing } => {
                    segment.data_end = at.max(DATA_START);
                    if trailing > 0 {
                        self.damaged(number, at, at + trailing);
                        if let Some(last) = self.survey.damaged.last_mut() {
                            last.trailing = true;
                        }
                    }
                    self.survey.segments.push(segment);
                    return Ok(());
                }
            }
        }
    }

    fn damaged(&mut self, segment: u64, from: u64, to: u64) {
        self.survey.damaged.push(Damage { segment, from, to, lost: false, trailing: false });
    }

    fn record(&mut self, segment: &mut Surveyed, header: &RecordHeader, head: &[u8]) {
        let spans = u64::from(header.spans);
        self.survey.last_unix_nano = self.survey.last_unix_nano.max(header.unix_nano);
        segment.records += 1;
        segment.spans += spans;
        segment.compressed_records += u64::from(header.plain_head.is_some());
        segment.plain_bytes += u64::from(header.plain_length);
        segment.end = Mark { sequence: header.sequence + 1, spans: header.total + spans };
        if header.sequence < self.expected.sequence {
            // Done, below the floor.
            self.judged = self.survey.damaged.len();
            return;
        }
        self.gap(Mark { sequence: header.sequence, spans: header.total });
        self.judged = self.survey.damaged.len();
        self.expected = segment.end;
        if self.before.contains(header.sequence) {
            self.found_spans += spans;
            self.survey.acked.insert(header.sequence, header.sequence + 1, spans);
        } else {
            segment.live_records += 1;
            segment.live_spans += spans;
            // What is not compressed, if it is, is enough to tell.
            let head = head.get(..header.plain_head.unwrap_or(usize::MAX)).unwrap_or(head);
            if let Some(group) = self.group.and_then(|group| group(head)) {
                *self.survey.groups.entry(group.to_vec()).or_default() += spans;
            }
        }
    }

    /// Records from what was expected up to this place are not there.
    fn gap(&mut self, to: Mark) {
        let from = self.expected;
        if to.sequence <= from.sequence {
            return;
        }
        let spans = to.spans.saturating_sub(from.spans);
        let lost = to.sequence - from.sequence - self.before.covered(from.sequence, to.sequence);
        if lost > 0 {
            for damage in self.survey.damaged.iter_mut().skip(self.judged) {
                damage.lost = true;
            }
        }
        self.survey.lost.records += lost;
        self.gap_spans += spans;
        self.survey.acked.insert(from.sequence, to.sequence, spans);
        self.expected = to;
    }

    fn finish(mut self, cursor_end: Mark) -> Survey {
        self.gap(cursor_end);
        // Done records that are in gaps were not lost. How many spans they held is what the cursor
        // knows of done records, less those that were found.
        let done_in_gaps = self.before.spans_above_floor().saturating_sub(self.found_spans);
        if self.survey.lost.records > 0 {
            self.survey.lost.spans = self.gap_spans.saturating_sub(done_in_gaps);
        }
        let torn: Vec<Damage>;
        (torn, self.survey.damaged) = self.survey.damaged.into_iter().partition(|d| d.trailing && !d.lost);
        for torn in torn {
            if let Some(segment) = self.survey.segments.iter_mut().find(|s| s.header.number == torn.segment) {
                segment.torn = torn.to - torn.from;
            }
        }
        self.survey.end = self.expected;
        self.survey
    }
}

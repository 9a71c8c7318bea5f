#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::replay::Requests;
use super::{Bounds, Case, Damaged, NotKept, Quarantine, Record, ids, millis, path_in};
use crate::config::section::read_text;
use crate::extension::{self, Settings, Sluice};

fn settings(state_dir: &Path, bounds: Bounds) -> Sluice {
    let (settings, _) = read_text("c.yaml", "", |section| extension::read("sluice", section));
    let Some(Settings::Sluice(settings)) = settings else { unreachable!("it is of that type") };
    Sluice { state_dir: Some(state_dir.to_owned()), quarantine: bounds, ..settings }
}

fn open(state_dir: &Path, bounds: Bounds) -> Arc<Quarantine> {
    Quarantine::open(&settings(state_dir, bounds)).unwrap().unwrap()
}

fn case() -> Case {
    Case {
        pipeline: "traces".to_owned(),
        plugin: "wasm/p".to_owned(),
        version: "1".to_owned(),
        digest: "9f2c".to_owned(),
        kind: "trap".to_owned(),
        reason: "unreachable\nsecond line".to_owned(),
        backtrace: "inner < outer".to_owned(),
        spans: 3,
    }
}

#[test]
fn there_is_none_without_a_state_dir() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Sluice { state_dir: None, ..settings(folder.path(), Bounds::default()) };
    assert!(Quarantine::open(&settings).unwrap().is_none());
}

#[test]
fn a_record_of_an_accepted_request_stays_and_is_private() {
    let state_dir = tempfile::tempdir().unwrap();
    let quarantine = open(state_dir.path(), Bounds::default());
    let wire = b"\n\x00any bytes\n";
    assert_eq!(quarantine.keep(&case(), wire).unwrap().accepted(), 3);
    let folder = state_dir.path().join("quarantine");
    let found = ids(&folder).unwrap();
    let path = path_in(&folder, &found[0]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((found.len(), mode(&folder), mode(&path)), (1, 0o700, 0o600));
    let (record, read) = Record::read(&path).unwrap();
    assert_eq!((record.case, record.id, read.as_slice()), (case(), found[0].clone(), &wire[..]));
}

#[test]
fn a_record_of_a_refused_request_goes_and_gives_its_room_back() {
    let state_dir = tempfile::tempdir().unwrap();
    let quarantine = open(state_dir.path(), Bounds { max_bytes: 1000, ..Bounds::default() });
    for _ in 0..5 {
        drop(quarantine.keep(&case(), &[0; 400]).unwrap());
    }
    assert!(ids(&state_dir.path().join("quarantine")).unwrap().is_empty());
}

#[test]
fn a_full_quarantine_takes_nothing_more_after_a_restart_either() {
    let state_dir = tempfile::tempdir().unwrap();
    let bounds = Bounds { max_bytes: 1500, ..Bounds::default() };
    let quarantine = open(state_dir.path(), bounds);
    quarantine.keep(&case(), &[0; 800]).unwrap().accepted();
    assert!(matches!(quarantine.keep(&case(), &[0; 800]), Err(NotKept::Full)));
    drop(quarantine);
    let quarantine = open(state_dir.path(), bounds);
    assert!(matches!(quarantine.keep(&case(), &[0; 800]), Err(NotKept::Full)));
    assert_eq!(ids(&state_dir.path().join("quarantine")).unwrap().len(), 1);
}

#[test]
fn records_that_are_removed_by_hand_make_room_within_a_minute() {
    let state_dir = tempfile::tempdir().unwrap();
    let quarantine = open(state_dir.path(), Bounds { max_bytes: 1500, ..Bounds::default() });
    let (folder, keep) = (state_dir.path().join("quarantine"), || quarantine.keep(&case(), &[0; 800]));
    let clear = || ids(&folder).unwrap().iter().for_each(|id| fs::remove_file(path_in(&folder, id)).unwrap());
    let kept = [keep().unwrap(), {
        clear();
        keep().unwrap()
    }];
    assert!(matches!(keep(), Err(NotKept::Full)), "the second is there");
    clear();
    assert!(matches!(keep(), Err(NotKept::Full)), "it was counted just now");
    quarantine.counts_ms.store(millis(SystemTime::now()), Ordering::Relaxed);
    let third = keep().unwrap();
    // Their requests are refused: what nobody counts any more is not given back.
    drop(kept);
    assert!(quarantine.is_counted_anew(SystemTime::now() + Duration::from_mins(2)));
    assert!(matches!(keep(), Err(NotKept::Full)), "the third is there");
    third.accepted();
}

#[test]
fn what_is_too_old_is_removed() {
    let state_dir = tempfile::tempdir().unwrap();
    let quarantine = open(state_dir.path(), Bounds { max_age: Duration::from_hours(1), ..Bounds::default() });
    quarantine.keep(&case(), b"x").unwrap().accepted();
    let count = || ids(&state_dir.path().join("quarantine")).unwrap().len();
    quarantine.expire(SystemTime::now() + Duration::from_mins(59));
    assert_eq!(count(), 1);
    quarantine.expire(SystemTime::now() + Duration::from_mins(61));
    assert_eq!(count(), 0);
}

#[test]
fn the_folder_is_not_read_for_each_record() {
    let state_dir = tempfile::tempdir().unwrap();
    let quarantine = open(state_dir.path(), Bounds { max_age: Duration::from_hours(256), ..Bounds::default() });
    let (now, mins) = (SystemTime::now(), |mins| Duration::from_mins(mins));
    let of = |time| path_in(&state_dir.path().join("quarantine"), &format!("{:013}-1-0", millis(time)));
    let (old, young) = (of(SystemTime::UNIX_EPOCH), of(now + mins(90)));
    for record in [&old, &young] {
        fs::write(record, b"").unwrap();
    }
    let are_there_after = |hours, more| {
        quarantine.keep(&case(), b"x").unwrap().accepted();
        quarantine.expire(now + Duration::from_hours(hours) + mins(more));
        [&old, &young].map(|record| record.exists())
    };
    assert_eq!(are_there_after(0, 0), [true, true], "there was none when it was opened");
    assert_eq!(are_there_after(255, 0), [true, true]);
    assert_eq!(are_there_after(257, 0), [false, true]);
    assert_eq!(are_there_after(257, 45), [false, true], "the folder was read less than an hour before");
    assert_eq!(are_there_after(258, 15), [false, false]);
}

#[test]
fn what_a_crash_left_half_written_is_no_record_and_is_removed() {
    let state_dir = tempfile::tempdir().unwrap();
    let folder = state_dir.path().join("quarantine");
    open(state_dir.path(), Bounds::default()).keep(&case(), b"x").unwrap().accepted();
    let half = folder.join("0001763735000-1-0.tmp");
    fs::write(&half, b"{\"id\":").unwrap();
    assert_eq!(ids(&folder).unwrap().len(), 1);
    open(state_dir.path(), Bounds::default());
    assert_eq!((half.exists(), ids(&folder).unwrap().len()), (false, 1));
}

#[test]
fn a_damaged_record_is_named_and_never_replayed_as_something_else() {
    let state_dir = tempfile::tempdir().unwrap();
    let folder = state_dir.path().join("quarantine");
    open(state_dir.path(), Bounds::default()).keep(&case(), b"some spans").unwrap().accepted();
    let path = path_in(&folder, &ids(&folder).unwrap()[0]);
    let whole = fs::read(&path).unwrap();
    let mut other = whole.clone();
    *other.last_mut().unwrap() ^= 1;
    for damaged in [&whole[..whole.len() - 1], &other] {
        fs::write(&path, damaged).unwrap();
        assert!(matches!(Record::read(&path), Err(Damaged::Spans)));
    }
    for damaged in [&b"{}\nsome spans"[..], b"", b"no line"] {
        fs::write(&path, damaged).unwrap();
        assert!(matches!(Record::read(&path), Err(Damaged::NoDescription)));
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Quarantine::open(&settings(file.path(), Bounds::default())).err().unwrap().to_string();
    assert!(error.contains(&file.path().join("quarantine").display().to_string()), "{error}");
}

#[test]
fn a_replay_is_taken_once_and_can_be_taken_back_until_then() {
    let folder = tempfile::tempdir().unwrap();
    let requests = Requests::new(folder.path());
    requests.ask("1-a-0").unwrap();
    requests.ask("1-a-0").unwrap();
    assert!(requests.is_pending("1-a-0") && requests.take_back("1-a-0") && !requests.is_pending("1-a-0"));
    assert_eq!(requests.take(), None);
    requests.ask("1-a-0").unwrap();
    assert_eq!(requests.take().as_deref(), Some("1-a-0"));
    requests.ask("1-a-0").unwrap();
    assert!(requests.is_pending("1-a-0") && !requests.take_back("1-a-0"), "it is on its way");
    assert_eq!(requests.take().as_deref(), Some("1-a-0"), "a process that was killed with it has it again");
    requests.done("1-a-0", Some("no room")).unwrap();
    assert!(!requests.is_pending("1-a-0"));
    assert_eq!((requests.refused("1-a-0").as_deref(), requests.refused("1-a-0")), (Some("no room"), None));
}

#[test]
fn an_answer_that_nobody_waited_for_is_not_that_to_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let requests = Requests::new(folder.path());
    requests.ask("1-a-0").unwrap();
    requests.take().unwrap();
    requests.done("1-a-0", Some("no room")).unwrap();
    requests.ask("1-a-0").unwrap();
    assert_eq!(requests.refused("1-a-0"), None);
    assert!(requests.is_pending("1-a-0"));
}

#[test]
fn its_bounds_are_read() {
    let read = |yaml: &str| read_text("c.yaml", yaml, Bounds::read).0;
    assert_eq!(read(""), Bounds { max_bytes: 256 << 20, max_age: Duration::from_hours(168) });
    assert_eq!(read("max_mib: 3\nmax_age: 2h\n"), Bounds { max_bytes: 3 << 20, max_age: Duration::from_hours(2) });
}

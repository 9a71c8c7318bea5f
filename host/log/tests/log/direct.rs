//! Files that are written past the page cache: what is read back is what was written, whatever the sizes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use sluice_log::disk::{Buffer, Disk, File, RealDisk};
use sluice_log::{Log, Lost, Options, inspect};
use tempfile::{TempDir, tempdir};

const BLOCK: u64 = 4096;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<usize>),
    CutOff(usize),
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![Just(0_usize), 1_usize..200, 3_000_usize..9_000, Just(4096), Just(8192)];
    let step = prop_oneof![
        6 => prop::collection::vec(length, 0..5).prop_map(Step::Append),
        1 => (0_usize..10_000).prop_map(Step::CutOff),
        1 => Just(Step::Sync),
    ];
    prop::collection::vec(step, 1..30)
}

/// Bytes that are not the same anywhere.
fn bytes(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8 | 1).collect()
}

/// A folder on a file system that has such writes; what they leave behind a short write tells.
#[expect(clippy::print_stdout, reason = "whoever counts tests counts what was skipped")]
fn dir() -> Option<TempDir> {
    let dir = tempdir().unwrap();
    let path = dir.path().join("probe");
    let file = RealDisk.create_log(&path).unwrap();
    assert_eq!(file.write_at(b"probe", 0).unwrap(), 5);
    if fs::metadata(&path).unwrap().len() == BLOCK {
        return Some(dir);
    }
    println!("SKIPPED writes past the page cache: the file system of {} has none", dir.path().display());
    None
}

fn check(dir: &Path, steps: &[Step]) {
    let path = dir.join("file");
    let file: Arc<dyn File> = RealDisk.create_log(&path).unwrap();
    let (mut expected, mut buffer) = (Vec::new(), Buffer::default());
    for step in steps {
        match step {
            Step::Append(lengths) => {
                let parts: Vec<Vec<u8>> = lengths
                    .iter()
                    .scan(expected.len(), |at, length| {
                        *at += length;
                        Some(bytes(*at - length, *length))
                    })
                    .collect();
                let pieces = |give: &mut dyn FnMut(&[u8])| parts.iter().for_each(|part| give(part));
                file.write_pieces(lengths.iter().sum(), &pieces, expected.len() as u64, &mut buffer).unwrap();
                expected.extend(parts.concat());
            }
            Step::CutOff(less) => {
                expected.truncate(expected.len().saturating_sub(*less));
                file.truncate(expected.len() as u64).unwrap();
            }
            Step::Sync => file.sync().unwrap(),
        }
        assert_eq!(file.len().unwrap(), expected.len() as u64);
        // As it is after a kill: nothing but zeros behind it, and less than a block of them.
        let found = fs::read(&path).unwrap();
        let (content, padding) = found.split_at(expected.len());
        assert!(content == expected, "after {step:?}");
        assert!(padding.len() < BLOCK as usize && padding.iter().all(|byte| *byte == 0), "after {step:?}");
    }
    drop(file);
    assert!(fs::read(&path).unwrap() == expected, "when it is closed there are no zeros behind it");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn what_is_written_at_the_end_is_what_is_read(steps in steps()) {
        if let Some(dir) = dir() {
            check(dir.path(), &steps);
        }
    }
}

#[test]
fn it_is_written_at_its_end_only() {
    let Some(dir) = dir() else { return };
    let file = RealDisk.create_log(&dir.path().join("file")).unwrap();
    file.write_at(b"one", 0).unwrap();
    let error = file.write_at(b"two", 2).unwrap_err().to_string();
    assert!(error.contains("written at its end (3)") && error.contains("at 2"), "{error}");
}

#[test]
fn zeros_up_to_the_end_of_a_block_are_no_damage() {
    let Some(dir) = dir() else { return };
    let log = dir.path().join("log");
    let open = Log::open(&log, Options::default()).unwrap();
    open.reserve(10).unwrap().commit(b"0123456789".as_slice().into(), 3).wait().unwrap();
    // As if the process had been killed: the file is looked at while it is open.
    let mut files = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
    let segment = files.find(|path| path.extension().is_some_and(|kind| kind == "seg")).unwrap();
    assert_eq!(fs::metadata(&segment).unwrap().len(), 2 * BLOCK);
    let found = inspect(&log).unwrap();
    assert!(found.is_sound());
    // A header of 4096 bytes, a record's of 56, and the payload.
    let segment = &found.segments[0];
    assert_eq!((segment.bytes, segment.torn_bytes, segment.spans), (4096 + 56 + 10, 0, 3));
    // The same files under another name, as a crash leaves them.
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&log).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let again = Log::open(&copy, Options::default()).unwrap();
    let recovered = again.recovered();
    assert_eq!((recovered.records, recovered.spans, recovered.torn_bytes), (1, 3, 0));
    assert_eq!(recovered.lost, Lost::default());
}

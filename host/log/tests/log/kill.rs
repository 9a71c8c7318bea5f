//! kill -9: a process that appends and acknowledges is killed at random moments.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use sluice_log::{Log, Lost, OpenError, Options};
use tempfile::tempdir;

use crate::steps::take;

const ROUNDS: u64 = 20;

/// As the program under test makes them.
fn payload(number: u64) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(8 + (number % 700) as usize, number as u8);
    payload
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let dir = tempdir().unwrap();
    let mut repeated = 0;
    for round in 0..ROUNDS {
        let first = round * 1_000_000;
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice-log-appender"))
            .arg(dir.path())
            .arg(first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Another number of lines in each round, known to nobody.
        let until = 1 + rand::random_range(0..400);
        let mut seen: Vec<String> = (0..until).map_while(|_| lines.next()).map(Result::unwrap).collect();
        let second = Log::open(dir.path(), Options::default()).unwrap_err();
        assert!(matches!(second, OpenError::InUse { .. }), "{second}");
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died counts; half a line does not.
        seen.extend(lines.map_while(Result::ok));
        let numbers = |word: &str| -> BTreeSet<u64> {
            let said = seen.iter().filter_map(|line| line.strip_prefix(word)?.strip_suffix('.'));
            said.map(|number| number.parse().unwrap()).collect()
        };
        let (safe, taken) = (numbers("safe "), numbers("taken "));
        assert!(!safe.is_empty() || !taken.is_empty(), "round {round}: {seen:?}");
        let log = Log::open(dir.path(), Options::default()).unwrap();
        assert_eq!(log.recovered().lost, Lost::default(), "round {round}");
        let mut found = BTreeMap::new();
        for _ in 0..log.recovered().records {
            let delivery = take(&log).unwrap();
            let number = u64::from_be_bytes(delivery.payload().whole()[..8].try_into().unwrap());
            assert!(delivery.payload().whole()[..] == payload(number)[..] && number >= first, "record {number}");
            found.insert(number, delivery.earlier());
            delivery.ack();
        }
        for number in safe.difference(&taken) {
            assert!(found.contains_key(number), "round {round}: record {number} is gone");
        }
        for number in &taken {
            if let Some(earlier) = found.get(number) {
                assert_eq!(*earlier, 1, "round {round}: record {number} was delivered before");
                repeated += 1;
            }
        }
        log.close().unwrap();
    }
    // In flight are at most eight, and acknowledged within a sync interval not many more.
    assert!(repeated <= ROUNDS * 200, "{repeated} records came twice");
}

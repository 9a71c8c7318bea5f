//! The property, and that it is about all of the contract.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::Config;
use wit_parser::Resolve;

use super::calls::ALL;
use super::{batch, run, run_and_tell};

proptest! {
    #![proptest_config(Config { cases: 2_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn no_values_make_the_host_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1_500)) {
        run(&bytes);
    }
}

#[test]
fn every_function_that_a_guest_may_import_is_called() {
    let mut resolve = Resolve::default();
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/0.1.0");
    let (package, _) = resolve.push_path(contract).unwrap();
    let mut functions = BTreeSet::new();
    for (name, interface) in &resolve.packages[package].interfaces {
        functions.extend(resolve.interfaces[*interface].functions.keys().map(|function| format!("{name} {function}")));
    }
    let called: BTreeSet<_> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(called, functions);
    assert_eq!(called.len(), ALL.len(), "each once");
}

/// Random values that never get past a first check would prove little.
#[test]
fn random_values_get_every_function_to_answer_and_to_refuse() {
    assert_eq!(batch().spans(), 3, "the request is one");
    let mut random = sluice_state::Random::seeded(7);
    let (mut served, mut codes) = (vec![0_u32; ALL.len()], vec![BTreeSet::new(); ALL.len()]);
    for _ in 0..4_000 {
        let bytes: Vec<u8> = (0..100).flat_map(|_| random.number().to_le_bytes()).collect();
        run_and_tell(&bytes, |number, answer| match answer {
            None => served[number] += 1,
            Some(code) => drop(codes[number].insert(code)),
        });
    }
    for ((name, _), (served, codes)) in ALL.iter().zip(served.iter().zip(&codes)) {
        assert!(*served >= 10, "{name} was served {served} times, and refused with {codes:?}");
        // A log line is never refused.
        let refusals = usize::from(!name.starts_with("log "));
        assert!(codes.len() >= refusals, "{name} was never refused");
    }
    let all: BTreeSet<_> = codes.into_iter().flatten().collect();
    assert_eq!(all, (1..=6).collect(), "every code there is");
}

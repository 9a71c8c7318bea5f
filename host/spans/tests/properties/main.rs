//! Properties of a batch, checked against `prost` and against models written on its structs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::default_trait_access,
    clippy::needless_pass_by_value,
    clippy::type_complexity,
    missing_docs
)]

mod columns;
mod corpus;
mod edits;
mod faithful;
mod generator;
mod json;
mod json_shape;
mod mangle;
mod model;
mod parts;
mod refusals;
mod requests;
mod rng;
mod verdict;

/// Cases of each property.
const CASES: u32 = 2_000;

fn config() -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Default::default()
    }
}

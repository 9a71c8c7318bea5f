//! The host's side of every function of the contract, with whatever values the fuzzer finds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_sandbox::fuzzing::run(bytes));

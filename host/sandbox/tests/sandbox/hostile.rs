//! Guests that do not.

use sluice_sandbox::FailureKind;

use crate::guest::Guest;
use crate::stage::breaks;

#[test]
fn a_trap_costs_one_call_and_names_the_guests_functions() {
    let guest = Guest::new().with_many("(call $inner)").module("(func $inner (call $innermost)) (func $innermost unreachable)");
    let error = breaks(guest, FailureKind::Trap);
    assert!(error.message.contains("unreachable"), "{error}");
    assert_eq!(error.backtrace.unwrap(), "innermost < inner < process");
}

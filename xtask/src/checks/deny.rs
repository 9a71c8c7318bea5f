//! Licences, sources and known vulnerabilities of the crates in the tree, where cargo-deny is there to look
//! at them. What it is to accept is in `deny.toml`. Nothing is installed for it.

use std::path::Path;
use std::time::Duration;

use super::{Tally, stream, works};
use crate::command::{cargo, succeeds_within};

/// How long the database of vulnerabilities may take to come.
const FETCH: Duration = Duration::from_mins(1);

/// Checks what can be checked here, and says what cannot.
pub(super) fn run(root: &Path, tally: &mut Tally) {
    if !works("cargo-deny") {
        tally.skip("deny: cargo-deny is not installed");
        return;
    }
    let check = |what: &[&str]| {
        stream(cargo().args(["deny", "--locked", "check", "--disable-fetch"]).args(what).current_dir(root)).map(drop)
    };
    tally.step("deny", || check(&["licenses", "sources"]));
    if succeeds_within(cargo().args(["deny", "fetch", "db"]).current_dir(root), FETCH) {
        tally.step("deny: advisories", || check(&["advisories"]));
    } else {
        tally.skip("deny: the database of advisories cannot be had");
    }
}

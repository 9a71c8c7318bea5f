//! Calls every function that a guest may import with values that no guest of good will hands over.
//!
//! What enters is any bytes: they choose what the guest is granted, which functions it calls, and with
//! what. What must hold: nothing panics, refusals have registered codes, the store keeps its limit, and
//! what leaves is a valid request. The property test beside and the fuzz target in `fuzz/` run the same.
//!
//! It begins behind the canonical ABI, which is wasmtime's to keep. Guests that lie to that are in
//! `tests/sandbox/arbitrary.rs`.

mod calls;
mod source;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sluice_spans::{Batch, Edits, json};
use sluice_state::{LiveTable, Staged, Store, Table};

use self::calls::{ALL, Answer};
use self::source::Source;
use super::{Host, Phase};
use crate::access::{Access, Grants, beyond, named_tables};
use crate::capability::{Capability, Provided};
use crate::limits::Limits;

/// Calls of the plugin for one request.
const PLUGIN_CALLS: u32 = 3;

/// Calls into the host during one of them, at most.
const HOST_CALLS: usize = 40;

/// What the functions work on: something in every table, and a key that occurs twice in a span.
const REQUEST: &str = r#"{"resourceSpans": [{"resource": {"attributes": [{"key": "a", "value": {"stringValue": "x"}}]},
  "scopeSpans": [{"scope": {"name": "s", "version": "1"}, "schemaUrl": "u", "spans": [
    {"traceId": "01010101010101010101010101010101", "spanId": "0202020202020202", "name": "one", "traceState": "k=v",
     "startTimeUnixNano": "5", "endTimeUnixNano": "9", "status": {"message": "m", "code": 2},
     "attributes": [{"key": "a", "value": {"stringValue": "x"}}, {"key": "ab", "value": {"intValue": "-7"}},
       {"key": "a", "value": {"arrayValue": {"values": [{"stringValue": "y"}]}}}],
     "events": [{"timeUnixNano": "6", "name": "e", "attributes": [{"key": "a", "value": {"boolValue": true}}]}],
     "links": [{"traceId": "01010101010101010101010101010101", "spanId": "0202020202020202", "traceState": "k=v",
       "attributes": [{"key": "schlüssel", "value": {"bytesValue": "AP8="}}]}]},
    {"traceId": "01010101010101010101010101010101", "spanId": "0303030303030303", "parentSpanId": "0202020202020202"},
    {"traceId": "01010101010101010101010101010101", "spanId": "0404040404040404", "name": "three",
     "attributes": [{"key": "ab", "value": {"kvlistValue": {"values": [{"key": "c", "value": {"doubleValue": 0.5}}]}}}]}]}]}]}"#;

/// Does with a host what these bytes say.
///
/// # Panics
/// When one of the promises above is broken.
pub fn run(bytes: &[u8]) {
    run_and_tell(bytes, |_, _| ());
}

/// The same; `told` hears how each call was answered, by the function's number.
fn run_and_tell(bytes: &[u8], mut told: impl FnMut(usize, Answer)) {
    let mut source = Source::new(bytes);
    let (mut host, store) = host(&mut source);
    host.batch = batch();
    let mut staged = Staged::default();
    for _ in 0..=source.below(PLUGIN_CALLS) {
        host.begin(0);
        host.effects.store = staged;
        for _ in 0..HOST_CALLS {
            if source.is_empty() {
                break;
            }
            let number = source.below(ALL.len() as u32) as usize;
            let Some((_, call)) = ALL.get(number) else { break };
            let answer = call(&mut host, &mut source);
            assert!(answer.is_none_or(|code| (1..=6).contains(&code)), "a code that is not registered: {answer:?}");
            told(number, answer);
        }
        let went_well = host.broken().is_none() && !source.one_in(8);
        let edits = std::mem::replace(&mut host.edits, Edits::new());
        let effects = std::mem::take(&mut host.effects);
        staged = effects.store;
        staged.settle(went_well);
        if went_well {
            host.batch.commit(edits);
            let left = host.batch.encode();
            assert!(Batch::parse(left).is_ok(), "what is left is no request");
        }
    }
    if source.one_in(2) {
        staged.commit();
    } else {
        drop(staged);
    }
    assert!(store.bytes() <= host.limits.store_bytes, "the store is larger than its limit");
}

fn batch() -> Batch {
    static WIRE: OnceLock<Bytes> = OnceLock::new();
    let wire = WIRE.get_or_init(|| match json::from_json(REQUEST.as_bytes()) {
        Ok(wire) => wire.into(),
        Err(error) => unreachable!("{error}"),
    });
    Batch::parse(wire.clone()).unwrap_or_default()
}

/// A host whose guest was granted something; mostly much, or nothing behind the gates is reached.
fn host(source: &mut Source<'_>) -> (Host, Arc<Store>) {
    let limits = Limits {
        memory_bytes: 1 << 20,
        output_bytes: if source.one_in(4) { 1 << 10 } else { 1 << 20 },
        host_calls: if source.one_in(8) { 3 } else { 10_000 },
        metric_series: 3,
        store_bytes: if source.one_in(4) { 300 } else { 1 << 16 },
        ..Limits::default()
    };
    let everything = || Access { read: vec!["*".to_owned()], write: vec!["*".to_owned()] };
    let (described, configured) =
        if source.one_in(3) { (access(source), access(source)) } else { (everything(), everything()) };
    // As when a plugin is prepared, with what the guest said of itself.
    let mut grants = Grants::default();
    if beyond(&described, &configured).is_ok_and(|beyond| beyond.is_empty()) {
        let _ = named_tables(&configured).count();
        // What is no grant refuses the plugin; here it has nothing, then.
        let _ = grants.narrow(&configured);
    }
    let store = Arc::new(Store::new(limits.store_bytes));
    let mut provided = Provided::new(Some(source.u64()));
    let all = !source.one_in(4);
    for capability in Capability::ALL {
        if all || source.one_in(2) {
            provided.grant(capability);
        }
    }
    provided.store = Some(Arc::clone(&store));
    let table = Table::of_pairs([("a", "x"), ("ab", "")]);
    provided.tables.extend(table.ok().map(|table| ("t".to_owned(), Arc::new(LiveTable::new(table)))));
    let mut host = Host::new(limits, Arc::new(grants));
    host.phase = if source.one_in(16) { Phase::Setup } else { Phase::Serving };
    host.provided = Arc::new(provided);
    (host, store)
}

fn access(source: &mut Source<'_>) -> Access {
    let mut grants = || (0..source.below(4)).map(|_| source.grant()).collect();
    Access { read: grants(), write: grants() }
}

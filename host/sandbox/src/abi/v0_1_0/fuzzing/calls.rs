//! The functions of the contract, each with arguments out of a source.

use wasmtime::component::Resource;

use super::super::generated::sluice::plugin::{clock, log, metrics, random, store, tables};
use super::super::wit_batches::HostBatch;
use super::super::{BatchHandle, Host, WitRefusal};
use super::source::Source;

/// How a call was answered: the code of the refusal, if it was one.
pub(super) type Answer = Option<u32>;

pub(super) type Call = fn(&mut Host, &mut Source<'_>) -> Answer;

/// By interface and function, as components import them.
pub(super) const ALL: &[(&str, Call)] = &[
    ("batches [method]batch.len", |h, s| answer(h.len(any(s), s.table()))),
    ("batches [method]batch.parents", |h, s| answer(h.parents(any(s), s.table()))),
    ("batches [method]batch.numbers", |h, s| answer(h.numbers(any(s), s.table(), s.field()))),
    ("batches [method]batch.numbers-halves", |h, s| answer(h.numbers_halves(any(s), s.table(), s.field()))),
    ("batches [method]batch.durations", |h, s| answer(h.durations(any(s)))),
    ("batches [method]batch.texts", |h, s| answer(h.texts(any(s), s.table(), s.field()))),
    ("batches [method]batch.trace-ids", |h, s| answer(h.trace_ids(any(s), s.table()))),
    ("batches [method]batch.span-ids", |h, s| answer(h.span_ids(any(s), s.table()))),
    ("batches [method]batch.parent-span-ids", |h, s| answer(h.parent_span_ids(any(s)))),
    ("batches [method]batch.attribute", |h, s| answer(h.attribute(any(s), s.table(), s.text()))),
    ("batches [method]batch.entries", |h, s| answer(h.entries(any(s), s.table()))),
    ("batches [method]batch.entry-keys", |h, s| answer(h.entry_keys(any(s), s.table()))),
    ("batches [method]batch.strings", |h, s| answer(h.strings(any(s)))),
    ("batches [method]batch.drop-rows", |h, s| answer(h.drop_rows(any(s), s.table(), s.list(Source::u32)))),
    ("batches [method]batch.set-attribute", |h, s| {
        answer(h.set_attribute(any(s), s.table(), s.text(), s.list(Source::u32), s.values()))
    }),
    ("batches [method]batch.fill-attribute", |h, s| {
        answer(h.fill_attribute(any(s), s.table(), s.text(), s.u32(), s.values()))
    }),
    ("batches [method]batch.remove-attribute", |h, s| {
        answer(h.remove_attribute(any(s), s.table(), s.text(), s.list(Source::u32)))
    }),
    ("batches [method]batch.rename-attribute", |h, s| {
        answer(h.rename_attribute(any(s), s.table(), s.text(), s.text(), s.list(Source::u32)))
    }),
    ("batches [method]batch.set-entries", |h, s| {
        answer(h.set_entries(any(s), s.table(), s.list(Source::u32), s.values()))
    }),
    ("batches [method]batch.remove-entries", |h, s| answer(h.remove_entries(any(s), s.table(), s.list(Source::u32)))),
    ("batches [method]batch.set-texts", |h, s| {
        answer(h.set_texts(any(s), s.table(), s.field(), s.list(Source::u32), s.texts()))
    }),
    ("batches [method]batch.set-numbers", |h, s| {
        answer(h.set_numbers(any(s), s.table(), s.field(), s.list(Source::u32), s.list(Source::u64)))
    }),
    ("batches [method]batch.clean", |h, s| answer(h.clean(any(s), s.u32()))),
    ("clock now-unix-nano", |h, _| answer(clock::Host::now_unix_nano(h))),
    ("log enabled", |h, s| {
        log::Host::enabled(h, s.u32());
        None
    }),
    ("log write", |h, s| {
        log::Host::write(h, s.u32(), s.text());
        None
    }),
    ("metrics define", |h, s| answer(metrics::Host::define(h, s.u32(), s.text(), s.text(), s.texts()))),
    ("metrics record", |h, s| answer(metrics::Host::record(h, s.u32(), s.texts(), s.f64()))),
    ("random numbers", |h, s| answer(random::Host::numbers(h, s.u32()))),
    ("store get", |h, s| answer(store::Host::get(h, s.texts()))),
    ("store set", |h, s| answer(store::Host::set(h, s.texts(), s.values(), s.u64()))),
    ("store remove", |h, s| answer(store::Host::remove(h, s.texts()))),
    ("store add", |h, s| answer(store::Host::add(h, s.texts(), s.list(Source::u64), s.u64()))),
    ("store compare-and-set", |h, s| {
        answer(store::Host::compare_and_set(h, s.texts(), s.values(), s.values(), s.u64()))
    }),
    ("store take", |h, s| answer(store::Host::take(h, s.texts(), s.list(Source::u64), s.f64(), s.u64()))),
    ("tables look-up", |h, s| answer(tables::Host::look_up(h, s.text(), s.text(), s.texts()))),
];

fn answer<T>(result: Result<T, WitRefusal>) -> Answer {
    result.err().map(|refusal| refusal.code)
}

fn any(source: &mut Source<'_>) -> Resource<BatchHandle> {
    Resource::new_borrow(source.u32())
}

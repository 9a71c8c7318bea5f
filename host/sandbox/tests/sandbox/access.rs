//! What a guest sees and may change is what it described, asked for and was granted.

use prost::Message as _;
use sluice_sandbox::{Access, Effects, FailureKind, Limits, PrepareError, Settings};
use sluice_spans::Batch;

use crate::guest::{Guest, little_endian};
use crate::stage::{attribute, batch, instance, names, narrowed, prepare, prepare_with, request, settings};

/// Logs the refusal in the answer at 600, or `granted` if it is none.
const SAY: &str = "(if (i32.load8_u (i32.const 600))
    (then (call $log (i32.const 2) (i32.load (i32.const 608)) (i32.load (i32.const 612))))
    (else (call $log (i32.const 2) (i32.const 5000) (i32.const 7))))";

/// A guest that pulls the attribute with this key and logs the answer.
fn puller(key: &str) -> Guest {
    let len = key.len();
    let pull = format!(
        "(call $attribute (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const {len}) (i32.const 600)) {SAY}"
    );
    Guest::new().capabilities(&["log"]).data(4096, key).data(5000, "granted").process(&pull)
}

fn said(effects: &Effects) -> Vec<&str> {
    effects.logs.iter().map(|line| line.message.as_str()).collect()
}

#[test]
fn a_denied_attribute_reads_the_same_whether_it_is_there_or_not() {
    for key in ["user.email", "user.nobody"] {
        let mut effects = Effects::default();
        let guest = puller(key).access(&["spans.attributes:http.*"], &[]);
        instance(guest).process(&mut batch(3), &mut effects).unwrap();
        assert_eq!(said(&effects), [format!("reading the attribute `{key}` is not granted to this plugin")]);
    }
}

#[test]
fn a_granted_attribute_is_read() {
    let mut effects = Effects::default();
    instance(puller("http.route").access(&["spans.attributes:http.*"], &[]))
        .process(&mut batch(3), &mut effects)
        .unwrap();
    assert_eq!(said(&effects), ["granted"]);
}

#[test]
fn the_operator_can_grant_less_than_the_plugin_asks_for() {
    let mut effects = Effects::default();
    narrowed(puller("user.email"), &["spans.attributes:http.*"]).process(&mut batch(3), &mut effects).unwrap();
    assert_eq!(said(&effects), ["reading the attribute `user.email` is not granted to this plugin"]);
}

#[test]
fn a_plugin_has_what_its_configuration_asks_for_and_not_all_that_it_described() {
    let mut effects = Effects::default();
    let guest = puller("user.email").access(&["*"], &[]).asks(&["spans.attributes:http.route"], &[]);
    instance(guest).process(&mut batch(3), &mut effects).unwrap();
    assert_eq!(said(&effects), ["reading the attribute `user.email` is not granted to this plugin"]);
}

#[test]
fn asking_for_more_than_was_described_is_refused() {
    let guest =
        Guest::new().access(&["spans.name"], &["spans.drop"]).asks(&["spans.name", "spans.ids"], &["spans.drop"]);
    match prepare(guest) {
        Err(PrepareError::Beyond(grants)) => assert_eq!(grants, ["spans.ids"]),
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn ids_names_and_drops_need_their_grants() {
    for (call, denial) in [
        (
            "(call $trace_ids (local.get $batch) (i32.const 2) (i32.const 600))",
            "reading ids is not granted to this plugin",
        ),
        (
            "(call $texts (local.get $batch) (i32.const 2) (i32.const 5) (i32.const 600))",
            "reading name is not granted to this plugin",
        ),
        (
            "(call $drop_rows (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 1) (i32.const 600))",
            "writing drop is not granted to this plugin",
        ),
    ] {
        let (mut effects, mut batch) = (Effects::default(), batch(3));
        let guest = Guest::new().capabilities(&["log"]).access(&[], &[]).data(5000, "granted");
        instance(guest.process(&format!("{call} {SAY}"))).process(&mut batch, &mut effects).unwrap();
        assert_eq!(said(&effects), [denial]);
        assert_eq!(names(&mut batch), ["span-0", "span-1", "span-2"]);
    }
}

/// Removes entry 0 of the spans' attributes as the guest numbers them.
const REMOVE_FIRST: &str =
    "(call $remove_entries (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 1) (i32.const 600))";

const ENTRIES: &str = "(call $entries (local.get $batch) (i32.const 2) (i32.const 600))";
const STRINGS: &str = "(call $strings (local.get $batch) (i32.const 600))";

#[test]
fn entries_are_numbered_without_the_hidden_ones() {
    // The second attribute of each span is all that it sees, so its entry 0 is `user.email`.
    for pull in [ENTRIES, STRINGS] {
        let guest = Guest::new()
            .access(&["spans.attributes:user.*"], &["spans.attributes:user.*"])
            .data(4096, little_endian(&[0]));
        let mut batch = batch(1);
        let mut instance = instance(guest.process(&format!("{pull} {REMOVE_FIRST}")));
        let processed = instance.process(&mut batch, &mut Effects::default()).unwrap();
        assert_eq!(processed.edited, 1);
        let column =
            |batch: &mut Batch, key: &[u8]| batch.attribute(sluice_spans::Table::Spans, key).unwrap().values.types;
        assert_eq!((column(&mut batch, b"user.email"), column(&mut batch, b"http.route")), (vec![0], vec![1]));
    }
}

/// Logs the bytes of the strings in the answer at 600.
const SAY_STRINGS: &str = "(call $log (i32.const 2) (i32.load (i32.const 628)) (i32.load (i32.const 632)))";

#[test]
fn strings_are_those_that_are_granted() {
    for (grants, shown) in [
        (&[] as &[&str], ""),
        (&["spans.name"], "span-0span-1"),
        (&["spans.attributes:http.*"], "/a/a"),
        (&["spans.attributes:*", "events.*"], "/aa@b.c/aa@b.c"),
    ] {
        let mut effects = Effects::default();
        let guest = Guest::new().capabilities(&["log"]).access(grants, &[]);
        instance(guest.process(&format!("{STRINGS} {SAY_STRINGS}"))).process(&mut batch(2), &mut effects).unwrap();
        assert_eq!(said(&effects), [shown], "{grants:?}");
    }
}

/// Logs a digest, in eight letters, of the answer at 600 and of all that the host has put on the heap.
const TELL: &str = r"
    (func $mix (param $at i32) (param $end i32) (result i32) (local $mixed i32)
      (local.set $mixed (i32.const 0x811c9dc5))
      (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $mixed (i32.mul (i32.xor (local.get $mixed) (i32.load8_u (local.get $at))) (i32.const 16777619)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
      (local.get $mixed))
    (func $tell (local $mixed i32) (local $letter i32)
      (local.set $mixed (i32.xor (call $mix (i32.const 600) (i32.const 1000)) (call $mix (i32.const 65536) (global.get $heap))))
      (loop $next
        (i32.store8 (i32.add (i32.const 5000) (local.get $letter)) (i32.add (i32.const 97) (i32.and (local.get $mixed) (i32.const 15))))
        (local.set $mixed (i32.shr_u (local.get $mixed) (i32.const 4)))
        (br_if $next (i32.lt_u (local.tee $letter (i32.add (local.get $letter) (i32.const 1))) (i32.const 8))))
      (call $log (i32.const 2) (i32.const 5000) (i32.const 8)))";

/// All that a guest with this access can find out about batches that differ in `user.email` alone: one
/// list of digests a batch.
fn found_out(read: &[&'static str], write: &[&'static str]) -> Vec<Vec<String>> {
    let pulls = [
        "(call $attribute (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 10) (i32.const 600))",
        ENTRIES,
        STRINGS,
        "(call $texts (local.get $batch) (i32.const 2) (i32.const 5) (i32.const 600))",
        "(call $trace_ids (local.get $batch) (i32.const 2) (i32.const 600))",
        "(call $len (local.get $batch) (i32.const 2) (i32.const 600))",
        REMOVE_FIRST,
    ];
    let told = |address: Option<&str>| {
        let mut request = request(3);
        for span in request.resource_spans.iter_mut().flat_map(|r| &mut r.scope_spans).flat_map(|s| &mut s.spans) {
            span.attributes.retain(|attribute| attribute.key != "user.email");
            span.attributes.extend(address.map(|address| attribute("user.email", address)));
        }
        let body = pulls.map(|pull| [pull, "(call $tell)"].join(" ")).join("\n");
        let guest = Guest::new().capabilities(&["log"]).access(read, write).data(4096, "user.email");
        let mut effects = Effects::default();
        let mut batch = Batch::parse(request.encode_to_vec().into()).unwrap();
        instance(guest.module(TELL).process(&body)).process(&mut batch, &mut effects).unwrap();
        said(&effects).into_iter().map(str::to_owned).collect()
    };
    [Some("a@b.c"), Some("somebody@example.com"), None].map(told).to_vec()
}

#[test]
fn a_sampler_that_never_declared_a_mail_address_cannot_learn_it() {
    let sampler: &[&str] = &["spans.ids", "spans.trace_state", "spans.name", "spans.attributes:http.*"];
    let found = found_out(sampler, &["spans.trace_state", "spans.drop"]);
    assert_eq!(found[0].len(), 7);
    assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
    // Whoever declared it does learn it, or the test would prove nothing.
    let found = found_out(&["spans.attributes:user.*"], &[]);
    for pull in 0..3 {
        assert!(found[0][pull] != found[1][pull] && found[1][pull] != found[2][pull], "{pull}: {found:?}");
    }
}

/// Fills `user.email` with `x` in the rows that the number means.
fn filler(which: u32) -> Guest {
    let fill = format!(
        "(call $fill_attribute (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 10) (i32.const {which})
           (i32.const 4200) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 4204) (i32.const 1)
           (i32.const 4208) (i32.const 1) (i32.const 600)) {SAY}"
    );
    let guest = Guest::new().capabilities(&["log"]).data(4096, "user.email").data(5000, "granted");
    guest.data(4200, [1]).data(4204, little_endian(&[1])).data(4208, "x").process(&fill)
}

#[test]
fn an_attribute_is_filled_in_the_rows_that_are_meant() {
    for (which, edited, answer) in
        [(1, 2, "granted"), (2, 0, "granted"), (3, 2, "granted"), (0, 0, "no such choice of rows")]
    {
        let mut effects = Effects::default();
        let mut instance = instance(filler(which).access(&[], &["spans.attributes:user.*"]));
        let processed = instance.process(&mut batch(2), &mut effects).unwrap();
        assert_eq!((processed.edited, said(&effects)), (edited, vec![answer]), "{which}");
    }
}

#[test]
fn an_attribute_that_is_not_granted_is_not_filled() {
    let mut effects = Effects::default();
    let mut instance = instance(filler(1).access(&["*"], &["spans.attributes:http.*"]));
    let processed = instance.process(&mut batch(2), &mut effects).unwrap();
    assert_eq!(processed.edited, 0);
    assert_eq!(said(&effects), ["writing the attribute `user.email` is not granted to this plugin"]);
}

#[test]
fn hidden_entries_cannot_be_counted_or_removed() {
    for (body, denial) in [
        (REMOVE_FIRST.to_owned(), "entries have no numbers before `entries` was called"),
        (format!("{ENTRIES} {REMOVE_FIRST}"), "writing one of these attributes is not granted to this plugin"),
    ] {
        let (mut effects, mut batch) = (Effects::default(), batch(1));
        let guest =
            Guest::new().capabilities(&["log"]).access(&["spans.attributes:http.*"], &["spans.attributes:user.*"]);
        let guest = guest.data(4096, little_endian(&[0])).data(5000, "granted").process(&format!("{body} {SAY}"));
        let processed = instance(guest).process(&mut batch, &mut effects).unwrap();
        assert_eq!((said(&effects), processed.edited), (vec![denial], 0));
    }
}

#[test]
fn a_plugin_that_gives_up_after_a_refusal_is_told_apart_and_kept() {
    let guest = Guest::new().access(&[], &[]).data(4096, "no ids").whole_process(
        "(call $trace_ids (local.get $batch) (i32.const 2) (i32.const 600)) (call $drop (local.get $batch))
         (call $fail (i32.const 4096) (i32.const 6))",
    );
    let mut instance = instance(guest);
    let error = instance.process(&mut batch(1), &mut Effects::default()).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (FailureKind::HostRefused, "the plugin gave up: no ids"));
    instance.process(&mut batch(1), &mut Effects::default()).unwrap_err();
    assert_eq!(instance.restarts(), 0, "it returned, so its memory is sound");
}

#[test]
fn a_bad_grant_of_the_operator_is_told_from_one_of_the_plugin() {
    let bad = Access { read: vec!["spans.nmae".to_owned()], write: Vec::new() };
    let by_operator = prepare_with(Guest::new(), Settings { access: Some(bad), ..settings(Limits::default()) });
    assert!(matches!(by_operator, Err(PrepareError::Allowed(bad)) if bad.0 == "spans.nmae"));
    let by_plugin = prepare(Guest::new().access(&["spans.nmae"], &[]));
    assert!(matches!(by_plugin, Err(PrepareError::Grant(bad)) if bad.0 == "spans.nmae"));
}

#[test]
fn how_often_entries_can_be_named_does_not_tell_how_many_are_hidden() {
    // Three of six are shown: what is refused is 65,536 more than three.
    let body = |named: u32, code: u32| {
        format!(
            "(call $entries (local.get $batch) (i32.const 2) (i32.const 600))
             (call $remove_entries (local.get $batch) (i32.const 2) (i32.const 0x20000) (i32.const {named}) (i32.const 700))
             (if (i32.ne (i32.load8_u (i32.const 700)) (i32.const {})) (then unreachable))
             (if (i32.ne (i32.load (i32.const 704)) (i32.const {code})) (then unreachable))",
            u32::from(code > 0)
        )
    };
    for (named, code) in [(65_539, 0), (65_540, 5)] {
        let guest = Guest::new().pages(8).with_many(&body(named, code));
        narrowed(guest, &["spans.attributes:http.route"]).process(&mut batch(3), &mut Effects::default()).unwrap();
    }
}

/// A guest that cleans the batch of `what` and logs the answer.
fn cleaner(what: u32) -> Guest {
    let clean = format!("(call $clean (local.get $batch) (i32.const {what}) (i32.const 600)) {SAY}");
    Guest::new()
        .capabilities(&["log"])
        .data(5000, "granted")
        .process(&clean)
        .imports(r#"(import "sluice:plugin/batches@0.1.0" "[method]batch.clean" (func $clean (param i32 i32 i32)))"#)
}

#[test]
fn cleaning_needs_the_grant_of_every_table() {
    // Resource spans with two schema URLs, of which the last holds, and a request with the field 1999.
    let (twice, once) = (&b"\x0a\x06\x1a\x01a\x1a\x01b"[..], &b"\x0a\x03\x1a\x01b"[..]);
    let (more, less) = (&b"\x0a\x03\x1a\x01b\xf8\x7c\x01"[..], once);
    let overridden =
        ["resources.overridden", "scopes.overridden", "spans.overridden", "events.overridden", "links.overridden"];
    let unknown = ["resources.unknown", "scopes.unknown", "spans.unknown", "events.unknown", "links.unknown"];
    let call = |what, described: &[&'static str], allowed: Option<&str>, wire: &'static [u8]| {
        let access = allowed.map(|grant| Access { read: vec!["*".to_owned()], write: vec![grant.to_owned()] });
        let settings = Settings { access, ..settings(Limits::default()) };
        let mut instance = prepare_with(cleaner(what).access(&[], described), settings).unwrap().instantiate().unwrap();
        let (mut batch, mut effects) = (Batch::parse(wire.into()).unwrap(), Effects::default());
        instance.process(&mut batch, &mut effects).unwrap();
        (said(&effects).join(" "), batch.encode())
    };
    for (what, name, granted, other, before, after) in
        [(1, "overridden", &overridden, &unknown, twice, once), (2, "unknown", &unknown, &overridden, more, less)]
    {
        for (described, allowed) in [(&granted[..], None), (&["*"], None), (&["*"], Some("*"))] {
            assert_eq!(call(what, described, allowed, before), ("granted".to_owned(), after.into()), "{described:?}");
        }
        let denial = format!("writing {name} of every table is not granted to this plugin");
        let narrow: [(&[&str], _); 5] =
            [(&[], None), (&granted[..4], None), (other, None), (&["spans.*"], None), (&["*"], Some("spans.*"))];
        for (described, allowed) in narrow {
            assert_eq!(call(what, described, allowed, before), (denial.clone(), before.into()), "{described:?}");
        }
    }
}

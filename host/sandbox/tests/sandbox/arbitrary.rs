//! Guests that call every import with arbitrary numbers where pointers, lengths and handles belong, and
//! return arbitrary pointers from every export. What the host is handed this way goes through the
//! canonical ABI; values behind it are the matter of `src/abi/v0_1_0/fuzzing.rs`.

use std::path::Path;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use sluice_sandbox::{Effects, Limits, Sandbox};
use sluice_state::Random;
use wit_parser::Resolve;
use wit_parser::abi::{AbiVariant, WasmType};

use crate::guest::{Guest, little_endian};
use crate::stage::{batch, load_bytes, request, sandbox, settings};

/// A function that the core module imports.
struct Import {
    module: String,
    function: String,
    params: Vec<WasmType>,
    answers: bool,
    /// Its first argument is the batch.
    method: bool,
    /// Its last argument says where the answer goes.
    retptr: bool,
}

/// Every function of every interface.
fn imports() -> Vec<Import> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/0.1.0")).unwrap();
    let mut imports = Vec::new();
    for (interface, id) in &resolve.packages[package].interfaces {
        for (function, signature) in &resolve.interfaces[*id].functions {
            let core = resolve.wasm_signature(AbiVariant::GuestImport, signature);
            imports.push(Import {
                module: format!("sluice:plugin/{interface}@0.1.0"),
                function: function.clone(),
                method: function.starts_with("[method]"),
                answers: !core.results.is_empty(),
                retptr: core.retptr,
                params: core.params,
            });
        }
    }
    assert!(imports.len() > 30, "the contract is where it was");
    imports
}

fn below(random: &mut Random, most: u64) -> u64 {
    random.number() % most
}

/// A number for a pointer, a length, a table, a row: most fit by chance, because one that does not ends the
/// call.
fn number(random: &mut Random) -> u64 {
    match below(random, 24) {
        0 => u64::MAX - below(random, 16),
        1 => random.number(),
        2 => 131_072 - below(random, 16),
        3..8 => 4096 + below(random, 500) * 8,
        _ => below(random, 4),
    }
}

fn call(import: &Import, number_of: usize, random: &mut Random) -> String {
    let last = import.params.len() - 1;
    let argument = |(place, kind): (usize, &WasmType)| match kind {
        _ if place == 0 && import.method && below(random, 8) > 0 => "(local.get $batch)".to_owned(),
        _ if place == last && import.retptr && below(random, 8) > 0 => "(i32.const 600)".to_owned(),
        WasmType::I64 | WasmType::PointerOrI64 => format!("(i64.const {})", number(random) as i64),
        WasmType::F32 => "(f32.const nan)".to_owned(),
        WasmType::F64 => format!("(f64.reinterpret_i64 (i64.const {}))", random.number() as i64),
        _ => format!("(i32.const {})", number(random) as i32),
    };
    let arguments: Vec<String> = import.params.iter().enumerate().map(argument).collect();
    let call = format!("(call $import{number_of} {})", arguments.join(" "));
    if import.answers { format!("(drop {call})") } else { call }
}

/// The text of the module with all imports, those that it has already among them under another name.
fn with_imports(text: &str, imports: &[Import]) -> String {
    let mut all = String::from("(module ");
    let mut text = text.replacen("(module", "", 1);
    for (number_of, Import { module, function, params, answers, .. }) in imports.iter().enumerate() {
        let mark = format!("(import \"{module}\" \"{function}\" (func $");
        let mark = if text.contains(&mark) { mark } else { mark.replacen("\" (func", "\"\n    (func", 1) };
        if let Some((before, after)) = text.split_once(&mark) {
            let known = after.split_whitespace().next().unwrap().to_owned();
            text = format!("{before}{mark}{after}").replace(&format!("$import{number_of} "), &format!("${known} "));
            continue;
        }
        let word = |kind: &WasmType| match kind {
            WasmType::I64 | WasmType::PointerOrI64 => "i64",
            WasmType::F32 => "f32",
            WasmType::F64 => "f64",
            _ => "i32",
        };
        let params: Vec<_> = params.iter().map(word).collect();
        let result = if *answers { "(result i32)" } else { "" };
        let import = format!(
            "(import \"{module}\" \"{function}\" (func $import{number_of} (param {}) {result}))\n",
            params.join(" ")
        );
        all.push_str(&import);
    }
    all + &text
}

fn guest(random: &mut Random, imports: &[Import]) -> Vec<u8> {
    let mut body = String::new();
    for _ in 0..=below(random, 6) {
        let number_of = below(random, imports.len() as u64) as usize;
        body.push_str(&call(&imports[number_of], number_of, random));
    }
    let capabilities = ["log", "metrics", "clock", "random", "store", "tables"];
    let memory: Vec<u32> = (0..1_000).map(|_| number(random) as u32).collect();
    let mut guest = Guest::new().capabilities(&capabilities).data(4096, little_endian(&memory)).process(&body);
    let mut anywhere = || (below(random, 4) == 0).then(|| number(random) as i32);
    if let Some(place) = anywhere() {
        guest = guest.before_describe(&format!("(return (i32.const {place}))"));
    }
    if let Some(place) = anywhere() {
        guest = guest.configure(&format!("(i32.const {place})"));
    }
    guest = guest.snapshot(&format!("(i32.const {})", anywhere().unwrap_or(4096)));
    let returns = anywhere().map_or("(call $ok)".to_owned(), |place| format!("(i32.const {place})"));
    guest.component_for(|text, is_core| {
        if !is_core {
            return text;
        }
        let text = text.replace("(param i64) (result i32) (call $ok)", &format!("(param i64) (result i32) {returns}"));
        let text =
            text.replace("(param i32 i32) (result i32) (call $ok)", &format!("(param i32 i32) (result i32) {returns}"));
        with_imports(&text, imports)
    })
}

/// How many guests there were that could not be set up, that failed, and that went well.
fn try_one(sandbox: &Sandbox, component: &[u8]) -> [u32; 3] {
    let module = load_bytes(sandbox, component).unwrap();
    let Ok(prepared) = sandbox.prepare(&module, settings(Limits::default())) else { return [1, 0, 0] };
    let Ok(mut instance) = prepared.instantiate() else { return [1, 0, 0] };
    let mut counts = [0; 3];
    for _ in 0..2 {
        let mut three = batch(3);
        let went_well = instance.process(&mut three, &mut Effects::default()).is_ok();
        let left = three.encode();
        if went_well {
            ExportTraceServiceRequest::decode(left).expect("what is left is a request");
        } else {
            assert_eq!(left, request(3).encode_to_vec(), "nothing of a failed call is left");
        }
        counts[usize::from(went_well) + 1] += 1;
        // However these end, the next call finds an instance.
        let _ = instance.flush(7, &mut Effects::default());
        let _ = instance.snapshot();
        let _ = instance.restore(&[vec![1, 2, 3], Vec::new()]);
    }
    counts
}

#[test]
fn no_pointer_length_or_handle_does_harm() {
    let (sandbox, imports) = (sandbox(), imports());
    let mut all = [0; 3];
    for seed in 0..150 {
        println!("seed {seed}");
        let component = guest(&mut Random::seeded(seed), &imports);
        let counts = try_one(&sandbox, &component);
        all = std::array::from_fn(|kind| all[kind] + counts[kind]);
    }
    println!("{all:?} were not set up, failed, went well");
    assert!(all.iter().all(|&count| count >= 10), "{all:?}: each way is tried");
}

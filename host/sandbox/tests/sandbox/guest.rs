//! Makes plugins out of a few lines of WebAssembly text: a core module around the given function
//! bodies, made a component the way our own tool does it.
//!
//! Memory of such a guest: 512 what an export returns, 600 where imports put their answers,
//! 1024 its description, 4096 to 65535 for the test's own data, above that a heap that is empty
//! again at the start of every `process`.

use std::fmt::Write;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What the core module may import, as the canonical ABI lowers it. `ret` points to the answer:
/// a byte that is 1 for a refusal, and 4 bytes later what was asked for, or the refusal's code and
/// message.
const BATCHES: &str = r#"
  (import "sluice:plugin/batches@0.1.0" "[resource-drop]batch" (func $drop (param i32)))
  (import "sluice:plugin/batches@0.1.0" "[method]batch.len" (func $len (param i32 i32 i32)))
  (import "sluice:plugin/batches@0.1.0" "[method]batch.numbers" (func $numbers (param i32 i32 i32 i32)))
  (import "sluice:plugin/batches@0.1.0" "[method]batch.texts" (func $texts (param i32 i32 i32 i32)))
  (import "sluice:plugin/batches@0.1.0" "[method]batch.trace-ids" (func $trace_ids (param i32 i32 i32)))
  (import "sluice:plugin/batches@0.1.0" "[method]batch.attribute" (func $attribute (param i32 i32 i32 i32 i32)))
  (import "sluice:plugin/batches@0.1.0" "[method]batch.entries" (func $entries (param i32 i32 i32)))
  (import "sluice:plugin/batches@0.1.0" "[method]batch.strings" (func $strings (param i32 i32)))
  (import "sluice:plugin/batches@0.1.0" "[method]batch.fill-attribute"
    (func $fill_attribute (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "sluice:plugin/batches@0.1.0" "[method]batch.drop-rows" (func $drop_rows (param i32 i32 i32 i32 i32)))
  (import "sluice:plugin/batches@0.1.0" "[method]batch.remove-attribute"
    (func $remove_attribute (param i32 i32 i32 i32 i32 i32 i32)))
  (import "sluice:plugin/batches@0.1.0" "[method]batch.remove-entries" (func $remove_entries (param i32 i32 i32 i32 i32)))
  (import "sluice:plugin/batches@0.1.0" "[method]batch.set-texts"
    (func $set_texts (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
"#;
const LOG: &str = r#"
  (import "sluice:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
"#;
const METRICS: &str = r#"
  (import "sluice:plugin/metrics@0.1.0" "define" (func $define (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "sluice:plugin/metrics@0.1.0" "record" (func $record (param i32 i32 i32 i32 i32 f64 i32)))
"#;

const SUPPORT: &str = r#"
  (global $heap (mut i32) (i32.const 65536))
  (func $alloc (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
    (local.get $at))
  (func $ok (result i32) (i64.store (i32.const 512) (i64.const 0)) (i32.const 512))
  (func $fail (param $message i32) (param $len i32) (result i32)
    (i32.store (i32.const 512) (i32.const 1)) (i32.store (i32.const 516) (i32.const 0))
    (i32.store (i32.const 520) (local.get $message)) (i32.store (i32.const 524) (local.get $len))
    (i32.const 512))
  (func $spans (param $batch i32) (result i32)
    (call $len (local.get $batch) (i32.const 2) (i32.const 600)) (i32.load (i32.const 604)))
  (func (export "restore") (param i32 i32) (result i32) (call $ok))
"#;

/// A plugin under construction. By default it is harmless, reads and writes everything, and does
/// nothing.
pub struct Guest {
    describe: String,
    configure: String,
    snapshot: String,
    flush: String,
    process: String,
    start: Option<String>,
    imports: String,
    module: String,
    pages: u32,
    data: String,
    capabilities: Vec<&'static str>,
    described: [Vec<&'static str>; 2],
    configured: Option<[Vec<&'static str>; 2]>,
    files: Vec<(&'static str, &'static str, u32, &'static str)>,
    traits: u32,
}

/// Returns from `process` with `ok`, having given the borrowed batch back.
const DONE: &str = "(call $drop (local.get $batch)) (call $ok)";

impl Guest {
    pub fn new() -> Self {
        Self {
            describe: "(i32.const 1024)".to_owned(),
            configure: "(i32.const 2048)".to_owned(),
            snapshot:
                "(i64.store (i32.const 512) (i64.const 0)) (i32.store (i32.const 520) (i32.const 0)) (i32.const 512)"
                    .to_owned(),
            flush: "(call $ok)".to_owned(),
            process: DONE.to_owned(),
            start: None,
            imports: String::new(),
            module: String::new(),
            pages: 2,
            data: String::new(),
            capabilities: Vec::new(),
            described: [vec!["*"], vec!["*"]],
            configured: None,
            files: Vec::new(),
            traits: 0,
        }
    }

    /// Does this with every batch, then returns ok.
    pub fn process(self, body: &str) -> Self {
        self.whole_process(&format!("(global.set $heap (i32.const 65536)) {body} {DONE}"))
    }

    /// Does this with batches of more than one span, then returns ok.
    pub fn with_many(self, body: &str) -> Self {
        self.process(&format!("(if (i32.gt_u (call $spans (local.get $batch)) (i32.const 1)) (then {body}))"))
    }

    /// The whole body of `process`, its result included.
    pub fn whole_process(mut self, body: &str) -> Self {
        body.clone_into(&mut self.process);
        self
    }

    /// Does this before it describes itself.
    pub fn before_describe(mut self, body: &str) -> Self {
        self.describe = format!("{body} (i32.const 1024)");
        self
    }

    /// The whole body of `configure`, its result included.
    pub fn configure(mut self, body: &str) -> Self {
        body.clone_into(&mut self.configure);
        self
    }

    /// The whole body of `snapshot`, its result included.
    pub fn snapshot(mut self, body: &str) -> Self {
        body.clone_into(&mut self.snapshot);
        self
    }

    /// The whole body of `flush`, its result included.
    pub fn flush(mut self, body: &str) -> Self {
        body.clone_into(&mut self.flush);
        self
    }

    /// The body of the start function.
    pub fn start(mut self, body: &str) -> Self {
        self.start = Some(body.to_owned());
        self
    }

    /// More imports of the core module.
    pub fn imports(mut self, fields: &str) -> Self {
        self.imports.push_str(fields);
        self
    }

    /// More fields of the core module.
    pub fn module(mut self, fields: &str) -> Self {
        self.module.push_str(fields);
        self
    }

    /// Pages of 64 KiB at the start.
    pub fn pages(mut self, pages: u32) -> Self {
        self.pages = pages;
        self
    }

    /// Puts bytes into memory.
    pub fn data(mut self, at: u32, bytes: impl AsRef<[u8]>) -> Self {
        self.segment(at, bytes.as_ref());
        self
    }

    pub fn capabilities(mut self, names: &[&'static str]) -> Self {
        self.capabilities = names.to_vec();
        self
    }

    /// The access that it describes, and asks for unless [`Guest::asks`] says otherwise.
    pub fn access(mut self, read: &[&'static str], write: &[&'static str]) -> Self {
        self.described = [read.to_vec(), write.to_vec()];
        self
    }

    /// The access that `configure` asks for.
    pub fn asks(mut self, read: &[&'static str], write: &[&'static str]) -> Self {
        self.configured = Some([read.to_vec(), write.to_vec()]);
        self
    }

    /// A file that `configure` names: the table, the path, the format's number and the key.
    pub fn names(mut self, table: &'static str, path: &'static str, format: u32, key: &'static str) -> Self {
        self.files.push((table, path, format, key));
        self
    }

    pub fn traits(mut self, traits: u32) -> Self {
        self.traits = traits;
        self
    }

    /// The component, for the contract in `wit/0.1.0`.
    pub fn component(self) -> Vec<u8> {
        self.component_for(|contract, _| contract)
    }

    /// The component for a contract whose text, and the core module's text, `change` has changed.
    pub fn component_for(self, change: impl Fn(String, bool) -> String) -> Vec<u8> {
        let core = wat::parse_str(change(self.wat(), true)).expect("the guest's text");
        let mut resolve = Resolve::default();
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let folder = above.map(|folder| folder.join("wit/0.1.0")).find(|folder| folder.is_dir()).unwrap();
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        let mut contract = String::new();
        for (number, file) in files.iter().enumerate() {
            let text = std::fs::read_to_string(file).unwrap();
            let start = if number == 0 { 0 } else { text.find('\n').unwrap() };
            contract.push_str(&text[start..]);
        }
        let package = resolve.push_str("contract.wit", &change(contract, false)).expect("the contract");
        let world = resolve.select_world(&[package], Some("processor")).unwrap();
        let mut module = core;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().expect("a component")
    }

    fn segment(&mut self, at: u32, bytes: &[u8]) {
        write!(self.data, "(data (i32.const {at}) \"").unwrap();
        for byte in bytes {
            write!(self.data, "\\{byte:02x}").unwrap();
        }
        self.data.push_str("\")\n");
    }

    fn wat(mut self) -> String {
        self.description();
        let uses = |names: &[&str]| {
            let bodies = [&self.describe, &self.configure, &self.process, &self.module];
            names.iter().any(|name| bodies.iter().any(|body| body.contains(name)))
        };
        let log = if uses(&["$log"]) { LOG } else { "" };
        let metrics = if uses(&["$define", "$record"]) { METRICS } else { "" };
        let start = self.start.as_ref().map(|body| format!("(func $start {body}) (start $start)")).unwrap_or_default();
        let Self { describe, configure, snapshot, flush, process, imports, module, pages, data, .. } = &self;
        format!(
            "(module {BATCHES} {log} {metrics} {imports} (memory (export \"memory\") {pages}) {SUPPORT}
               (func (export \"describe\") (result i32) {describe})
               (func (export \"configure\") (param i32 i32) (result i32) {configure})
               (func (export \"snapshot\") (result i32) {snapshot})
               (func (export \"flush\") (param i64) (result i32) {flush})
               (func $process (export \"process\") (param $batch i32) (result i32) (local $n i32) {process})
               {module} {start} {data})"
        )
    }

    /// Lays out the record that `describe` returns at 1024 and the one of `configure` at 2048.
    fn description(&mut self) {
        let mut layout = Layout { at: 1536, segments: Vec::new() };
        let (name, version) = (layout.text("guest"), layout.text("1.2.3"));
        let capabilities = layout.texts(&self.capabilities);
        let [read, write] = &self.described;
        let (described_read, described_write) = (layout.texts(read), layout.texts(write));
        let [read, write] = self.configured.as_ref().unwrap_or(&self.described);
        let (read, write) = (layout.texts(read), layout.texts(write));
        let mut files = Vec::new();
        for (table, path, format, key) in &self.files {
            files.extend([layout.text(table), layout.text(path), vec![*format], layout.text(key)].concat());
        }
        let files = layout.place(little_endian(&files), self.files.len());
        let mut record = [name, version, capabilities, described_read, described_write].concat();
        record.extend([self.traits, 7]);
        let configured = [vec![0], read, write, files].concat();
        for (at, bytes) in layout.segments {
            self.segment(at, &bytes);
        }
        self.segment(1024, &little_endian(&record));
        self.segment(2048, &little_endian(&configured));
    }
}

/// Places texts and lists of texts in memory.
struct Layout {
    at: u32,
    segments: Vec<(u32, Vec<u8>)>,
}

impl Layout {
    fn place(&mut self, bytes: Vec<u8>, items: usize) -> Vec<u32> {
        let at = self.at;
        self.at += (bytes.len() as u32).next_multiple_of(4);
        assert!(self.at <= 2048, "the description is too large for its place");
        self.segments.push((at, bytes));
        vec![at, items as u32]
    }

    fn text(&mut self, text: &str) -> Vec<u32> {
        self.place(text.as_bytes().to_vec(), text.len())
    }

    fn texts(&mut self, texts: &[&str]) -> Vec<u32> {
        let places: Vec<u32> = texts.iter().flat_map(|text| self.text(text)).collect();
        self.place(little_endian(&places), texts.len())
    }
}

/// A function that takes a compiler long, with 3,000 loops minutes: every one of them hands on every local.
pub fn takes_minutes(loops: usize) -> String {
    let step =
        |n: usize| format!("loop local.get {} local.get {} i64.add local.set {} ", n % 400, n * 7 % 400, n * 13 % 400);
    let body: String = (0..loops).map(step).collect();
    let ends = "local.get 0 i64.eqz br_if 0 end ".repeat(loops);
    format!("(func $bomb (local {}) {body} {ends})", "i64 ".repeat(400))
}

/// A function that takes a compiler 3 GiB: it notes of each local in which of so many blocks it has which value.
pub fn takes_memory() -> String {
    let blocks = "block i32.const 0 br_if 0 end ".repeat(50_000);
    let sets: Vec<_> = (0..8_000).map(|local| format!("i32.const 0 local.set {local}")).collect();
    format!("(func $hoard (local {}) {blocks} {})", "i32 ".repeat(8_000), sets.join(" "))
}

/// A component that logs 4 MiB of nothing so many times, with batches of more than one span. It neither loops nor calls a
/// function of its own meanwhile, so that nobody would look at it: its memory is in a module apart, and tools put
/// functions in between only where there is one module for all.
pub fn logs_in_one_stretch(times: usize) -> Vec<u8> {
    let logs = "(call $log (i32.const 3) (i32.const 65536) (i32.const 0x400000))".repeat(times);
    // What it describes at 1024: name, version, `log`, access, traits, schema. What it configures at 2048: nothing.
    let texts = "(data (i32.const 1536) \"guest\") (data (i32.const 1544) \"1.2.3\") (data (i32.const 1552) \"log\")
        (data (i32.const 1560) \"\\10\\06\\00\\00\\03\\00\\00\\00\")";
    let described: Vec<_> = [1536, 5, 1544, 5, 1560, 1, 0, 0, 0, 0, 0, 7]
        .iter()
        .enumerate()
        .map(|(at, number)| format!("(i32.store (i32.const {}) (i32.const {number}))", 1024 + 4 * at))
        .collect();
    let described = described.concat();
    let text = format!(
        r#"(component
  (import "sluice:plugin/lifecycle@0.1.0" (instance $lifecycle
    (type $access (record (field "read" (list string)) (field "write" (list string))))
    (export "access" (type $a (eq $access)))
    (type $description (record (field "name" string) (field "version" string) (field "capabilities" (list string))
      (field "access" $a) (field "traits" u32) (field "schema" u32)))
    (export "description" (type (eq $description)))
    (type $file (record (field "name" string) (field "path" string) (field "format" u32) (field "key" string)))
    (export "table-file" (type $f (eq $file)))
    (type $configured (record (field "access" $a) (field "files" (list $f))))
    (export "configured" (type (eq $configured)))
    (type $problem (record (field "path" string) (field "message" string)))
    (export "config-error" (type (eq $problem)))
    (type $failure (record (field "code" u32) (field "message" string)))
    (export "failure" (type (eq $failure)))))
  (alias export $lifecycle "description" (type $description))
  (alias export $lifecycle "configured" (type $configured))
  (alias export $lifecycle "config-error" (type $problem))
  (alias export $lifecycle "failure" (type $failure))
  (import "sluice:plugin/batches@0.1.0" (instance $batches
    (export "batch" (type $batch (sub resource)))
    (type $refused (record (field "code" u32) (field "message" string)))
    (export "refusal" (type $r (eq $refused)))
    (export "[method]batch.len"
      (func (param "self" (borrow $batch)) (param "table" u32) (result (result u32 (error $r)))))))
  (alias export $batches "batch" (type $batch))
  (import "sluice:plugin/log@0.1.0" (instance $logging
    (export "write" (func (param "level" u32) (param "message" string)))))
  (core module $memory (memory (export "memory") 272)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192)))
  (core instance $m (instantiate $memory))
  (alias core export $m "memory" (core memory $mem))
  (alias core export $m "realloc" (core func $realloc))
  (core func $drop (canon resource.drop $batch))
  (core func $len (canon lower (func $batches "[method]batch.len") (memory $mem) (realloc $realloc)))
  (core func $log (canon lower (func $logging "write") (memory $mem)))
  (core module $guest
    (import "" "memory" (memory 1))
    (import "" "drop" (func $drop (param i32)))
    (import "" "len" (func $len (param i32 i32 i32)))
    (import "" "log" (func $log (param i32 i32 i32)))
    (func (export "describe") (result i32) {described} (i32.const 1024))
    (func (export "configure") (param i32 i32) (result i32) (i32.const 2048))
    (func (export "process") (param $batch i32) (result i32)
      (call $len (local.get $batch) (i32.const 2) (i32.const 600))
      (if (i32.gt_u (i32.load (i32.const 604)) (i32.const 1)) (then {logs}))
      (call $drop (local.get $batch)) (i32.const 512))
    (func (export "flush") (param i64) (result i32) (i32.const 512))
    (func (export "snapshot") (result i32) (i32.const 512))
    (func (export "restore") (param i32 i32) (result i32) (i32.const 512))
    {texts})
  (core instance $g (instantiate $guest (with "" (instance (export "memory" (memory $mem))
    (export "drop" (func $drop)) (export "len" (func $len)) (export "log" (func $log))))))
  (func (export "describe") (result $description)
    (canon lift (core func $g "describe") (memory $mem) (realloc $realloc)))
  (func (export "configure") (param "config" string) (result (result $configured (error (list $problem))))
    (canon lift (core func $g "configure") (memory $mem) (realloc $realloc)))
  (func (export "process") (param "batch" (borrow $batch)) (result (result (error $failure)))
    (canon lift (core func $g "process") (memory $mem) (realloc $realloc)))
  (func (export "flush") (param "now-unix-nano" u64) (result (result (error $failure)))
    (canon lift (core func $g "flush") (memory $mem) (realloc $realloc)))
  (func (export "snapshot") (result (result (list u8) (error $failure)))
    (canon lift (core func $g "snapshot") (memory $mem) (realloc $realloc)))
  (func (export "restore") (param "snapshots" (list (list u8))) (result (result (error $failure)))
    (canon lift (core func $g "restore") (memory $mem) (realloc $realloc))))"#
    );
    wat::parse_str(text).expect("the component's text")
}

/// As WebAssembly keeps numbers in memory.
pub fn little_endian(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

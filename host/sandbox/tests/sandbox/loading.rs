//! What is no plugin is refused before it is compiled, and compiled code is kept safely.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use sluice_sandbox::{Compiler, Effects, Limits, LoadError, Options, Sandbox, Source, precompile};

use crate::guest::Guest;
use crate::stage::{batch, load_bytes, sandbox, settings};

fn refusal(bytes: &[u8]) -> String {
    match load_bytes(&sandbox(), bytes) {
        Err(LoadError::NotAPlugin { reason, .. }) => reason.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was loaded"),
    }
}

#[test]
fn what_is_no_plugin_is_refused_with_a_hint() {
    let script = refusal(b"#!/bin/sh\n");
    assert_eq!(script, "it is not a WebAssembly component: it does not begin with `\\0asm`");
    let core = refusal(&wat::parse_str("(module)").unwrap());
    assert!(core.contains("cargo xtask componentize"), "{core}");
    assert!(refusal(&wat::parse_str("(component)").unwrap()).starts_with("it does not export `describe`"));
    let mut cut = Guest::new().component();
    cut.truncate(cut.len() / 2);
    assert!(refusal(&cut).starts_with("it is not a WebAssembly component"));
}

#[test]
fn an_empty_file_is_no_plugin() {
    assert!(refusal(b"").starts_with("it is not a WebAssembly component"));
}

#[test]
fn another_version_of_the_contract_is_named() {
    let component = Guest::new().component_for(|text, _| text.replace("@0.1.0", "@0.2.0"));
    let reason = refusal(&component);
    assert!(reason.contains("sluice:plugin@0.2.0") && reason.contains("speaks 0.1.0"), "{reason}");
}

#[test]
fn an_import_that_nobody_provides_is_named() {
    let guest = Guest::new().module("(func $x)");
    let component = guest.component_for(|text, is_core| {
        if is_core {
            text.replacen("(memory", "(import \"sluice:plugin/sockets@0.1.0\" \"open\" (func $open)) (memory", 1)
        } else {
            text.replace("world processor {", "interface sockets { open: func(); }\nworld processor { import sockets;")
        }
    });
    assert_eq!(refusal(&component), "it imports `sluice:plugin/sockets@0.1.0`, which Sluice does not provide");
}

/// The contract's other world, which has no host yet, in place of `processor`.
#[test]
fn a_trace_policy_is_refused_by_name() {
    let component = Guest::new().component_for(|text, is_core| {
        if is_core {
            return text.replace("(export \"process\")", "(export \"decide\")");
        }
        text.replace("world processor {", "world other {").replace("world trace-policy {", "world processor {")
    });
    let reason = refusal(&component);
    assert!(reason.contains("of the world `trace-policy`") && reason.contains("world `processor`"), "{reason}");
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    // A hole: it takes no disk, and reading it would take minutes.
    file.as_file().set_len(1 << 40).unwrap();
    let error = sandbox().load(&Source::File(file.path().to_owned()), &Limits::default(), None).err().unwrap();
    assert!(matches!(error, LoadError::TooLarge { found, limit, .. } if found == 1 << 40 && limit == 16 << 20));
}

#[test]
fn a_folder_or_a_missing_file_is_an_error_with_its_path() {
    for path in ["/", "/nowhere.wasm"] {
        let error = sandbox().load(&Source::File(path.into()), &Limits::default(), None).err().unwrap();
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[test]
fn a_pinned_digest_must_match() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), Guest::new().component()).unwrap();
    let source = Source::File(file.path().to_owned());
    let digest = sandbox().load(&source, &Limits::default(), None).unwrap().digest().to_owned();
    assert!(sandbox().load(&source, &Limits::default(), Some(&digest.to_uppercase())).is_ok());
    let error = sandbox().load(&source, &Limits::default(), Some(&"0".repeat(64))).err().unwrap();
    assert!(matches!(error, LoadError::Digest { found, .. } if found == digest));
}

#[test]
fn embedded_code_is_loaded_and_compiled_anew_if_it_does_not_fit() {
    let component: &'static [u8] = Guest::new().component().leak();
    let precompiled: &'static [u8] = precompile(component).unwrap().leak();
    // Only what does not fit needs the compiler, which this sandbox has not.
    let mute = Sandbox::new(Options { cache_dir: None, compiler: Compiler::Child { exe: "/nowhere".into() } }).unwrap();
    let source = |precompiled| Source::Embedded { name: "guest", component, precompiled };
    for (sandbox, precompiled) in
        [(&mute, precompiled), (&sandbox(), b""), (&sandbox(), &precompiled[..precompiled.len() / 2])]
    {
        let module = sandbox.load(&source(precompiled), &Limits::default(), None).unwrap();
        let prepared = sandbox.prepare(&module, settings(Limits::default())).unwrap();
        prepared.instantiate().unwrap().process(&mut batch(1), &mut Effects::default()).unwrap();
    }
    assert!(mute.load(&source(b""), &Limits::default(), None).is_err());
}

/// A cache folder with one entry in it.
struct Kept {
    folder: tempfile::TempDir,
    plugin: tempfile::NamedTempFile,
}

impl Kept {
    fn new() -> Self {
        let kept = Self { folder: tempfile::tempdir().unwrap(), plugin: tempfile::NamedTempFile::new().unwrap() };
        fs::write(kept.plugin.path(), Guest::new().component()).unwrap();
        kept.load(Compiler::InProcess).unwrap();
        kept
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn load(&self, compiler: Compiler) -> Result<(), LoadError> {
        let sandbox = Sandbox::new(Options { cache_dir: Some(self.cache()), compiler }).unwrap();
        sandbox.load(&Source::File(self.plugin.path().to_owned()), &Limits::default(), None).map(drop)
    }

    /// Whether the plugin is loaded without a compiler.
    fn is_kept(&self) -> bool {
        self.load(Compiler::Child { exe: "/nowhere".into() }).is_ok()
    }

    fn entry(&self) -> PathBuf {
        fs::read_dir(self.cache()).unwrap().next().unwrap().unwrap().path()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn compiled_code_is_kept_in_a_private_folder() {
    let kept = Kept::new();
    assert!(kept.is_kept());
    assert_eq!((mode(&kept.cache()), mode(&kept.entry())), (0o700, 0o600));
}

#[test]
fn a_damaged_entry_is_compiled_anew() {
    let kept = Kept::new();
    let mut entry = fs::read(kept.entry()).unwrap();
    let middle = entry.len() / 2;
    entry[middle] ^= 1;
    for damaged in [entry.as_slice(), &entry[..20], b""] {
        fs::write(kept.entry(), damaged).unwrap();
        assert!(!kept.is_kept());
        kept.load(Compiler::InProcess).unwrap();
        assert!(kept.is_kept());
    }
}

#[test]
fn an_entry_under_another_plugins_name_is_not_run() {
    let kept = Kept::new();
    let present = kept.entry();
    fs::write(kept.plugin.path(), Guest::new().traits(1).component()).unwrap();
    kept.load(Compiler::InProcess).unwrap();
    let other =
        fs::read_dir(kept.cache()).unwrap().map(|entry| entry.unwrap().path()).find(|path| *path != present).unwrap();
    fs::copy(&present, &other).unwrap();
    assert!(!kept.is_kept());
}

#[test]
fn an_entry_of_another_engine_is_compiled_anew() {
    let kept = Kept::new();
    let component = fs::read(kept.plugin.path()).unwrap();
    let other = wasmtime::Engine::new(wasmtime::Config::new().cranelift_opt_level(wasmtime::OptLevel::None)).unwrap();
    let code = other.precompile_component(&component).unwrap();
    // Sealed as ours are: only the engine can tell.
    let digest = load_bytes(&sandbox(), &component).unwrap().digest().to_owned();
    for foreign in [code.as_slice(), b"neither code nor anything else"] {
        let seal = Sha256::new().chain_update(&digest).chain_update(foreign).finalize();
        fs::write(kept.entry(), [seal.as_slice(), foreign].concat()).unwrap();
        assert!(!kept.is_kept());
        kept.load(Compiler::InProcess).unwrap();
        assert!(kept.is_kept());
    }
}

#[test]
fn an_entry_that_another_user_owns_is_compiled_anew() {
    let kept = Kept::new();
    let nobody = 65534;
    if std::os::unix::fs::chown(kept.entry(), Some(nobody), None).is_err() {
        return println!("SKIPPED an entry of another user: only root can give a file away");
    }
    assert!(!kept.is_kept());
    kept.load(Compiler::InProcess).unwrap();
    assert!(kept.is_kept());
}

#[test]
fn a_folder_of_another_user_is_not_used() {
    let kept = Kept::new();
    let nobody = 65534;
    if std::os::unix::fs::chown(kept.cache(), Some(nobody), None).is_err() {
        return println!("SKIPPED a cache of another user: only root can give a folder away");
    }
    let options = Options { cache_dir: Some(kept.cache()), compiler: Compiler::InProcess };
    let refused = Sandbox::new(options).err().unwrap().to_string();
    assert!(refused.contains("belongs to another user"), "{refused}");
}

#[test]
fn a_folder_that_others_could_write_to_is_emptied_and_closed() {
    let kept = Kept::new();
    fs::set_permissions(kept.cache(), Permissions::from_mode(0o770)).unwrap();
    assert!(!kept.is_kept());
    assert_eq!(mode(&kept.cache()), 0o700);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = Options { cache_dir: Some(file.path().join("cache")), compiler: Compiler::InProcess };
    let error = Sandbox::new(options).err().unwrap().to_string();
    assert!(error.contains(&file.path().display().to_string()), "{error}");
}

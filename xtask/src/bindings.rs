//! Generates the guest's bindings from the contract.
//!
//! They are committed, because generating them in every guest costs 24 s of a clean build, and
//! checked for drift by `cargo xtask test`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::Opts;

const WIT: &str = "wit/0.1.0";
const WORLD: &str = "processor";
const OUT: &str = "sdk/src/bindings.rs";

const HEADER: &str = "\
// Generated from wit/0.1.0 by `cargo xtask bindings`. Do not edit.
#![allow(missing_docs, unsafe_op_in_unsafe_fn, unused_qualifications, clippy::all, clippy::pedantic, clippy::restriction)]
";

/// Writes the bindings, or with `check` fails if they differ from what would be written.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let text = generate(&root.join(WIT))?;
    let out = root.join(OUT);
    if !check {
        return fs::write(&out, text).with_context(|| format!("cannot write {}", out.display()));
    }
    let found = fs::read_to_string(&out).with_context(|| format!("cannot read {}", out.display()))?;
    if found != text {
        bail!("{OUT} does not fit {WIT}: run `cargo xtask bindings` and commit the result");
    }
    Ok(())
}

fn generate(wit: &Path) -> Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).with_context(|| format!("cannot read {}", wit.display()))?;
    let world = resolve.select_world(&[package], Some(WORLD))?;
    let options = Opts {
        runtime_path: Some("::sluice_sdk::__rt".to_owned()),
        pub_export_macro: true,
        export_macro_name: Some("export_processor".to_owned()),
        default_bindings_module: Some("::sluice_sdk::bindings".to_owned()),
        generate_all: true,
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let (_, text) = files.iter().next().context("the generator wrote nothing")?;
    Ok(format!("{HEADER}{}", String::from_utf8(text.to_vec())?))
}

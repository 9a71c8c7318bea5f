//! Writes what was measured into docs/benchmarks.md, between the marks of its part.

use std::fs;

use anyhow::{Context as _, Result};
use sluice_tests::process;

/// The page, in the workspace.
const PAGE: &str = "docs/benchmarks.md";

/// Replaces what the page says of `part` by `text`.
pub fn write(part: &str, text: &str) -> Result<()> {
    let path = process::workspace().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| PAGE)?;
    fs::write(&path, replaced(&page, part, text).with_context(|| format!("{PAGE} has no marks for `{part}`"))?)?;
    Ok(())
}

fn replaced(page: &str, part: &str, text: &str) -> Option<String> {
    let mark = format!("<!-- measured: {part} -->\n");
    let (before, rest) = page.split_once(&mark)?;
    let (_, after) = rest.split_once("<!-- end -->\n")?;
    Some(format!("{before}{mark}{text}<!-- end -->\n{after}"))
}

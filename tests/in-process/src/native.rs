//! The jobs in native Rust: no sandbox, no access checks, no limits.

use std::hint::black_box;

use anyhow::{Result, anyhow};
use memchr::memchr;
use sluice_sdk::Plugin;
use sluice_sdk::testing::{Running, Stage};
use sluice_spans::{Batch, Edits, Table as Rows, Texts, Values};
use sluice_state::Table;

use crate::rows::Job;

/// The value type of strings.
const STRING: u8 = 1;

/// The two-key job of `examples/bench/plugin`, written directly on the batch.
pub fn two_keys(mut batch: Batch) -> Result<Batch> {
    let paths = batch.attribute(Rows::Spans, b"url.path")?.values;
    let urls = batch.attribute(Rows::Spans, b"url.full")?.values;
    let (mut dropped, mut cut, mut short) = (Vec::new(), Vec::with_capacity(urls.len()), Texts::new());
    for row in 0..urls.len() {
        let is_text = |values: &Values| values.types.get(row) == Some(&STRING);
        if is_text(&paths) && paths.texts.get(row) == b"/health" {
            dropped.push(row as u32);
            continue;
        }
        let url = urls.texts.get(row);
        let Some(query) = memchr(b'?', url).filter(|_| is_text(&urls)) else { continue };
        cut.push(row as u32);
        short.push(url.get(..query).unwrap_or_default());
    }
    let mut edits = Edits::new();
    if !dropped.is_empty() {
        edits.drop_rows(&mut batch, Rows::Spans, &dropped)?;
    }
    if !cut.is_empty() {
        let values = Values { types: vec![STRING; cut.len()], numbers: Vec::new(), texts: short };
        edits.set_attribute(&mut batch, Rows::Spans, "url.full", &cut, values)?;
    }
    batch.commit(edits);
    Ok(batch)
}

/// Indexes every attribute of every span, and looks for a key that is nowhere.
pub fn index(mut batch: Batch) -> Result<Batch> {
    batch.attribute(Rows::Spans, b"absent")?;
    Ok(batch)
}

/// Indexes the fields of every span as well.
pub fn index_all(mut batch: Batch) -> Result<Batch> {
    black_box(batch.durations());
    index(batch)
}

/// A plugin's own code, compiled for this machine, through the SDK's native side.
pub fn plugin<P: Plugin + 'static>(config_json: &str) -> Result<Job> {
    let (mut running, _) = Running::<P>::new(config_json).map_err(|problem| anyhow!("{problem:?}"))?;
    Ok(Box::new(move |batch| {
        let (batch, _) = running.process(batch).map_err(|failure| anyhow!("{failure:?}"))?;
        Ok(batch)
    }))
}

/// The same for a plugin that looks things up.
pub fn plugin_with<P: Plugin + 'static>(config_json: &str, tables: Vec<(String, Table)>) -> Result<Job> {
    let mut stage = Stage::<P>::new(config_json).map_err(|problem| anyhow!("{problem:?}"))?;
    for (name, table) in tables {
        stage = stage.given(&name, table);
    }
    Ok(Box::new(move |batch| stage.process_batch(batch).map_err(|problem| anyhow!("{problem:?}"))))
}

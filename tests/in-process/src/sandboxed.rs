//! Plugins in the sandbox, as the collector has them: access checks, limits and the clock that
//! interrupts calls are on, everything at its default.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use sluice::series::{self, Aggregates};
use sluice_sandbox::{Compiler, Effects, Limits, Options, Sandbox, Settings, Source};
use sluice_state::{LiveTable, Table};

use crate::rows::Subject;

/// Makes instances of plugins.
pub struct Plugins {
    sandbox: Sandbox,
    bundle: PathBuf,
}

impl Plugins {
    /// `bundle` is the folder of the bundled plugins.
    pub fn new(bundle: PathBuf) -> Result<Self> {
        let sandbox = Sandbox::new(Options { cache_dir: None, compiler: Compiler::InProcess })?;
        Ok(Self { sandbox, bundle })
    }

    /// A bundled plugin, with the code that is embedded in the binary.
    pub fn bundled(&self, name: &'static str, config_json: &str, tables: Vec<(String, Table)>) -> Result<Subject> {
        let read = |extension| -> Result<&'static [u8]> {
            let path = self.bundle.join(name).with_extension(extension);
            Ok(std::fs::read(&path).with_context(|| path.display().to_string())?.leak())
        };
        let source = Source::Embedded { name, component: read("wasm")?, precompiled: read("cwasm")? };
        self.instance(&source, name, config_json, tables)
    }

    /// The benchmark's own plugin, compiled here as any plugin of a user is.
    pub fn own(&self, component: &Path, config_json: &str) -> Result<Subject> {
        self.instance(&Source::File(component.to_owned()), name(component), config_json, Vec::new())
    }

    fn instance(
        &self,
        source: &Source,
        plugin: &str,
        config_json: &str,
        tables: Vec<(String, Table)>,
    ) -> Result<Subject> {
        // What a connector counts is committed as well, as in the collector.
        let kept = series::Settings {
            limit: series::DEFAULT_LIMIT,
            expires: None,
            exemplars: series::DEFAULT_EXEMPLARS,
            bounds: Vec::new(),
            max_size: series::DEFAULT_MAX_SIZE,
        };
        let series = (plugin == "spanmetrics").then(|| Aggregates::default().of(plugin, config_json, &kept));
        let default = Limits::default();
        let limits =
            Limits { metric_series: if series.is_some() { u32::MAX } else { default.metric_series }, ..default };
        let module = self.sandbox.load(source, &limits, None)?;
        let settings = Settings {
            plugin: plugin.to_owned(),
            config_json: config_json.to_owned(),
            limits,
            access: None,
            capabilities: None,
            seed: None,
            tables: tables.into_iter().map(|(name, table)| (name, Arc::new(LiveTable::new(table)))).collect(),
            store_folder: None,
        };
        let mut instance = self.sandbox.prepare(&module, settings)?.instantiate()?;
        Ok(Box::new(move |mut batch| {
            let mut effects = Effects::default();
            instance.process(&mut batch, &mut effects)?;
            if let Some(series) = &series {
                series.commit(effects.metrics, Instant::now());
            }
            Ok(batch)
        }))
    }
}

fn name(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("plugin")
}

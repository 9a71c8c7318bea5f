//! `sluice plugin inspect`: looks at a plugin without running it on any span.

use std::path::PathBuf;
use std::process::ExitCode;

use sluice_sandbox::{Limits, Profile, Source, Trust};

use super::Inspection;
use crate::cli::{ConfigArgs, InspectArgs};
use crate::collector::{diagnostics, load, workshop_for_a_look};
use crate::config::{self, Config, Loaded};
use crate::generation::{Bundle, Unfit, Workshop, trust};
use crate::telemetry::logs;

/// Shows a plugin of the configuration, one of the binary, or one in a file, on stdout. 0 if it could be
/// shown, else 1 with the reason on stderr.
pub fn run(args: &InspectArgs, bundle: Bundle) -> ExitCode {
    logs::init();
    let Some(loaded) = configured(&args.config) else { return ExitCode::FAILURE };
    let shown = workshop_for_a_look(&loaded.config, bundle).and_then(|workshop| {
        let configured = loaded.config.processors.iter().find(|component| component.id.to_string() == args.target);
        let Some(component) = configured else { return Ok(Ok(module(&args.target, &loaded.config, &workshop)?)) };
        let prepared = workshop.prepared(component, &loaded.config);
        Ok(prepared
            .map(|prepared| Inspection::of_plugin(&args.target, component.settings.module.as_deref(), &prepared)))
    });
    match shown {
        Ok(Ok(inspection)) => super::print(&inspection, args.json),
        Ok(Err(unfit)) => refused(&loaded.config, *unfit),
        Err(error) => super::complain(&error),
    }
}

/// The configuration that is named; an empty one if none is.
fn configured(args: &ConfigArgs) -> Option<Loaded> {
    if args.is_given() {
        return load(args);
    }
    Some(Loaded { config: Config::default(), warnings: config::Diagnostics::default() })
}

fn refused(config: &Config, unfit: Unfit) -> ExitCode {
    config::print(&diagnostics(config, vec![unfit]));
    ExitCode::FAILURE
}

/// A module that is not configured: of the binary, or in a file.
fn module(target: &str, config: &Config, workshop: &Workshop) -> anyhow::Result<Inspection> {
    let source = match workshop.bundle.get(target) {
        Some(source) => source.clone(),
        None if PathBuf::from(target).exists() => Source::File(target.into()),
        None => anyhow::bail!(
            "there is no plugin `{target}`: name a processor of the configuration (--config), a bundled plugin, or the file of a module"
        ),
    };
    let (sandbox, limits) = (&workshop.sandbox, Limits::default());
    // What it imports of WASI is shown, rather than a reason not to look.
    let trust = Trust { profile: Profile::Compat, ..trust(None, config) };
    let module = sandbox.compile(sandbox.verify(&source, &limits, &trust)?, &limits)?;
    let description = sandbox.describe(&module, &limits)?;
    let file = if let Source::File(path) = &source { Some(path.as_path()) } else { None };
    Ok(Inspection::of_module(file, &module, &description))
}

//! What [`export!`](crate::export!) expands to.

use crate::config;
use crate::lifecycle::{ConfigError, Configured, Plugin};

/// Exports a plugin from this crate, which must be a `cdylib`. Does nothing off wasm.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use ::sluice_sdk::bindings;

            struct Component;

            ::std::thread_local! {
                static PLUGIN: ::std::cell::RefCell<Option<$plugin>> = const { ::std::cell::RefCell::new(None) };
            }

            impl bindings::Guest for Component {
                fn describe() -> bindings::Description {
                    ::sluice_sdk::export::wasm::describe::<$plugin>()
                }
                fn configure(config: String) -> Result<bindings::Configured, Vec<bindings::ConfigError>> {
                    ::sluice_sdk::export::wasm::configure(&PLUGIN, &config)
                }
                fn process(batch: &bindings::Batch) -> Result<(), bindings::Failure> {
                    ::sluice_sdk::export::wasm::process(&PLUGIN, batch)
                }
                fn flush(now_unix_nano: u64) -> Result<(), bindings::Failure> {
                    ::sluice_sdk::export::wasm::call(&PLUGIN, |plugin| plugin.flush(now_unix_nano))
                }
                fn snapshot() -> Result<Vec<u8>, bindings::Failure> {
                    ::sluice_sdk::export::wasm::call(&PLUGIN, |plugin| plugin.snapshot())
                }
                fn restore(snapshots: Vec<Vec<u8>>) -> Result<(), bindings::Failure> {
                    ::sluice_sdk::export::wasm::call(&PLUGIN, |plugin| plugin.restore(snapshots))
                }
            }

    bindings::export_processor!(Component with_types_in ::sluice_sdk::bindings);
        };
    };
}

/// Reads the configuration and lets the plugin judge it.
pub(crate) fn configure<P: Plugin>(json: &str) -> Result<Configured<P>, Vec<ConfigError>> {
    P::configure(config::read(json).map_err(|problem| vec![problem])?)
}

/// The guest's side.
#[cfg(target_family = "wasm")]
pub mod wasm {
    use std::cell::RefCell;
    use std::thread::LocalKey;

    use crate::batch::Batch;
    use crate::bindings;
    use crate::lifecycle::{Access, Failure, Plugin, TableFile};

    type Place<P> = LocalKey<RefCell<Option<P>>>;

    const REDACTOR: u32 = 1;

    impl From<Access> for bindings::Access {
        fn from(access: Access) -> Self {
            Self { read: access.read, write: access.write }
        }
    }

    impl From<TableFile> for bindings::TableFile {
        fn from(file: TableFile) -> Self {
            Self { name: file.name, path: file.path, format: file.format, key: file.key }
        }
    }

    impl From<Failure> for bindings::Failure {
        fn from(failure: Failure) -> Self {
            Self { code: failure.code, message: failure.message }
        }
    }

    /// `describe`.
    pub fn describe<P: Plugin>() -> bindings::Description {
        let said = P::describe();
        bindings::Description {
            name: said.name,
            version: said.version,
            capabilities: said.capabilities,
            access: said.access.into(),
            traits: if said.redactor { REDACTOR } else { 0 },
            schema: said.schema,
        }
    }

    /// `configure`.
    pub fn configure<P: Plugin>(
        place: &'static Place<P>,
        json: &str,
    ) -> Result<bindings::Configured, Vec<bindings::ConfigError>> {
        let configured = super::configure::<P>(json).map_err(|problems| {
            let problem =
                |problem: crate::ConfigError| bindings::ConfigError { path: problem.path, message: problem.message };
            problems.into_iter().map(problem).collect::<Vec<_>>()
        })?;
        place.set(Some(configured.plugin));
        Ok(bindings::Configured {
            access: configured.access.unwrap_or_else(|| P::describe().access).into(),
            files: configured.files.into_iter().map(Into::into).collect(),
        })
    }

    /// `process`.
    pub fn process<P: Plugin>(place: &'static Place<P>, batch: &bindings::Batch) -> Result<(), bindings::Failure> {
        call(place, |plugin| {
            let batch = Batch::new(batch);
            plugin.process(&batch)?;
            Ok(batch.push_pending()?)
        })
    }

    /// Any other export.
    pub fn call<P: Plugin, T>(
        place: &'static Place<P>,
        work: impl FnOnce(&mut P) -> Result<T, Failure>,
    ) -> Result<T, bindings::Failure> {
        place.with_borrow_mut(|plugin| match plugin {
            Some(plugin) => work(plugin).map_err(Into::into),
            None => Err(Failure::new("the plugin is not configured").into()),
        })
    }
}

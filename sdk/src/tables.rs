//! Look-up tables that the host keeps. A plugin that uses them declares the capability `tables`. Those that
//! the operator gives it by name it asks for in its access: `.read("tables:stations")`. A file that its own
//! configuration names it adds to what `configure` gives: [`Configured::file`](crate::Configured::file).
//!
//! A table is CSV, JSON lines, or a `MaxMind` database, whose keys are IP addresses and whose columns
//! are ways like `country.iso_code`, or `subdivisions.-1.iso_code` for the last of them. The host loads
//! the files once, and again when they change. Many keys are looked up at
//! once, because a call into the host costs as much as some keys. Within one call of the plugin a
//! table stays the same.
//!
//! ```
//! # use sluice_sdk::{Refusal, Texts, tables};
//! fn city(station: &str) -> Result<Option<String>, Refusal> {
//!     let found = tables::look_up("stations", "city", &Texts::one(station))?;
//!     Ok(found.str(0).map(str::to_owned))
//! }
//! ```

use crate::batch::Refusal;
use crate::columns::Texts;

/// The table that the host fills: the column `value` for names like `host.name`, `host.arch`, `os.type`,
/// `container.id`, `env.NAME` and `k8s.pod.label.KEY`.
pub const HOST: &str = "host";

/// What was found, an item for each key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    present: Vec<u8>,
    values: Texts,
}

impl Found {
    /// What was found for key `i`.
    pub fn str(&self, i: usize) -> Option<&str> {
        let present = self.present.get(i).is_some_and(|&present| present != 0);
        present.then(|| self.values.str(i))
    }

    /// How many keys there were.
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there were no keys.
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }
}

/// The values of one column for many keys.
///
/// # Errors
/// When the capability was not declared, the table is not there or was not asked for, it has no such
/// column, or there are more than 65,536 keys.
pub fn look_up(table: &str, column: &str, keys: &Texts) -> Result<Found, Refusal> {
    imp::look_up(table, column, keys)
}

#[cfg(target_family = "wasm")]
mod imp {
    use super::{Found, Refusal, Texts};
    use crate::bindings::sluice::plugin::tables;

    pub fn look_up(table: &str, column: &str, keys: &Texts) -> Result<Found, Refusal> {
        let found = tables::look_up(table, column, &keys.clone().into())?;
        Ok(Found { present: found.present, values: found.values.into() })
    }
}

#[cfg(not(target_family = "wasm"))]
mod imp {
    use super::{Found, Refusal, Texts};
    use crate::testing::environment;

    /// The refusal code of what is not granted.
    const DENIED: u32 = 1;

    pub fn look_up(table: &str, column: &str, keys: &Texts) -> Result<Found, Refusal> {
        environment::with("tables", |environment| {
            environment.grants.looks_up(table)?;
            let Some(table) = environment.tables.get(table) else {
                let message = format!("the test gives no table `{table}`");
                return Err(Refusal { code: DENIED, message });
            };
            let found = table.look_up(column, &keys.clone().into(), usize::MAX)?;
            Ok(Found { present: found.present, values: found.values.into() })
        })
    }
}

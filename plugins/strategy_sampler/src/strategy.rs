//! Which strategy a span has.

use std::collections::BTreeMap;

use sluice_sampling::Sampler;
use sluice_sdk::prelude::*;
use sluice_sdk::store::Bucket;
use sluice_sdk::{Refusal, Texts, fields};

/// Longer names of services are cut here: they are part of keys in the store, which have a limit.
pub(crate) const MAX_SERVICE_BYTES: usize = 512;

/// The attribute that names a service.
const SERVICE_NAME: &str = "service.name";

/// How a span is judged.
#[derive(Debug, Clone)]
pub(crate) enum Choice {
    /// By its trace's randomness.
    Sampled(Sampler),
    /// By how many traces of its service have been kept in the last second.
    Limited(Bucket),
}

/// The strategies of one service.
#[derive(Debug)]
pub(crate) struct Service {
    /// Of operations that are not named.
    pub(crate) otherwise: Choice,
    pub(crate) operations: BTreeMap<String, Choice>,
}

/// All strategies.
#[derive(Debug)]
pub(crate) struct Strategies {
    pub(crate) services: BTreeMap<String, Service>,
    /// Of services that are not named.
    pub(crate) default: Service,
}

/// What a batch tells about its spans' services and operations.
pub(crate) struct Names {
    /// The name of each resource's service; empty if it has none.
    services: Vec<String>,
    /// The resource of each span.
    resources: Vec<u32>,
    /// Operations, if a strategy asks for them.
    operations: Option<Texts>,
}

impl Strategies {
    /// Whether any strategy is for an operation.
    pub(crate) fn by_operation(&self) -> bool {
        self.services.values().chain([&self.default]).any(|service| !service.operations.is_empty())
    }

    /// The strategy of a span.
    pub(crate) fn of(&self, names: &Names, row: usize) -> &Choice {
        let service = self.services.get(names.service(row)).unwrap_or(&self.default);
        let operation = names.operations.as_ref().and_then(|operations| service.operations.get(operations.str(row)));
        operation.unwrap_or(&service.otherwise)
    }
}

impl Names {
    /// Pulls the columns.
    pub(crate) fn pull(batch: &Batch<'_>, operations: bool) -> Result<Self, Refusal> {
        let column = batch.attribute(Table::Resources, SERVICE_NAME)?.values;
        let services = (0..batch.len(Table::Resources)? as usize).map(|row| cut(column.str(row).unwrap_or_default()));
        let owners = batch.parents(Table::Scopes)?;
        let scopes = batch.parents(Table::Spans)?;
        let resource = |scope: u32| owners.get(scope as usize).copied().unwrap_or_default();
        Ok(Self {
            services: services.map(str::to_owned).collect(),
            resources: scopes.into_iter().map(resource).collect(),
            operations: operations.then(|| batch.texts(Table::Spans, fields::SPAN_NAME)).transpose()?,
        })
    }

    /// The service of a span.
    pub(crate) fn service(&self, row: usize) -> &str {
        let resource = self.resources.get(row).copied().unwrap_or_default();
        self.services.get(resource as usize).map_or("", String::as_str)
    }
}

fn cut(name: &str) -> &str {
    let mut end = name.len().min(MAX_SERVICE_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut("shop"), "shop");
        assert_eq!(cut(&"x".repeat(600)), "x".repeat(512));
        assert_eq!(cut(&format!("{}\u{e9}", "x".repeat(511))), "x".repeat(511));
    }
}

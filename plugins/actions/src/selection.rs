//! The spans that actions are for: `include` and `exclude`, the Collector's.

use std::cmp::Ordering;

use regex_lite::Regex;
use serde::de::IgnoredAny;
use sluice_sdk::prelude::*;
use sluice_sdk::{Refusal, fields, kind};

use crate::config::compile;
use crate::constant::Constant;
use crate::value;

/// The attribute that `services` are compared with.
const SERVICE_NAME: &str = "service.name";
/// What the Collector compares `services` with where a resource has no name.
const NO_SERVICE_NAME: &str = "<nil-service-name>";

/// The keys of `include` or `exclude`, the Collector's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchConfig {
    match_type: MatchType,
    /// How the Collector caches; there is no cache here.
    #[serde(default, rename = "regexp")]
    _regexp: Option<Cache>,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    span_names: Vec<String>,
    #[serde(default)]
    span_kinds: Vec<String>,
    #[serde(default)]
    attributes: Vec<AttributeConfig>,
    #[serde(default)]
    resources: Vec<AttributeConfig>,
    #[serde(default)]
    libraries: Vec<LibraryConfig>,
    // Of the Collector, for other signals.
    log_bodies: Option<IgnoredAny>,
    log_severity_texts: Option<IgnoredAny>,
    log_severity_number: Option<IgnoredAny>,
    metric_names: Option<IgnoredAny>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum MatchType {
    Strict,
    Regexp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cache {
    #[serde(default, rename = "cacheenabled")]
    _enabled: bool,
    #[serde(default, rename = "cachemaxnumentries")]
    _max_entries: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttributeConfig {
    key: String,
    value: Option<Constant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LibraryConfig {
    name: String,
    version: Option<String>,
}

/// Which spans actions are for.
#[derive(Default)]
pub struct Selection {
    include: Option<Properties>,
    exclude: Option<Properties>,
}

/// What a span must have, all of it.
#[derive(Default)]
struct Properties {
    services: Vec<Text>,
    names: Vec<Text>,
    kinds: Vec<Text>,
    attributes: Vec<Attribute>,
    resources: Vec<Attribute>,
    libraries: Vec<(Text, Option<Text>)>,
}

/// What a text must be.
enum Text {
    Is(String),
    Matches(Regex),
}

struct Attribute {
    key: String,
    value: Wanted,
}

/// What a value must be.
enum Wanted {
    Anything,
    Exactly(Values),
    Matching(Regex),
}

impl Text {
    fn new(how: MatchType, path: &str, text: String) -> Result<Self, ConfigError> {
        match how {
            MatchType::Strict => Ok(Self::Is(text)),
            MatchType::Regexp => compile(path, &text).map(Self::Matches),
        }
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Is(is) => is == text,
            Self::Matches(pattern) => pattern.is_match(text),
        }
    }
}

impl Attribute {
    fn new(how: MatchType, path: &str, config: AttributeConfig) -> Result<Self, ConfigError> {
        let AttributeConfig { key, value } = config;
        if key.is_empty() {
            return Err(ConfigError::new(format!("{path}.key"), "a key is needed"));
        }
        let path = format!("{path}.value");
        let value = match (how, value) {
            (_, None) => Wanted::Anything,
            (MatchType::Regexp, Some(value)) => {
                let message = "with `match_type: regexp` a value is a string: put it in quotes";
                let pattern = value.text().ok_or_else(|| ConfigError::new(path.as_str(), message))?;
                Wanted::Matching(compile(&path, pattern)?)
            }
            (MatchType::Strict, Some(value)) => Wanted::Exactly(value.read(&path)?),
        };
        Ok(Self { key, value })
    }

    fn fits(&self, values: &Values, row: usize) -> bool {
        let found = values.kind(row);
        found != kind::ABSENT
            && match &self.value {
                Wanted::Anything => true,
                Wanted::Matching(pattern) => value::text(values, row).is_some_and(|text| pattern.is_match(&text)),
                Wanted::Exactly(wanted) if found == kind::DOUBLE => {
                    let (number, other) = (f64::from_bits(wanted.bits(0)), f64::from_bits(values.bits(row)));
                    wanted.kind(0) == found && number.partial_cmp(&other) == Some(Ordering::Equal)
                }
                Wanted::Exactly(wanted) => {
                    wanted.kind(0) == found
                        && wanted.bits(0) == values.bits(row)
                        && wanted.texts.get(0) == values.texts.get(row)
                }
            }
    }
}

impl MatchConfig {
    fn read(self, path: &str) -> Result<Properties, ConfigError> {
        let other_signals = [
            ("log_bodies", &self.log_bodies),
            ("log_severity_texts", &self.log_severity_texts),
            ("log_severity_number", &self.log_severity_number),
            ("metric_names", &self.metric_names),
        ];
        if let Some((key, _)) = other_signals.iter().find(|(_, given)| given.is_some()) {
            return Err(ConfigError::new(format!("{path}.{key}"), format!("`{key}` is not for spans: leave it out")));
        }
        let how = self.match_type;
        let texts = |key: &str, texts: Vec<String>| {
            let text = |(i, text)| Text::new(how, &format!("{path}.{key}[{i}]"), text);
            texts.into_iter().enumerate().map(text).collect::<Result<Vec<_>, _>>()
        };
        let attributes = |key: &str, attributes: Vec<AttributeConfig>| {
            let attribute = |(i, config)| Attribute::new(how, &format!("{path}.{key}[{i}]"), config);
            attributes.into_iter().enumerate().map(attribute).collect::<Result<Vec<_>, _>>()
        };
        let library = |(i, config): (usize, LibraryConfig)| {
            let path = format!("{path}.libraries[{i}]");
            let name = Text::new(how, &format!("{path}.name"), config.name)?;
            let version = config.version.map(|version| Text::new(how, &format!("{path}.version"), version));
            Ok((name, version.transpose()?))
        };
        let properties = Properties {
            services: texts("services", self.services)?,
            names: texts("span_names", self.span_names)?,
            kinds: texts("span_kinds", self.span_kinds)?,
            attributes: attributes("attributes", self.attributes)?,
            resources: attributes("resources", self.resources)?,
            libraries: self.libraries.into_iter().enumerate().map(library).collect::<Result<_, _>>()?,
        };
        if properties.is_empty() {
            let message = "needs at least one of services, span_names, span_kinds, attributes, resources and libraries";
            return Err(ConfigError::new(path, message));
        }
        Ok(properties)
    }
}

impl Selection {
    /// Reads both keys.
    ///
    /// # Errors
    /// What is wrong with each.
    pub fn read(include: Option<MatchConfig>, exclude: Option<MatchConfig>) -> Result<Self, Vec<ConfigError>> {
        let mut problems = Vec::new();
        let mut read = |path: &str, config: Option<MatchConfig>| {
            config.and_then(|config| config.read(path).map_err(|problem| problems.push(problem)).ok())
        };
        let selection = Self { include: read("include", include), exclude: read("exclude", exclude) };
        if problems.is_empty() { Ok(selection) } else { Err(problems) }
    }

    /// Whether it is for some spans only.
    pub fn chooses(&self) -> bool {
        self.include.is_some() || self.exclude.is_some()
    }

    /// Adds what must be granted to tell them.
    #[must_use]
    pub fn access(&self, mut access: Access) -> Access {
        let mut grants: Vec<String> = Vec::new();
        for properties in self.include.iter().chain(&self.exclude) {
            let mut add = |needed: bool, grant: &str| grants.extend(needed.then(|| grant.to_owned()));
            add(!properties.services.is_empty(), "resources.attributes:service.name");
            add(!properties.names.is_empty(), "spans.name");
            add(!properties.libraries.is_empty(), "scopes.name");
            add(properties.libraries.iter().any(|(_, version)| version.is_some()), "scopes.version");
            for (table, attributes) in [("spans", &properties.attributes), ("resources", &properties.resources)] {
                grants.extend(attributes.iter().map(|attribute| format!("{table}.attributes:{}", attribute.key)));
            }
        }
        grants.sort_unstable();
        grants.dedup();
        for grant in grants {
            access = access.read(grant);
        }
        access
    }

    /// The spans that are included and not excluded, ascending.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn rows(&self, batch: &Batch<'_>) -> Result<Vec<u32>, Refusal> {
        let mut fit = vec![true; batch.len(Table::Spans)? as usize];
        if let Some(include) = &self.include {
            include.check(batch, &mut fit)?;
        }
        if let Some(exclude) = &self.exclude {
            let mut out = fit.clone();
            exclude.check(batch, &mut out)?;
            for (fits, out) in fit.iter_mut().zip(out) {
                *fits = *fits && !out;
            }
        }
        Ok((0..).zip(fit).filter_map(|(row, fits)| fits.then_some(row)).collect())
    }
}

impl Properties {
    fn is_empty(&self) -> bool {
        let Self { services, names, kinds, attributes, resources, libraries } = self;
        services.is_empty()
            && names.is_empty()
            && kinds.is_empty()
            && attributes.is_empty()
            && resources.is_empty()
            && libraries.is_empty()
    }

    /// Takes the mark from the spans that lack a property.
    fn check(&self, batch: &Batch<'_>, fit: &mut [bool]) -> Result<(), Refusal> {
        if !self.names.is_empty() {
            let names = batch.texts(Table::Spans, fields::SPAN_NAME)?;
            keep(fit, |row| any(&self.names, names.str(row)));
        }
        if !self.kinds.is_empty() {
            let kinds = batch.numbers(Table::Spans, fields::SPAN_KIND)?;
            keep(fit, |row| any(&self.kinds, kind_name(kinds.get(row).copied().unwrap_or_default())));
        }
        for attribute in &self.attributes {
            let values = batch.attribute(Table::Spans, &attribute.key)?.values;
            keep(fit, |row| attribute.fits(&values, row));
        }
        self.check_owners(batch, fit)
    }

    /// What is asked of a span's scope and resource is answered once for each of them.
    fn check_owners(&self, batch: &Batch<'_>, fit: &mut [bool]) -> Result<(), Refusal> {
        if self.libraries.is_empty() && self.services.is_empty() && self.resources.is_empty() {
            return Ok(());
        }
        let mut scopes = vec![true; batch.len(Table::Scopes)? as usize];
        if !self.libraries.is_empty() {
            let names = batch.texts(Table::Scopes, fields::SCOPE_NAME)?;
            for (name, _) in &self.libraries {
                keep(&mut scopes, |row| name.fits(names.str(row)));
            }
            let wanted: Vec<&Text> = self.libraries.iter().filter_map(|(_, version)| version.as_ref()).collect();
            if !wanted.is_empty() {
                let versions = batch.texts(Table::Scopes, fields::SCOPE_VERSION)?;
                keep(&mut scopes, |row| wanted.iter().all(|version| version.fits(versions.str(row))));
            }
        }
        if !self.services.is_empty() || !self.resources.is_empty() {
            let resources = self.resources(batch)?;
            let owners = batch.parents(Table::Scopes)?;
            keep(&mut scopes, |row| owned(&owners, &resources, row));
        }
        let owners = batch.parents(Table::Spans)?;
        keep(fit, |row| owned(&owners, &scopes, row));
        Ok(())
    }

    /// Which resources have what is asked of them.
    fn resources(&self, batch: &Batch<'_>) -> Result<Vec<bool>, Refusal> {
        let mut resources = vec![true; batch.len(Table::Resources)? as usize];
        if !self.services.is_empty() {
            let services = batch.attribute(Table::Resources, SERVICE_NAME)?.values;
            keep(&mut resources, |row| {
                let name = value::text(&services, row);
                any(&self.services, name.as_deref().unwrap_or(NO_SERVICE_NAME))
            });
        }
        for attribute in &self.resources {
            let values = batch.attribute(Table::Resources, &attribute.key)?.values;
            keep(&mut resources, |row| attribute.fits(&values, row));
        }
        Ok(resources)
    }
}

/// Asks about the rows that still fit.
fn keep(fit: &mut [bool], asked: impl Fn(usize) -> bool) {
    for (row, fits) in fit.iter_mut().enumerate() {
        *fits = *fits && asked(row);
    }
}

fn owned(owners: &[u32], fit: &[bool], row: usize) -> bool {
    owners.get(row).and_then(|&owner| fit.get(owner as usize)).copied().unwrap_or_default()
}

fn any(texts: &[Text], text: &str) -> bool {
    texts.iter().any(|wanted| wanted.fits(text))
}

/// The name of a kind in OTLP; empty if it has none.
fn kind_name(kind: u64) -> &'static str {
    match kind {
        0 => "SPAN_KIND_UNSPECIFIED",
        1 => "SPAN_KIND_INTERNAL",
        2 => "SPAN_KIND_SERVER",
        3 => "SPAN_KIND_CLIENT",
        4 => "SPAN_KIND_PRODUCER",
        5 => "SPAN_KIND_CONSUMER",
        _ => "",
    }
}

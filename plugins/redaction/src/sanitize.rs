//! The Collector's `url_sanitizer` and `db_sanitizer`: values of named attributes, and names of spans,
//! without what makes each of them different.

mod query;
mod url;

use std::cell::OnceCell;

use sluice_sdk::fields;
use sluice_sdk::prelude::*;

use query::Language;

/// `url_sanitizer`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Url {
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    attributes: Vec<String>,
    sanitize_span_name: Option<bool>,
}

/// `db_sanitizer`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Db {
    #[serde(default)]
    sql: OneDb,
    #[serde(default)]
    redis: OneDb,
    #[serde(default)]
    valkey: OneDb,
    #[serde(default)]
    memcached: OneDb,
    #[serde(default)]
    mongo: OneDb,
    #[serde(default)]
    opensearch: OneDb,
    #[serde(default)]
    es: OneDb,
    sanitize_span_name: Option<bool>,
    #[serde(default)]
    allow_fallback_without_system: bool,
}

/// One kind of database.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct OneDb {
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    attributes: Vec<String>,
}

/// Attributes of which each says that a span is about HTTP.
const HTTP: [&str; 9] = [
    "http.route",
    "http.request.method",
    "http.request.method_original",
    "http.response.status_code",
    "url.full",
    "http.scheme",
    "http.target",
    "http.method",
    "http.url",
];

/// Attributes that name the kind of database, the newer first.
const SYSTEM: [&str; 2] = ["db.system.name", "db.system"];

/// Kinds of spans.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// What is sanitized.
#[derive(Default)]
pub struct Sanitizers {
    /// Attributes that hold URLs.
    urls: Vec<String>,
    url_names: bool,
    /// Languages, the systems that speak them, and the attributes that hold their queries.
    languages: Vec<Speaker>,
    query_names: bool,
    without_system: bool,
}

struct Speaker {
    language: Language,
    systems: &'static [&'static str],
    attributes: Vec<String>,
}

impl Sanitizers {
    pub fn new(url: Option<Url>, db: Option<Db>) -> Self {
        let mut this = Self::default();
        if let Some(url) = url.filter(|url| url.enabled) {
            this.url_names = url.sanitize_span_name.unwrap_or(true);
            this.urls = url.attributes;
        }
        if let Some(db) = db {
            let mut speak = |one: &OneDb, language, systems| {
                if one.enabled {
                    this.languages.push(Speaker { language, systems, attributes: one.attributes.clone() });
                }
            };
            speak(&db.sql, Language::Sql, &["other_sql", "postgresql", "sqlite"]);
            speak(&db.sql, Language::MySql, &["mysql", "mariadb"]);
            speak(&db.redis, Language::Redis, &["redis"]);
            speak(&db.valkey, Language::Redis, &["valkey"]);
            speak(&db.memcached, Language::Memcached, &["memcached"]);
            speak(&db.mongo, Language::Json, &["mongodb"]);
            speak(&db.opensearch, Language::Json, &["opensearch"]);
            speak(&db.es, Language::Json, &["elasticsearch"]);
            this.query_names = !this.languages.is_empty() && db.sanitize_span_name.unwrap_or(true);
            this.without_system = db.allow_fallback_without_system;
        }
        this
    }

    pub fn any(&self) -> bool {
        self.look_at_attributes() || self.look_at_names()
    }

    pub fn look_at_attributes(&self) -> bool {
        !self.urls.is_empty() || self.languages.iter().any(|speaker| !speaker.attributes.is_empty())
    }

    pub fn look_at_names(&self) -> bool {
        self.url_names || self.query_names
    }

    /// Whether the values of a key are sanitized.
    pub fn name_attribute(&self, key: &str) -> bool {
        let mut attributes = self.urls.iter().chain(self.languages.iter().flat_map(|speaker| &speaker.attributes));
        attributes.any(|attribute| attribute == key)
    }

    fn speaker(&self, system: &str) -> Option<&Speaker> {
        self.languages.iter().find(|speaker| speaker.systems.contains(&system))
    }

    /// The value of an attribute without what is sanitized; `None` if that is nothing.
    pub fn attribute(&self, key: &str, value: &[u8], system: &str) -> Option<Vec<u8>> {
        let mut new = value.to_owned();
        if self.urls.iter().any(|url| url == key) {
            new = url::sanitized(&new);
        }
        let holds = |speaker: &&Speaker| speaker.attributes.iter().any(|attribute| attribute == key);
        if !system.is_empty() {
            if let Some(speaker) = self.speaker(system).filter(holds) {
                new = speaker.language.sanitized(&new);
            }
        } else if self.without_system {
            for speaker in self.languages.iter().filter(holds) {
                new = speaker.language.sanitized(&new);
            }
        }
        (new != value).then_some(new)
    }

    /// The name of a span without what is sanitized; `None` if that is nothing, or if nothing would be
    /// left.
    pub fn name(&self, columns: &Columns<'_, '_>, row: usize, name: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let kind = columns.kind(row)?;
        let is_path = || -> Result<bool, Failure> { Ok(name.contains(&b'/') || columns.is_http(row)?) };
        if self.url_names && matches!(kind, SERVER | CLIENT) && is_path()? {
            let new = url::sanitized(name);
            if new != name && !new.is_empty() && !url::is_only_ids(&new) {
                return Ok(Some(new));
            }
        }
        if self.query_names && matches!(kind, INTERNAL | SERVER | CLIENT) {
            let system = columns.system(Table::Spans, row)?;
            let new = self.speaker(&system).map(|speaker| speaker.language.sanitized(name));
            return Ok(new.filter(|new| new != name && !new.is_empty() && new != b"?"));
        }
        Ok(None)
    }
}

/// Columns of a batch that sanitizers need, each fetched when it is first asked for.
pub struct Columns<'a, 'b> {
    batch: &'a Batch<'b>,
    kinds: OnceCell<Vec<u64>>,
    http: OnceCell<Vec<bool>>,
    systems: [OnceCell<Vec<String>>; 5],
}

impl<'a, 'b> Columns<'a, 'b> {
    pub fn new(batch: &'a Batch<'b>) -> Self {
        Self { batch, kinds: OnceCell::new(), http: OnceCell::new(), systems: Default::default() }
    }

    fn kind(&self, row: usize) -> Result<u64, Failure> {
        let kinds = fetched(&self.kinds, || Ok(self.batch.numbers(Table::Spans, fields::SPAN_KIND)?))?;
        Ok(kinds.get(row).copied().unwrap_or_default())
    }

    fn is_http(&self, row: usize) -> Result<bool, Failure> {
        let http = fetched(&self.http, || {
            let mut http = vec![false; self.batch.len(Table::Spans)? as usize];
            for key in HTTP {
                let column = self.batch.attribute(Table::Spans, key)?;
                for (http, kind) in http.iter_mut().zip(column.values.types) {
                    *http |= kind != 0;
                }
            }
            Ok(http)
        })?;
        Ok(http.get(row).copied().unwrap_or_default())
    }

    /// The kind of database that a row of a table names, in lower case; empty if it names none.
    pub fn system(&self, table: Table, row: usize) -> Result<String, Failure> {
        let Some(cell) = self.systems.get(table as usize) else { return Ok(String::new()) };
        let systems = fetched(cell, || {
            let mut systems = vec![String::new(); self.batch.len(table)? as usize];
            for key in SYSTEM {
                let column = self.batch.attribute(table, key)?;
                for (i, system) in systems.iter_mut().enumerate().filter(|(_, system)| system.is_empty()) {
                    *system = column.values.str(i).unwrap_or_default().to_ascii_lowercase();
                }
            }
            Ok(systems)
        })?;
        Ok(systems.get(row).cloned().unwrap_or_default())
    }
}

/// `OnceCell::get_or_try_init`, which is not stable.
fn fetched<T>(cell: &OnceCell<T>, fetch: impl FnOnce() -> Result<T, Failure>) -> Result<&T, Failure> {
    if let Some(known) = cell.get() {
        return Ok(known);
    }
    let column = fetch()?;
    Ok(cell.get_or_init(|| column))
}

//! Access: which columns a plugin may pull and which it may edit.
//!
//! A grant is text, `spans.attributes:http.*`, in the grammar of the contract (`wit`,
//! `lifecycle.access`). What a plugin has is what all of three lists grant: what it described,
//! what it asked for with this configuration, and what the operator allows.

mod granted;

use sluice_spans::{Field, Table};

/// Grants to read and to write, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// What may be pulled.
    pub read: Vec<String>,
    /// What may be edited.
    pub write: Vec<String>,
}

/// A grant that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no grant: write `TABLE.attributes:KEY`, `TABLE.attributes:PREFIX*`, `TABLE.FIELD`, `TABLE.*` or `*`, where TABLE is resources, scopes, spans, events or links; or `tables:NAME`"
)]
pub struct BadGrant(pub String);

const TABLES: [&str; 5] = ["resources", "scopes", "spans", "events", "links"];

/// What a grant of a look-up table begins with.
const LOOK_UP: &str = "tables:";

const RESOURCES: u8 = 1;
const SCOPES: u8 = 1 << 1;
const SPANS: u8 = 1 << 2;
const EVENTS: u8 = 1 << 3;
const LINKS: u8 = 1 << 4;

/// The fields that need a grant, by their names in grants, and the tables that have them; a field's
/// place is its bit.
const FIELDS: [(&str, u8); 14] = [
    ("name", SCOPES | SPANS | EVENTS),
    ("trace_state", SPANS | LINKS),
    ("status_message", SPANS),
    ("ids", SPANS | LINKS),
    ("version", SCOPES),
    ("schema_url", RESOURCES | SCOPES),
    ("drop", SPANS | EVENTS | LINKS),
    ("status_code", SPANS),
    ("kind", SPANS),
    ("times", SPANS | EVENTS),
    ("flags", SPANS | LINKS),
    ("dropped_counts", RESOURCES | SCOPES | SPANS | EVENTS | LINKS),
    ("overridden", RESOURCES | SCOPES | SPANS | EVENTS | LINKS),
    ("unknown", RESOURCES | SCOPES | SPANS | EVENTS | LINKS),
];

/// Fields as bits of [`FIELDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bit(u32);

impl Bit {
    pub(crate) const IDS: Self = Self(3);
    pub(crate) const DROP: Self = Self(6);
    pub(crate) const OVERRIDDEN: Self = Self(12);
    pub(crate) const UNKNOWN: Self = Self(13);

    /// The bit of a text field.
    pub(crate) fn of_text(table: Table, field: Field) -> Option<Self> {
        Some(Self(match (table, field) {
            (Table::Spans, 5) | (Table::Events, 2) | (Table::Scopes, 1) => 0,
            (Table::Spans | Table::Links, 3) => 1,
            (Table::Spans, 1502) => 2,
            (Table::Scopes, 2) => 4,
            (Table::Scopes | Table::Resources, 1003) => 5,
            _ => return None,
        }))
    }

    /// The bit of a numeric field, which matters for writing only.
    pub(crate) fn of_number(table: Table, field: Field) -> Option<Self> {
        Some(Self(match (table, field) {
            (Table::Spans, 1503) => 7,
            (Table::Spans, 6) => 8,
            (Table::Spans, 7 | 8) | (Table::Events, 1) => 9,
            (Table::Spans, 16) | (Table::Links, 6) => 10,
            (Table::Resources, 2)
            | (Table::Scopes | Table::Events, 4)
            | (Table::Spans, 10 | 12 | 14)
            | (Table::Links, 5) => 11,
            _ => return None,
        }))
    }

    pub(crate) fn name(self) -> &'static str {
        FIELDS.get(self.0 as usize).map(|(name, _)| *name).unwrap_or_default()
    }
}

/// One list of grants, parsed.
#[derive(Debug, Clone, Default)]
struct Side {
    /// Those of the batch, and last the look-up tables, whose names stand as keys do.
    tables: [TableGrants; 6],
}

#[derive(Debug, Clone, Default)]
struct TableGrants {
    fields: u32,
    /// Key, and whether it is a prefix.
    attributes: Vec<(Vec<u8>, bool)>,
    all_attributes: bool,
}

/// What several lists grant in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants {
    read: Vec<Side>,
    write: Vec<Side>,
}

impl Side {
    fn parse(grants: &[String]) -> Result<Self, BadGrant> {
        let mut side = Self::default();
        for grant in grants {
            side.add(grant).ok_or_else(|| BadGrant(grant.clone()))?;
        }
        Ok(side)
    }

    fn add(&mut self, grant: &str) -> Option<()> {
        if grant == "*" {
            self.tables.iter_mut().for_each(TableGrants::all);
            return Some(());
        }
        if let Some(name) = grant.strip_prefix(LOOK_UP) {
            let [.., look_up] = &mut self.tables;
            look_up.add_key(name);
            return Some(());
        }
        let (table, rest) = grant.split_once('.')?;
        let number = TABLES.iter().position(|name| *name == table)?;
        let table = self.tables.get_mut(number)?;
        if rest == "*" {
            table.all();
        } else if let Some(key) = rest.strip_prefix("attributes:") {
            table.add_key(key);
        } else {
            let bit = FIELDS.iter().position(|(name, tables)| *name == rest && tables & (1 << number) != 0)?;
            table.fields |= 1 << bit;
        }
        Some(())
    }

    fn table(&self, table: Table) -> &TableGrants {
        let [resources, scopes, spans, events, links, _] = &self.tables;
        match table {
            Table::Resources => resources,
            Table::Scopes => scopes,
            Table::Spans => spans,
            Table::Events => events,
            Table::Links => links,
        }
    }
}

impl TableGrants {
    fn all(&mut self) {
        self.fields = u32::MAX;
        self.all_attributes = true;
    }

    fn add_key(&mut self, key: &str) {
        match key.strip_suffix('*') {
            Some("") => self.all_attributes = true,
            Some(prefix) => self.attributes.push((prefix.as_bytes().to_vec(), true)),
            None => self.attributes.push((key.as_bytes().to_vec(), false)),
        }
    }

    fn attribute(&self, key: &[u8]) -> bool {
        let fits =
            |(grant, prefix): &(Vec<u8>, bool)| if *prefix { key.starts_with(grant) } else { key == grant.as_slice() };
        self.all_attributes || self.attributes.iter().any(fits)
    }

    /// Whether everything that `other` grants is granted here.
    fn covers(&self, other: &Self) -> bool {
        let fits = |(key, prefix): &(Vec<u8>, bool)| {
            self.attributes
                .iter()
                .any(|(mine, wide)| if *wide { key.starts_with(mine) } else { !prefix && key == mine })
        };
        let attributes = self.all_attributes || !other.all_attributes && other.attributes.iter().all(fits);
        attributes && other.fields & !self.fields == 0
    }
}

impl Grants {
    /// Adds a list; from now on only what it grants, too, is granted.
    pub(crate) fn narrow(&mut self, access: &Access) -> Result<(), BadGrant> {
        self.read.push(Side::parse(&access.read)?);
        self.write.push(Side::parse(&access.write)?);
        Ok(())
    }

    pub(crate) fn reads_attribute(&self, table: Table, key: &[u8]) -> bool {
        attribute(&self.read, table, key)
    }

    pub(crate) fn writes_attribute(&self, table: Table, key: &[u8]) -> bool {
        attribute(&self.write, table, key)
    }

    /// Whether every attribute of the table may be read, so that none needs a look.
    pub(crate) fn reads_all_attributes(&self, table: Table) -> bool {
        !self.read.is_empty() && self.read.iter().all(|side| side.table(table).all_attributes)
    }

    pub(crate) fn writes_all_attributes(&self, table: Table) -> bool {
        !self.write.is_empty() && self.write.iter().all(|side| side.table(table).all_attributes)
    }

    /// Whether a look-up table may be asked.
    pub(crate) fn looks_up(&self, name: &str) -> bool {
        let granted = |Side { tables: [.., look_up] }: &Side| look_up.attribute(name.as_bytes());
        !self.read.is_empty() && self.read.iter().all(granted)
    }

    pub(crate) fn reads(&self, table: Table, bit: Bit) -> bool {
        field(&self.read, table, bit)
    }

    pub(crate) fn writes(&self, table: Table, bit: Bit) -> bool {
        field(&self.write, table, bit)
    }
}

impl sluice_spans::Readable for Grants {
    fn all_attributes(&self, table: Table) -> bool {
        self.reads_all_attributes(table)
    }

    fn attribute(&self, table: Table, key: &[u8]) -> bool {
        self.reads_attribute(table, key)
    }

    fn text(&self, table: Table, field: Field) -> bool {
        Bit::of_text(table, field).is_some_and(|bit| self.reads(table, bit))
    }
}

fn attribute(sides: &[Side], table: Table, key: &[u8]) -> bool {
    !sides.is_empty() && sides.iter().all(|side| side.table(table).attribute(key))
}

fn field(sides: &[Side], table: Table, bit: Bit) -> bool {
    !sides.is_empty() && sides.iter().all(|side| side.table(table).fields & (1 << bit.0) != 0)
}

/// The look-up tables that a list asks for by their names.
pub(crate) fn named_tables(access: &Access) -> impl Iterator<Item = &str> {
    access.read.iter().filter_map(|grant| grant.strip_prefix(LOOK_UP)).filter(|name| !name.ends_with('*'))
}

/// The grants in `asked` that `described` does not cover.
pub(crate) fn beyond(described: &Access, asked: &Access) -> Result<Vec<String>, BadGrant> {
    let mut beyond = Vec::new();
    for (bound, asked) in [(&described.read, &asked.read), (&described.write, &asked.write)] {
        let bound = Side::parse(bound)?;
        for grant in asked {
            let one = Side::parse(std::slice::from_ref(grant))?;
            if !bound.tables.iter().zip(&one.tables).all(|(bound, one)| bound.covers(one)) {
                beyond.push(grant.clone());
            }
        }
    }
    Ok(beyond)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn access(read: &[&str]) -> Access {
        Access { read: read.iter().map(ToString::to_string).collect(), write: Vec::new() }
    }

    #[test]
    fn only_what_every_list_grants_is_granted() {
        let mut grants = Grants::default();
        assert!(!grants.reads_attribute(Table::Spans, b"a"), "no list grants nothing");
        grants.narrow(&access(&["spans.attributes:http.*", "spans.name"])).unwrap();
        grants.narrow(&access(&["spans.attributes:http.route", "spans.*"])).unwrap();
        assert!(grants.reads_attribute(Table::Spans, b"http.route"));
        assert!(grants.reads_attribute(Table::Spans, b"http.method"), "spans.* grants every attribute");
        assert!(!grants.reads_attribute(Table::Spans, b"user.email"));
        assert!(!grants.reads_attribute(Table::Resources, b"http.route"));
        assert!(grants.reads(Table::Spans, Bit(0)));
        assert!(!grants.reads(Table::Spans, Bit::IDS));
        assert!(!grants.writes_attribute(Table::Spans, b"http.route"));
    }

    #[test]
    fn asking_for_more_than_was_described_is_found() {
        let described = access(&["spans.attributes:http.*", "events.name"]);
        let asked = access(&["spans.attributes:http.route", "spans.attributes:ht*", "events.name", "spans.name", "*"]);
        let beyond = beyond(&described, &asked).unwrap();
        assert_eq!(beyond, ["spans.attributes:ht*", "spans.name", "*"]);
    }

    #[test]
    fn look_up_tables_are_granted_by_name() {
        let mut grants = Grants::default();
        assert!(!grants.looks_up("a"));
        let asked = access(&["tables:stations", "tables:geo_*", "spans.*"]);
        grants.narrow(&asked).unwrap();
        let names = ["stations", "geo_city", "geo", "station"];
        assert_eq!(names.map(|name| grants.looks_up(name)), [true, true, false, false]);
        assert_eq!(named_tables(&asked).collect::<Vec<_>>(), ["stations"]);
        grants.narrow(&access(&["*"])).unwrap();
        assert!(grants.looks_up("stations"), "* grants all");
        grants.narrow(&access(&["spans.*", "resources.*"])).unwrap();
        assert!(!grants.looks_up("stations"));
        assert_eq!(beyond(&access(&["tables:geo_*"]), &asked).unwrap(), ["tables:stations", "spans.*"]);
    }

    #[test]
    fn text_that_is_no_grant_is_refused_by_name() {
        for bad in [
            "",
            "spans",
            "span.name",
            "spans.names",
            "spans.attributes",
            "spans.attributes.x",
            "resources.name",
            "events.ids",
        ] {
            let error = Grants::default().narrow(&access(&[bad])).unwrap_err();
            assert_eq!(error, BadGrant(bad.to_owned()));
        }
    }
}

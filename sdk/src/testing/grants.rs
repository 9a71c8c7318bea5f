//! What a plugin may touch in a test: what it asked for, as the host would enforce it.

use crate::batch::{Refusal, Table, fields};
use crate::lifecycle::Access;

/// The refusal code of what is not granted.
const DENIED: u32 = 1;

/// The grants of one configuration.
#[derive(Debug, Clone)]
pub(crate) struct Grants(Access);

/// Whether a grant covers something that is named like one: `spans.attributes:http.route`,
/// `spans.name`.
fn covers(grant: &str, wanted: &str) -> bool {
    if grant == "*" || grant == wanted {
        return true;
    }
    if grant.contains(".attributes:") || grant.starts_with("tables:") {
        return grant.strip_suffix('*').is_some_and(|prefix| wanted.starts_with(prefix));
    }
    let table = wanted.split_once('.').map(|(table, _)| table);
    grant.strip_suffix(".*").is_some_and(|granted| Some(granted) == table)
}

fn check(grants: &[String], wanted: &str, doing: &str) -> Result<(), Refusal> {
    if grants.iter().any(|grant| covers(grant, wanted)) {
        return Ok(());
    }
    let message = format!("{doing} `{wanted}` is denied: the plugin did not ask for it");
    Err(Refusal { code: DENIED, message })
}

fn name(table: Table) -> &'static str {
    match table {
        Table::Resources => "resources",
        Table::Scopes => "scopes",
        Table::Spans => "spans",
        Table::Events => "events",
        Table::Links => "links",
    }
}

/// The name of a text field in grants. What has none does not exist, which the batch says better.
fn text(table: Table, field: u32) -> Option<&'static str> {
    Some(match (table, field) {
        (Table::Spans, fields::SPAN_NAME)
        | (Table::Events, fields::EVENT_NAME)
        | (Table::Scopes, fields::SCOPE_NAME) => "name",
        (Table::Spans | Table::Links, fields::TRACE_STATE) => "trace_state",
        (Table::Spans, fields::STATUS_MESSAGE) => "status_message",
        (Table::Scopes, fields::SCOPE_VERSION) => "version",
        (Table::Scopes | Table::Resources, fields::SCHEMA_URL) => "schema_url",
        _ => return None,
    })
}

/// The name of a numeric field in grants to write.
fn number(table: Table, field: u32) -> Option<&'static str> {
    Some(match (table, field) {
        (Table::Spans, fields::STATUS_CODE) => "status_code",
        (Table::Spans, fields::SPAN_KIND) => "kind",
        (Table::Spans, fields::START_TIME_UNIX_NANO | fields::END_TIME_UNIX_NANO) | (Table::Events, 1) => "times",
        (Table::Spans, 16) | (Table::Links, 6) => "flags",
        (Table::Resources, 2)
        | (Table::Scopes | Table::Events, 4)
        | (Table::Spans, 10 | 12 | 14)
        | (Table::Links, 5) => "dropped_counts",
        _ => return None,
    })
}

impl Grants {
    /// The grants of a configuration; all must lie within what was described.
    pub(crate) fn new(described: &Access, asked: &Access) -> Result<Self, Refusal> {
        for (bound, asked) in [(&described.read, &asked.read), (&described.write, &asked.write)] {
            for grant in asked {
                let wide = grant.strip_suffix('*').unwrap_or(grant);
                let within =
                    |bound: &String| covers(bound, wide) && (wide.len() == grant.len() || bound.ends_with('*'));
                if !bound.iter().any(within) {
                    let message = format!("`{grant}` is more than what the plugin describes");
                    return Err(Refusal { code: DENIED, message });
                }
            }
        }
        Ok(Self(asked.clone()))
    }

    /// Adds a grant to read that needs not be described.
    pub(crate) fn add(&mut self, grant: &str) {
        self.0.read.push(grant.to_owned());
    }

    pub(crate) fn reads(&self, table: Table, what: &str) -> Result<(), Refusal> {
        check(&self.0.read, &format!("{}.{what}", name(table)), "reading")
    }

    pub(crate) fn writes(&self, table: Table, what: &str) -> Result<(), Refusal> {
        check(&self.0.write, &format!("{}.{what}", name(table)), "writing")
    }

    pub(crate) fn reads_attribute(&self, table: Table, key: &str) -> Result<(), Refusal> {
        self.reads(table, &format!("attributes:{key}"))
    }

    pub(crate) fn writes_attribute(&self, table: Table, key: &str) -> Result<(), Refusal> {
        self.writes(table, &format!("attributes:{key}"))
    }

    pub(crate) fn looks_up(&self, name: &str) -> Result<(), Refusal> {
        check(&self.0.read, &format!("tables:{name}"), "reading")
    }

    pub(crate) fn reads_text(&self, table: Table, field: u32) -> Result<(), Refusal> {
        text(table, field).map_or(Ok(()), |name| self.reads(table, name))
    }

    pub(crate) fn writes_text(&self, table: Table, field: u32) -> Result<(), Refusal> {
        text(table, field).map_or(Ok(()), |name| self.writes(table, name))
    }

    pub(crate) fn writes_number(&self, table: Table, field: u32) -> Result<(), Refusal> {
        number(table, field).map_or(Ok(()), |name| self.writes(table, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_cover_what_the_contract_says() {
        for (grant, wanted) in [
            ("*", "links.drop"),
            ("spans.*", "spans.attributes:x"),
            ("spans.name", "spans.name"),
            ("spans.attributes:*", "spans.attributes:x"),
            ("spans.attributes:http.*", "spans.attributes:http.route"),
            ("tables:*", "tables:x"),
            ("tables:geo_*", "tables:geo_city"),
        ] {
            assert!(covers(grant, wanted), "{grant} covers {wanted}");
        }
        for (grant, wanted) in [
            ("spans.*", "events.name"),
            ("spans.name", "spans.names"),
            ("spans.attributes:*", "spans.name"),
            ("spans.attributes:http.*", "spans.attributes:http"),
            ("resources.attributes:x", "spans.attributes:x"),
            ("tables:x", "tables:xy"),
            ("spans.*", "tables:x"),
        ] {
            assert!(!covers(grant, wanted), "{grant} does not cover {wanted}");
        }
    }

    #[test]
    fn a_configuration_cannot_ask_for_more_than_was_described() {
        let described = Access::default().read("spans.attributes:http.*").read("events.*");
        let within =
            Access::default().read("spans.attributes:http.route").read("spans.attributes:http.a*").read("events.name");
        assert!(Grants::new(&described, &within).is_ok());
        for grant in ["spans.attributes:*", "spans.attributes:ht*", "spans.name", "*", "spans.*"] {
            assert!(Grants::new(&described, &Access::default().read(grant)).is_err(), "{grant}");
        }
        assert!(Grants::new(&described, &Access::default().write("events.name")).is_err());
    }
}

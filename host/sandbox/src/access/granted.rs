//! What several lists grant in common, written as a list.

use super::{Access, FIELDS, Grants, LOOK_UP, Side, TABLES, TableGrants};

impl Grants {
    /// What is granted, in the grammar of grants.
    pub(crate) fn granted(&self) -> Access {
        Access { read: common(&self.read), write: common(&self.write) }
    }
}

/// No list grants nothing.
fn common(sides: &[Side]) -> Vec<String> {
    let Some((first, more)) = sides.split_first() else { return Vec::new() };
    let mut common = first.clone();
    for side in more {
        for (table, other) in common.tables.iter_mut().zip(&side.tables) {
            *table = table.and(other);
        }
    }
    if common.tables.iter().all(TableGrants::is_all) {
        return vec!["*".to_owned()];
    }
    let mut grants = Vec::new();
    for (number, name) in TABLES.iter().enumerate() {
        if let Some(table) = common.tables.get(number) {
            table.write(&format!("{name}."), "attributes:", 1 << number, &mut grants);
        }
    }
    let [.., look_up] = &common.tables;
    look_up.write(LOOK_UP, "", 0, &mut grants);
    grants
}

impl TableGrants {
    fn is_all(&self) -> bool {
        self.all_attributes && self.fields == u32::MAX
    }

    fn and(&self, other: &Self) -> Self {
        let attributes = match (self.all_attributes, other.all_attributes) {
            (true, _) => other.attributes.clone(),
            (_, true) => self.attributes.clone(),
            _ => {
                let pairs = self.attributes.iter().flat_map(|mine| other.attributes.iter().map(move |its| (mine, its)));
                let mut both: Vec<_> = pairs.filter_map(|(mine, its)| narrower(mine, its)).collect();
                both.sort();
                both.dedup();
                both
            }
        };
        Self {
            fields: self.fields & other.fields,
            attributes,
            all_attributes: self.all_attributes && other.all_attributes,
        }
    }

    /// Writes the grants of a table whose bit in [`FIELDS`] is `bit`.
    fn write(&self, table: &str, attribute: &str, bit: u8, grants: &mut Vec<String>) {
        if bit != 0 && self.is_all() {
            return grants.push(format!("{table}*"));
        }
        let fields = FIELDS
            .iter()
            .enumerate()
            .filter(|(place, (_, tables))| tables & bit != 0 && self.fields & (1 << place) != 0);
        grants.extend(fields.map(|(_, (name, _))| format!("{table}{name}")));
        if self.all_attributes {
            return grants.push(format!("{table}{attribute}*"));
        }
        for (key, is_prefix) in &self.attributes {
            let star = if *is_prefix { "*" } else { "" };
            grants.push(format!("{table}{attribute}{}{star}", String::from_utf8_lossy(key)));
        }
    }
}

/// A key, and whether it is a prefix.
type Pattern = (Vec<u8>, bool);

/// What both patterns fit: one of them, or nothing.
fn narrower(one: &Pattern, other: &Pattern) -> Option<Pattern> {
    let within = |(key, prefix): &Pattern, (wide, is_wide): &Pattern| {
        if *is_wide { key.starts_with(wide) } else { !prefix && key == wide }
    };
    if within(one, other) {
        return Some(one.clone());
    }
    within(other, one).then(|| other.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn granted(lists: &[&[&str]]) -> Vec<String> {
        let mut grants = Grants::default();
        for list in lists {
            let read = list.iter().map(ToString::to_string).collect();
            grants.narrow(&Access { read, write: Vec::new() }).unwrap();
        }
        grants.granted().read
    }

    #[test]
    fn what_all_lists_grant_is_written_once() {
        assert_eq!(granted(&[]), [""; 0]);
        assert_eq!(granted(&[&["*"], &["*"]]), ["*"]);
        assert_eq!(granted(&[&["*"], &["spans.*", "tables:geo_*"]]), ["spans.*", "tables:geo_*"]);
        assert_eq!(
            granted(&[&["spans.*", "events.name"], &["spans.attributes:http.*", "spans.ids", "events.name"]]),
            ["spans.ids", "spans.attributes:http.*", "events.name"]
        );
        let narrow = ["spans.attributes:http.route", "spans.attributes:user.*", "spans.attributes:ur*"];
        let wide =
            ["spans.attributes:http.*", "spans.attributes:user.id", "spans.attributes:uri", "spans.attributes:http.r*"];
        let both = ["spans.attributes:http.route", "spans.attributes:uri", "spans.attributes:user.id"];
        assert_eq!(granted(&[&narrow, &wide]), both);
        assert_eq!(granted(&[&["tables:a", "tables:b"], &["tables:b", "spans.name"]]), ["tables:b"]);
        assert_eq!(granted(&[&["resources.*"], &["*"], &["resources.attributes:*"]]), ["resources.attributes:*"]);
    }

    /// Whatever is written grants exactly what the lists grant together.
    #[test]
    fn what_is_written_grants_the_same() {
        let lists: [&[&str]; 6] = [
            &["*"],
            &["spans.attributes:a*", "scopes.name"],
            &["spans.attributes:ab", "spans.attributes:b*", "spans.drop"],
            &["spans.*"],
            &["spans.attributes:*", "tables:*"],
            &["tables:a", "links.ids"],
        ];
        for one in lists {
            for other in lists {
                let written = granted(&[one, other]);
                let mut expected = Grants::default();
                let mut found = Grants::default();
                let access = |list: Vec<String>| Access { read: list, write: Vec::new() };
                for list in [one, other] {
                    expected.narrow(&access(list.iter().map(ToString::to_string).collect())).unwrap();
                }
                found.narrow(&access(written.clone())).unwrap();
                for key in ["a", "ab", "abc", "b", "bc", "c"] {
                    for table in [sluice_spans::Table::Spans, sluice_spans::Table::Links] {
                        let same = |grants: &Grants| grants.reads_attribute(table, key.as_bytes());
                        assert_eq!(same(&expected), same(&found), "{one:?} and {other:?}: {written:?}, {key}");
                    }
                    assert_eq!(expected.looks_up(key), found.looks_up(key), "{one:?} and {other:?}: {written:?}");
                }
            }
        }
    }
}

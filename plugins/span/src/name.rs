//! Names out of attributes, and attributes out of names.

use std::collections::BTreeMap;

use regex_lite::Regex;
use sluice_sdk::{Values, kind, number};

/// A name that is made of attributes.
#[derive(Debug)]
pub(crate) struct FromAttributes {
    pub(crate) keys: Vec<String>,
    /// Stands between two values.
    pub(crate) separator: String,
}

/// Attributes that are found in names.
#[derive(Debug)]
pub(crate) struct ToAttributes {
    pub(crate) rules: Vec<Rule>,
    /// The first rule that matches is the last one.
    pub(crate) break_after_match: bool,
    /// Attributes are set and the name stays.
    pub(crate) keep_original_name: bool,
}

/// A pattern whose groups are attributes.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) regex: Regex,
    /// Of the groups, from the first.
    pub(crate) names: Vec<String>,
}

/// Attributes to be set: for each key, the texts of rows.
pub(crate) type Found<'r> = BTreeMap<&'r str, BTreeMap<u32, String>>;

impl FromAttributes {
    /// The name of a row, from the columns of the keys; none if it lacks one of them.
    pub(crate) fn name(&self, columns: &[Values], row: usize) -> Option<String> {
        let mut name = String::new();
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                name.push_str(&self.separator);
            }
            let bits = column.bits(row);
            match column.kind(row) {
                kind::ABSENT => return None,
                kind::STRING => name.push_str(column.texts.str(row)),
                kind::BOOL => name.push_str(if bits == 0 { "false" } else { "true" }),
                kind::INT => name.push_str(&(bits as i64).to_string()),
                kind::DOUBLE => name.push_str(&number::plain(f64::from_bits(bits))),
                _ => name.push_str("<unknown-attribute-type>"),
            }
        }
        Some(name)
    }
}

impl ToAttributes {
    /// Applies the rules to the name of a row, each to what the one before has left; gives the new
    /// name, if there is another one.
    pub(crate) fn apply<'r>(&'r self, name: &str, row: u32, found: &mut Found<'r>) -> Option<String> {
        if name.is_empty() {
            return None;
        }
        let mut new: Option<String> = None;
        for rule in &self.rules {
            let Some(rewritten) = rule.apply(new.as_deref().unwrap_or(name), row, found) else { continue };
            if !self.keep_original_name {
                new = Some(rewritten);
            }
            if self.break_after_match {
                break;
            }
        }
        new.filter(|new| new != name)
    }
}

impl Rule {
    /// Notes what its groups find, and gives the name with the groups' names in braces in their place;
    /// none if it does not match.
    fn apply<'r>(&'r self, name: &str, row: u32, found: &mut Found<'r>) -> Option<String> {
        let captures = self.regex.captures(name)?;
        let (mut new, mut end) = (String::new(), 0);
        for (key, group) in self.names.iter().zip((1..).map(|i| captures.get(i))) {
            // The Collector would fail on a group that took no part in the match.
            let Some(group) = group else { continue };
            found.entry(key).or_default().insert(row, group.as_str().to_owned());
            // And on a group within a group; here the outer one stands in the name.
            if let Some(between) = name.get(end..group.start()) {
                new.push_str(between);
                new.push('{');
                new.push_str(key);
                new.push('}');
                end = group.end();
            }
        }
        new.push_str(name.get(end..).unwrap_or_default());
        Some(new)
    }
}

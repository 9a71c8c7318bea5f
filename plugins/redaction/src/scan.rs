//! Scans all texts of a batch in one pass, and takes a closer look only at those in which something
//! was found.

use std::ops::Range;

use sluice_sdk::any_value::{self, Leaf};
use sluice_sdk::prelude::*;
use sluice_sdk::{Section, fields, kind};

use crate::attributes::{self, Attributes};
use crate::edits::Edits;
use crate::replace::{MASK, Mode};
use crate::rules::{Rules, Scan, Verdict};
use crate::sanitize::Columns;
use crate::tracestate;

/// A scan of the texts of a batch.
pub struct Scanner<'a, 'b> {
    pub rules: &'a Rules,
    pub attributes: &'a Attributes<'a, 'b>,
    pub columns: Columns<'a, 'b>,
}

impl Scanner<'_, '_> {
    /// Notes what every text becomes in which something is found.
    pub fn strings(&self, batch: &Batch<'_>, edits: &mut Edits) -> Result<(), Failure> {
        let strings = batch.strings()?;
        let mut sections = strings.sections.iter().peekable();
        for i in suspects(self.rules, &strings.texts) {
            // Suspects come in order, and so do sections.
            while sections.next_if(|section| section.texts.end <= i).is_some() {}
            let Some(section) = sections.peek() else { break };
            let (place, kind, text) = (i - section.texts.start, strings.kind(i), strings.texts.get(i));
            match section.field {
                Some(field) => self.field(section, field, place, text, edits)?,
                None => self.attribute(section, place, kind, text, edits)?,
            }
        }
        Ok(())
    }

    /// Notes what numbers and booleans become in which something is found.
    pub fn numbers(&self, edits: &mut Edits) -> Result<(), Failure> {
        for table in Table::ALL.into_iter().filter(|table| self.rules.scan.has(Scan::attributes(*table))) {
            let Some(entries) = self.attributes.entries(table)? else { continue };
            for (entry, kind) in entries.values.types.iter().enumerate() {
                if matches!(*kind, kind::BOOL | kind::INT | kind::DOUBLE)
                    && self.attributes.verdict(self.rules, table, entry)? == Verdict::Scan
                    && let Some(new) = self.rules.replaced(&attributes::text(&entries.values, entry))
                {
                    self.found(table, entry, kind::STRING, &new, edits);
                }
            }
        }
        Ok(())
    }

    fn field(&self, section: &Section, field: u32, row: usize, text: &[u8], edits: &mut Edits) -> Result<(), Failure> {
        let place = Scan::place(section);
        let mut new = match place {
            place if !self.rules.scan.has(place) => None,
            Scan::TRACESTATE => tracestate::replace(text, |part| self.rules.replaced(part)),
            _ => self.rules.replaced(text),
        };
        if (section.table, field) == (Table::Spans, fields::SPAN_NAME)
            && self.rules.sanitizers.look_at_names()
            && !self.rules.allows(text)
        {
            let name = new.as_deref().unwrap_or(text);
            new = self.rules.sanitizers.name(&self.columns, row, name)?.or(new);
        }
        if let Some(new) = new {
            edits.set_text(section, field, row, &new);
        }
        Ok(())
    }

    fn attribute(
        &self,
        section: &Section,
        entry: usize,
        kind: u8,
        text: &[u8],
        edits: &mut Edits,
    ) -> Result<(), Failure> {
        let (rules, table) = (self.rules, section.table);
        if self.attributes.verdict(rules, table, entry)? != Verdict::Scan {
            return Ok(());
        }
        if rules.counts_allowed() && kind == kind::STRING && rules.allows(text) {
            edits.allow(table, entry);
            return Ok(());
        }
        let nested = matches!(kind, kind::ARRAY | kind::KVLIST);
        let found = match rules.scan.has(Scan::place(section)) {
            true if nested => any_value::replace_leaves(kind, text, &mut |leaf| self.leaf(&leaf)),
            true => Ok(rules.replaced(text)),
            false => Ok(None),
        };
        let Ok(found) = found else {
            // What cannot be looked at does not leave.
            edits.replace(table, entry, kind::STRING, MASK);
            return Ok(());
        };
        if let Some(new) = &found
            && matches!(rules.mode, Mode::Drop)
        {
            self.found(table, entry, kind, new, edits);
            return Ok(());
        }
        let mut sanitized = None;
        if kind == kind::STRING && rules.sanitizers.look_at_attributes() && !rules.allows(text) {
            let key = self.attributes.key(rules, table, entry)?;
            if rules.sanitizers.name_attribute(key) {
                let system = self.columns.system(table, self.attributes.owner(table, entry)? as usize)?;
                sanitized = rules.sanitizers.attribute(key, found.as_deref().unwrap_or(text), &system);
            }
        }
        if let Some(new) = sanitized.or(found) {
            self.found(table, entry, kind, &new, edits);
        }
        Ok(())
    }

    fn leaf(&self, leaf: &Leaf<'_>) -> Option<Vec<u8>> {
        match leaf {
            Leaf::Text(text) => self.rules.replaced(text),
            _ if !self.rules.redact_all_types => None,
            Leaf::Bool(value) => self.rules.replaced(value.to_string().as_bytes()),
            Leaf::Int(value) => self.rules.replaced(value.to_string().as_bytes()),
            Leaf::Double(value) => self.rules.replaced(value.to_string().as_bytes()),
        }
    }

    fn found(&self, table: Table, entry: usize, kind: u8, new: &[u8], edits: &mut Edits) {
        if matches!(self.rules.mode, Mode::Drop) && self.rules.finds() {
            edits.remove(table, entry);
        } else {
            edits.replace(table, entry, kind, new);
        }
    }
}

/// The texts in which something could be, in order. What is found in all texts taken as one may reach
/// across two of them; then both are suspects, and each is judged for itself. Patterns know the start
/// and the end of a text, so with patterns every text is one.
fn suspects(rules: &Rules, texts: &Texts) -> Vec<usize> {
    let every =
        !rules.blocked_values.is_empty() || rules.redact_all_types || rules.counts_allowed() || rules.sanitizers.any();
    if every {
        return (0..texts.len()).collect();
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    crate::detect::candidates(&rules.detectors, &texts.bytes, &mut found);
    found.sort_by_key(|range| range.start);
    let (mut suspects, mut next) = (Vec::new(), 0_usize);
    for range in found {
        // Places come close together, so the next one is often in the same text.
        if texts.ends.get(next.wrapping_sub(1)).is_some_and(|&end| range.end <= end as usize) {
            continue;
        }
        let first = texts.ends.partition_point(|&end| end as usize <= range.start).max(next);
        let mut i = first;
        while i < texts.len() && (i == first || texts.ends.get(i - 1).is_some_and(|&from| (from as usize) < range.end))
        {
            suspects.push(i);
            i += 1;
        }
        next = next.max(i);
    }
    suspects
}

//! Committing staged edits: after they were applied, owners learn what changed below them, and rows
//! that are gone leave the index before the next look at it.

use crate::edits::Edits;
use crate::encode::written;
use crate::index::{BELOW_CHANGED, DROPPED, Index, Row, TOUCHED, TableIndex};
use crate::rewrite::{Take, rewrite};
use crate::schema::REQUEST;
use crate::wire::fields;
use crate::{Batch, Table, validate};

/// What [`Batch::commit`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Spans that are gone.
    pub dropped_spans: u32,
    /// Remaining spans in which anything was changed: their attributes, fields, events or links;
    /// not their resource or scope.
    pub edited_spans: u32,
}

impl Batch {
    /// Applies the edits of one call, in order. Edits of rows that the same call drops do
    /// nothing. A scope or resource that loses its last span goes as well; one that had none
    /// stays.
    pub fn commit(&mut self, edits: Edits) -> Committed {
        self.grown += edits.bytes();
        self.verdict.unknown |= edits.has_unknown;
        let (clean, staged) = (edits.clean, edits.staged);
        let cleans = clean.applies(self.verdict);
        let mut committed = Committed::default();
        let mut edited = Vec::new();
        if !staged.is_empty() {
            for edit in staged {
                self.apply(&edit);
            }
            committed = self.settle(|row| {
                if cleans {
                    edited.push(row);
                }
            });
        }
        if cleans {
            edited.extend(self.clean(clean));
            edited.sort_unstable();
            edited.dedup();
            committed.edited_spans = edited.len() as u32;
        }
        committed
    }

    /// Counts what was dropped and edited, and tells owners what changed below them. `edited` is
    /// told which of the remaining spans were edited.
    fn settle(&mut self, mut edited: impl FnMut(u32)) -> Committed {
        let before = self.index.spans.rows.len();
        let mut scopes = vec![Scope::default(); self.index.scopes.rows.len()];
        let spans = &mut self.index.spans;
        let mut nowhere = Scope::default();
        let mut row = 0;
        let mut committed = Committed::default();
        for span in &mut spans.rows {
            let scope = scopes.get_mut(span.parent as usize).unwrap_or(&mut nowhere);
            scope.had_spans = true;
            if span.changed & DROPPED != 0 {
                committed.dropped_spans += 1;
                scope.is_changed = true;
                continue;
            }
            scope.has_spans = true;
            if span.changed & TOUCHED != 0 {
                span.changed &= !TOUCHED;
                edited(row);
                committed.edited_spans += 1;
                scope.is_changed = true;
            }
            row += 1;
        }
        self.mark_below(&scopes);
        if committed.dropped_spans > 0 {
            self.drop_emptied(&scopes);
        }
        self.index.end_commit();
        self.verdict.spans = before as u32 - committed.dropped_spans;
        committed
    }

    fn mark_below(&mut self, of_scopes: &[Scope]) {
        let Index { resources, scopes, .. } = &mut *self.index;
        for (scope, of_scope) in scopes.rows.iter_mut().zip(of_scopes) {
            if of_scope.is_changed {
                scope.changed |= BELOW_CHANGED;
            }
            if scope.changed != 0
                && let Some(resource) = resources.rows.get_mut(scope.parent as usize)
            {
                resource.changed |= BELOW_CHANGED;
            }
        }
        // Spans mark scopes, and scopes resources; so these two tables tell it all.
        self.is_changed |= resources.rows.iter().any(|row| row.changed != 0);
    }

    /// Marks the scopes and resources that have lost their last span for dropping.
    fn drop_emptied(&mut self, of_scopes: &[Scope]) {
        let Index { resources, scopes, .. } = &mut *self.index;
        let mut of_resources = vec![Scope::default(); resources.rows.len()];
        for (scope, of_scope) in scopes.rows.iter().zip(of_scopes) {
            if let Some(of_resource) = of_resources.get_mut(scope.parent as usize) {
                of_resource.had_spans |= of_scope.had_spans;
                of_resource.has_spans |= of_scope.has_spans;
            }
        }
        for (resource, of_resource) in resources.rows.iter_mut().zip(of_resources) {
            if of_resource.is_emptied() {
                resource.changed |= DROPPED;
            }
        }
        for (scope, of_scope) in scopes.rows.iter_mut().zip(of_scopes) {
            // The empty ones of a resource that goes follow when it has gone.
            if of_scope.is_emptied() {
                scope.changed |= DROPPED;
            }
        }
    }

    /// Writes the whole batch anew without what `take` says. Answers which spans
    /// that changed.
    fn clean(&mut self, take: Take) -> Vec<u32> {
        let (before, mut requests) = self.splice_requests();
        let mut out = Vec::with_capacity(before.len());
        let mut start = 0;
        for request in &mut requests {
            rewrite(&REQUEST, &[before.get(start..request.end).unwrap_or_default()], take, &mut out);
            start = std::mem::replace(&mut request.end, out.len());
        }
        let edited = spans_that_differ(&before, &out);
        // What was valid stays valid when fields are left out, so there is always a verdict.
        if let Ok(verdict) = validate(&out) {
            if self.requests.is_empty() {
                requests.clear();
            }
            let grown = self.grown;
            *self = Self { grown, requests, ..Self::from_validated(written(out), verdict) };
        }
        edited
    }
}

/// What a commit does to the spans of a scope, or of a resource.
#[derive(Clone, Copy, Default)]
struct Scope {
    had_spans: bool,
    has_spans: bool,
    is_changed: bool,
}

impl Scope {
    fn is_emptied(self) -> bool {
        self.had_spans && !self.has_spans
    }
}

/// Which spans of two requests of the same shape are not the same bytes.
fn spans_that_differ(before: &[u8], after: &[u8]) -> Vec<u32> {
    let pairs = spans_of(before).zip(spans_of(after));
    (0..).zip(pairs).filter(|(_, (before, after))| before != after).map(|(row, _)| row).collect()
}

fn spans_of(request: &[u8]) -> impl Iterator<Item = &[u8]> {
    within(request, 1)
        .flat_map(|resource_spans| within(resource_spans, 2))
        .flat_map(|scope_spans| within(scope_spans, 2))
}

fn within(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    fields(message).filter(move |field| field.is(number)).map(move |field| field.content(message))
}

impl Index {
    /// Ends the commit for the attributes. Rows that it has dropped are taken out when the next
    /// reader comes: there is none if the batch goes out as it is.
    fn end_commit(&mut self) {
        for table in Table::ALL {
            let table = self.table_mut(table);
            if let Some(attributes) = &mut table.attributes {
                attributes.settle();
            }
            let has_dropped = table.rows.iter().any(|row| row.changed & DROPPED != 0);
            self.has_dropped |= has_dropped;
        }
    }

    /// Takes out rows that are dropped, in every table and all that belongs to them.
    pub fn take_out(&mut self) {
        let keep = kept(&self.resources.rows);
        self.resources.retain(&keep);
        self.scopes.renumber(&keep);
        let keep = kept(&self.scopes.rows);
        self.scopes.retain(&keep);
        self.spans.renumber(&keep);
        let keep = kept(&self.spans.rows);
        self.spans.retain(&keep);
        for table in [&mut self.events, &mut self.links] {
            table.renumber(&keep);
            let keep = kept(&table.rows);
            table.retain(&keep);
        }
    }
}

/// Which rows stay; empty if all do.
fn kept(rows: &[Row]) -> Vec<bool> {
    let stays = |row: &Row| row.changed & DROPPED == 0;
    if rows.iter().all(stays) {
        return Vec::new();
    }
    rows.iter().map(stays).collect()
}

impl TableIndex {
    /// Follows the owning table, which kept the rows `keep`; rows without owner are dropped.
    fn renumber(&mut self, keep: &[bool]) {
        if keep.is_empty() || self.rows.is_empty() {
            return;
        }
        let mut next = 0;
        let numbers: Vec<Option<u32>> = keep
            .iter()
            .map(|&stays| {
                let number = next;
                next += u32::from(stays);
                stays.then_some(number)
            })
            .collect();
        for row in &mut self.rows {
            match numbers.get(row.parent as usize).copied().flatten() {
                Some(parent) => row.parent = parent,
                None => row.changed |= DROPPED,
            }
        }
    }

    /// Keeps the rows `keep`, all if it is empty.
    fn retain(&mut self, keep: &[bool]) {
        if keep.is_empty() {
            return;
        }
        if let Some(attributes) = &mut self.attributes {
            attributes.retain(keep);
        }
        let mut flags = keep.iter();
        self.rows.retain(|_| flags.next() == Some(&true));
        let mut flags = keep.iter();
        self.schema_urls.retain(|_| flags.next() == Some(&true));
        if let Some(fields) = &mut self.fields {
            fields.retain(keep);
        }
    }
}

//! The columns that conditions read: each pulled once a batch, whichever conditions share it.

use sluice_sdk::prelude::*;
use sluice_sdk::{Refusal, kind};

use super::path::{Column, Path};
use super::value::{Literal, Value};

/// The columns of all conditions on one table.
#[derive(Debug, Default)]
pub struct Columns {
    paths: Vec<Path>,
}

/// The columns of one batch.
pub struct Loaded {
    table: Table,
    /// None that is not pulled yet.
    columns: Vec<Option<(Data, Owner)>>,
    owners: Vec<Owner>,
    /// For each row of the table: its span (of events), its scope, its resource; once one of them is needed.
    is_mapped: bool,
    spans: Vec<u32>,
    scopes: Vec<u32>,
    resources: Vec<u32>,
}

pub(super) enum Data {
    Texts(Texts),
    Numbers(Vec<u64>),
    Durations(Vec<u64>),
    Values(Values),
    /// What statements have made of a column.
    Edited(Vec<Literal>),
}

/// Whose row a column is indexed by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Row,
    Span,
    Scope,
    Resource,
}

impl Columns {
    /// The number of a path's column.
    pub(super) fn add(&mut self, path: Path) -> usize {
        self.find(&path).unwrap_or_else(|| {
            self.paths.push(path);
            self.paths.len() - 1
        })
    }

    /// The number of a path's column, if there is one.
    pub(super) fn find(&self, path: &Path) -> Option<usize> {
        self.paths.iter().position(|known| known == path)
    }

    /// The paths, by the numbers of their columns.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter()
    }

    /// What must be granted to load them.
    pub fn grants(&self) -> Vec<String> {
        let mut grants = Vec::new();
        for grant in self.paths.iter().filter_map(Path::grant) {
            if let Err(place) = grants.binary_search(&grant) {
                grants.insert(place, grant);
            }
        }
        grants
    }

    /// Pulls them all.
    ///
    /// # Errors
    /// When the host refuses one.
    pub fn load(&self, batch: &Batch<'_>, table: Table) -> Result<Loaded, Refusal> {
        let mut loaded = self.none(table);
        for column in 0..self.paths.len() {
            self.need(&mut loaded, batch, column)?;
        }
        Ok(loaded)
    }

    /// Of a batch of which nothing is pulled before it is needed.
    pub fn none(&self, table: Table) -> Loaded {
        let owner = |path: &Path| match path.table {
            other if other == table => Owner::Row,
            Table::Resources => Owner::Resource,
            Table::Scopes => Owner::Scope,
            _ => Owner::Span,
        };
        Loaded {
            table,
            columns: self.paths.iter().map(|_| None).collect(),
            owners: self.paths.iter().map(owner).collect(),
            is_mapped: false,
            spans: Vec::new(),
            scopes: Vec::new(),
            resources: Vec::new(),
        }
    }

    /// Pulls a column, unless it was.
    pub(super) fn need(&self, loaded: &mut Loaded, batch: &Batch<'_>, column: usize) -> Result<(), Refusal> {
        let (Some(path), Some(owner)) = (self.paths.get(column), loaded.owners.get(column).copied()) else {
            return Ok(());
        };
        if loaded.columns.get(column).is_none_or(Option::is_some) {
            return Ok(());
        }
        if owner != Owner::Row && !loaded.is_mapped {
            loaded.map(batch)?;
        }
        let data = pull(batch, path)?;
        if let Some(place) = loaded.columns.get_mut(column) {
            *place = Some((data, owner));
        }
        Ok(())
    }
}

fn pull(batch: &Batch<'_>, path: &Path) -> Result<Data, Refusal> {
    let table = path.table;
    Ok(match &path.column {
        Column::Text(field) => Data::Texts(batch.texts(table, *field)?),
        Column::Number(field) => Data::Numbers(batch.numbers(table, *field)?),
        Column::Duration => Data::Durations(batch.durations()?),
        Column::Attribute(key) => Data::Values(batch.attribute(table, key)?.values),
        Column::TraceIdHex => Data::Texts(hex::<16>(&batch.trace_ids(table)?)),
        Column::SpanIdHex => Data::Texts(hex::<8>(&batch.span_ids(table)?)),
        Column::ParentSpanIdHex => Data::Texts(hex::<8>(&batch.parent_span_ids()?)),
    })
}

/// Ids as hex; an all-zero id is the empty string, as in OTTL.
fn hex<const N: usize>(ids: &[u8]) -> Texts {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    let (ids, _) = ids.as_chunks::<N>();
    let mut texts = Texts::default();
    for id in ids {
        if *id != [0; N] {
            texts.bytes.extend(id.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
        }
        texts.ends.push(texts.bytes.len() as u32);
    }
    texts
}

/// The owners of owners.
fn through(rows: &[u32], owners: &[u32]) -> Vec<u32> {
    rows.iter().map(|&row| owners.get(row as usize).copied().unwrap_or_default()).collect()
}

impl Loaded {
    /// Finds the owners that the columns need.
    fn map(&mut self, batch: &Batch<'_>) -> Result<(), Refusal> {
        self.is_mapped = true;
        let (table, owners) = (self.table, &self.owners);
        let needs = |owner| owners.contains(&owner);
        let needs_resources = needs(Owner::Resource);
        let needs_scopes = needs(Owner::Scope) || needs(Owner::Resource);
        if table == Table::Events && (needs(Owner::Span) || needs_scopes) {
            self.spans = batch.parents(Table::Events)?;
        }
        if needs_scopes {
            let of_spans = batch.parents(Table::Spans)?;
            self.scopes = if table == Table::Events { through(&self.spans, &of_spans) } else { of_spans };
        }
        if needs_resources {
            self.resources = through(&self.scopes, &batch.parents(Table::Scopes)?);
        }
        Ok(())
    }

    /// Whether the value of a column for a row of the table is this string.
    #[inline]
    pub(super) fn is_string(&self, column: usize, row: usize, text: &[u8]) -> bool {
        match self.pulled(column) {
            Some((Data::Texts(texts), Owner::Row)) => texts.get(row) == text,
            Some((Data::Values(values), Owner::Row)) => {
                values.kind(row) == kind::STRING && values.texts.get(row) == text
            }
            _ => matches!(self.value(column, row), Value::String(found) if found == text),
        }
    }

    /// A column, and whose rows it has; none of an attribute that is nowhere.
    #[inline]
    pub(super) fn column(&self, column: usize) -> Option<(&Data, Owner)> {
        let (data, owner) = self.pulled(column)?;
        let is_nowhere = matches!(data, Data::Values(values) if values.is_empty());
        (!is_nowhere).then_some((data, *owner))
    }

    #[inline]
    fn pulled(&self, column: usize) -> Option<&(Data, Owner)> {
        self.columns.get(column)?.as_ref()
    }

    /// For each row of the table its owner; of an owner that is the row itself there is none.
    #[inline]
    pub(super) fn rows_of(&self, owner: Owner) -> &[u32] {
        match owner {
            Owner::Row => &[],
            Owner::Span => &self.spans,
            Owner::Scope => &self.scopes,
            Owner::Resource => &self.resources,
        }
    }

    /// The value of a column for a row of the table.
    #[inline]
    pub(super) fn value(&self, column: usize, row: usize) -> Value<'_> {
        let Some((data, owner)) = self.pulled(column) else { return Value::Nil };
        let row = match owner {
            Owner::Row => row,
            owner => self.rows_of(*owner).get(row).map_or(usize::MAX, |&row| row as usize),
        };
        match data {
            Data::Texts(texts) => Value::String(texts.get(row)),
            Data::Numbers(numbers) => numbers.get(row).map_or(Value::Nil, |&number| Value::Int(number as i64)),
            Data::Durations(nanos) => {
                nanos.get(row).map_or(Value::Nil, |&nanos| Value::Duration(i64::try_from(nanos).unwrap_or(i64::MAX)))
            }
            Data::Values(values) => value_of(values, row),
            Data::Edited(values) => values.get(row).map_or(Value::Nil, Literal::value),
        }
    }

    /// Puts a value in place of another, in a column of the table itself, which has so many rows.
    pub(super) fn set(&mut self, column: usize, row: usize, value: Literal, rows: usize) {
        if !matches!(self.pulled(column), Some((Data::Edited(_), _))) {
            let all = (0..rows).map(|row| self.value(column, row).literal()).collect();
            if let Some(Some((data, _))) = self.columns.get_mut(column) {
                *data = Data::Edited(all);
            }
        }
        if let Some(Some((Data::Edited(values), _))) = self.columns.get_mut(column)
            && let Some(place) = values.get_mut(row)
        {
            *place = value;
        }
    }
}

/// An attribute's value.
#[inline]
pub(super) fn value_of(values: &Values, row: usize) -> Value<'_> {
    match values.kind(row) {
        kind::STRING => Value::String(values.texts.get(row)),
        kind::BOOL => Value::Bool(values.bits(row) != 0),
        kind::INT => Value::Int(values.bits(row) as i64),
        kind::DOUBLE => Value::Float(f64::from_bits(values.bits(row))),
        kind::ARRAY => Value::List(values.texts.get(row)),
        kind::KVLIST => Value::Map(values.texts.get(row)),
        kind::BYTES => Value::Bytes(values.texts.get(row)),
        _ => Value::Nil,
    }
}

//! One span after the other, over columns that are fetched once.

use std::cell::{OnceCell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

use crate::batch::{Batch, Refusal, Table, fields};
use crate::columns::{Column, Texts, Values, kind};

/// Edits that the view has collected.
#[derive(Default)]
pub(crate) struct Pending {
    dropped: Vec<u32>,
    names: (Vec<u32>, Texts),
    set: Vec<(String, Vec<u32>, Values)>,
    removed: Vec<(String, Vec<u32>)>,
}

impl Pending {
    pub(crate) fn push(self, batch: &Batch<'_>) -> Result<(), Refusal> {
        for (key, rows) in self.removed {
            batch.remove_attribute(Table::Spans, &key, &rows)?;
        }
        for (key, rows, values) in self.set {
            batch.set_attribute(Table::Spans, &key, &rows, values)?;
        }
        if !self.names.0.is_empty() {
            batch.set_texts(Table::Spans, fields::SPAN_NAME, &self.names.0, self.names.1)?;
        }
        if !self.dropped.is_empty() {
            batch.drop_rows(Table::Spans, &self.dropped)?;
        }
        Ok(())
    }
}

/// Columns of one batch, each fetched when it is first asked for.
struct Shared<'b> {
    batch: &'b Batch<'b>,
    names: OnceCell<Rc<Texts>>,
    messages: OnceCell<Rc<Texts>>,
    kinds: OnceCell<Vec<u64>>,
    codes: OnceCell<Vec<u64>>,
    durations: OnceCell<Vec<u64>>,
    trace_ids: OnceCell<Vec<u8>>,
    resources: OnceCell<Vec<u32>>,
    attributes: RefCell<Vec<(Table, String, Rc<Column>)>>,
}

/// The spans of a batch, in order.
pub struct Spans<'b> {
    shared: Rc<Shared<'b>>,
    next: u32,
    len: u32,
}

/// One span.
pub struct Span<'b> {
    shared: Rc<Shared<'b>>,
    row: u32,
}

/// A text of one row; a `str`.
pub struct Text(Rc<Texts>, u32);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.str(self.1 as usize)
    }
}

/// An attribute of one row.
pub struct Attribute(Rc<Column>, u32);

impl Attribute {
    fn row(&self) -> usize {
        self.1 as usize
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.0.values.kind(self.row()) != kind::ABSENT
    }

    /// Its value if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        self.0.values.str(self.row())
    }

    /// Its value if it is an integer.
    pub fn as_int(&self) -> Option<i64> {
        (self.0.values.kind(self.row()) == kind::INT).then(|| self.0.values.bits(self.row()) as i64)
    }

    /// Its value if it is a double.
    pub fn as_double(&self) -> Option<f64> {
        (self.0.values.kind(self.row()) == kind::DOUBLE).then(|| f64::from_bits(self.0.values.bits(self.row())))
    }

    /// Its value if it is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        (self.0.values.kind(self.row()) == kind::BOOL).then(|| self.0.values.bits(self.row()) != 0)
    }
}

/// What an attribute can be set to.
pub trait IntoValue {
    /// One value.
    fn into_values(self) -> Values;
}

impl IntoValue for &str {
    fn into_values(self) -> Values {
        Values::string(self)
    }
}

impl IntoValue for i64 {
    fn into_values(self) -> Values {
        Values::int(self)
    }
}

impl IntoValue for f64 {
    fn into_values(self) -> Values {
        Values::double(self)
    }
}

impl IntoValue for bool {
    fn into_values(self) -> Values {
        Values::bool(self)
    }
}

impl<'b> Spans<'b> {
    pub(crate) fn new(batch: &'b Batch<'b>) -> Result<Self, Refusal> {
        let len = batch.len(Table::Spans)?;
        let shared = Shared {
            batch,
            names: OnceCell::new(),
            messages: OnceCell::new(),
            kinds: OnceCell::new(),
            codes: OnceCell::new(),
            durations: OnceCell::new(),
            trace_ids: OnceCell::new(),
            resources: OnceCell::new(),
            attributes: RefCell::default(),
        };
        Ok(Self { shared: Rc::new(shared), next: 0, len })
    }
}

impl<'b> Iterator for Spans<'b> {
    type Item = Span<'b>;

    fn next(&mut self) -> Option<Span<'b>> {
        let row = self.next;
        (row < self.len).then(|| {
            self.next += 1;
            Span { shared: Rc::clone(&self.shared), row }
        })
    }
}

/// `OnceCell::get_or_try_init`, which is not stable.
fn fetched<T>(cell: &OnceCell<T>, fetch: impl FnOnce() -> Result<T, Refusal>) -> Result<&T, Refusal> {
    if cell.get().is_none() {
        let column = fetch()?;
        return Ok(cell.get_or_init(|| column));
    }
    Ok(cell.get_or_init(|| unreachable!("it was just looked at")))
}

impl Shared<'_> {
    fn attribute(&self, table: Table, key: &str) -> Result<Rc<Column>, Refusal> {
        let known = self
            .attributes
            .borrow()
            .iter()
            .find(|(of, name, _)| *of == table && name == key)
            .map(|(_, _, column)| Rc::clone(column));
        if let Some(column) = known {
            return Ok(column);
        }
        let column = Rc::new(self.batch.attribute(table, key)?);
        self.attributes.borrow_mut().push((table, key.to_owned(), Rc::clone(&column)));
        Ok(column)
    }

    /// The resource of each span.
    fn resources(&self) -> Result<&Vec<u32>, Refusal> {
        fetched(&self.resources, || {
            let scopes = self.batch.parents(Table::Scopes)?;
            let spans = self.batch.parents(Table::Spans)?;
            Ok(spans.iter().map(|&scope| scopes.get(scope as usize).copied().unwrap_or_default()).collect())
        })
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident, $cell:ident, $fetch:expr;)*) => {
        impl Span<'_> {
            $($(#[$doc])*
            ///
            /// # Errors
            /// When the host refuses.
            pub fn $name(&self) -> Result<u64, Refusal> {
                let fetch: fn(&Batch<'_>) -> Result<Vec<u64>, Refusal> = $fetch;
                let column = fetched(&self.shared.$cell, || fetch(self.shared.batch))?;
                Ok(column.get(self.row as usize).copied().unwrap_or_default())
            })*
        }
    };
}

numbers! {
    /// 1 internal, 2 server, 3 client, 4 producer, 5 consumer; 0 unset.
    kind, kinds, |batch| batch.numbers(Table::Spans, fields::SPAN_KIND);
    /// 0 unset, 1 ok, 2 error.
    status_code, codes, |batch| batch.numbers(Table::Spans, fields::STATUS_CODE);
    /// End minus start.
    duration_nanos, durations, |batch| batch.durations();
}

impl Span<'_> {
    /// The number of its row.
    pub fn row(&self) -> u32 {
        self.row
    }

    /// Its name. Grant: `spans.name`.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn name(&self) -> Result<Text, Refusal> {
        let names =
            fetched(&self.shared.names, || self.shared.batch.texts(Table::Spans, fields::SPAN_NAME).map(Rc::new))?;
        Ok(Text(Rc::clone(names), self.row))
    }

    /// The message of its status. Grant: `spans.status_message`.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn status_message(&self) -> Result<Text, Refusal> {
        let messages = fetched(&self.shared.messages, || {
            self.shared.batch.texts(Table::Spans, fields::STATUS_MESSAGE).map(Rc::new)
        })?;
        Ok(Text(Rc::clone(messages), self.row))
    }

    /// Its trace id. Grant: `spans.ids`.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn trace_id(&self) -> Result<[u8; 16], Refusal> {
        let ids = fetched(&self.shared.trace_ids, || self.shared.batch.trace_ids(Table::Spans))?;
        let from = self.row as usize * 16;
        Ok(ids.get(from..from + 16).and_then(|id| id.try_into().ok()).unwrap_or_default())
    }

    /// An attribute. Grant: `spans.attributes:KEY`.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn attribute(&self, key: &str) -> Result<Attribute, Refusal> {
        Ok(Attribute(self.shared.attribute(Table::Spans, key)?, self.row))
    }

    /// An attribute of its resource. Grant: `resources.attributes:KEY`.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn resource_attribute(&self, key: &str) -> Result<Attribute, Refusal> {
        let resource = self.shared.resources()?.get(self.row as usize).copied().unwrap_or_default();
        Ok(Attribute(self.shared.attribute(Table::Resources, key)?, resource))
    }

    /// Drops it. Grant: `spans.drop`.
    pub fn drop(&self) {
        self.shared.batch.pending.borrow_mut().dropped.push(self.row);
    }

    /// Gives it another name. Grant: `spans.name`.
    pub fn set_name(&self, name: &str) {
        let mut pending = self.shared.batch.pending.borrow_mut();
        pending.names.0.push(self.row);
        pending.names.1.push(name.as_bytes());
    }

    /// Sets an attribute. Grant: `spans.attributes:KEY`.
    pub fn set_attribute(&self, key: &str, value: impl IntoValue) {
        let mut pending = self.shared.batch.pending.borrow_mut();
        let place = pending.set.iter().position(|(known, _, _)| known == key).unwrap_or_else(|| {
            pending.set.push((key.to_owned(), Vec::new(), Values::default()));
            pending.set.len() - 1
        });
        if let Some((_, rows, values)) = pending.set.get_mut(place) {
            rows.push(self.row);
            values.push_from(&value.into_values(), 0);
        }
    }

    /// Removes an attribute. Grant: `spans.attributes:KEY`.
    pub fn remove_attribute(&self, key: &str) {
        let mut pending = self.shared.batch.pending.borrow_mut();
        let place = pending.removed.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
            pending.removed.push((key.to_owned(), Vec::new()));
            pending.removed.len() - 1
        });
        if let Some((_, rows)) = pending.removed.get_mut(place) {
            rows.push(self.row);
        }
    }
}

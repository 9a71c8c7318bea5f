//! What arguments of edits are checked for before they are staged.

use crate::entry::is_text;
use crate::rewrite::{Take, rewrite};
use crate::schema::{ARRAY_VALUE, KEY_VALUE_LIST};
use crate::walk::Walk;
use crate::wire::MAX_DEPTH;
use crate::{Batch, Refusal, Table, Texts, Values, Verdict};

pub(crate) fn check_rows(b: &mut Batch, t: Table, rows: &[u32]) -> Result<(), Refusal> {
    check_numbers(t.noun(), rows, b.len(t))
}

pub(crate) fn check_entries(b: &mut Batch, t: Table, entries: &[u32]) -> Result<(), Refusal> {
    b.load_attributes(t);
    let attributes = b.index.table(t).attributes.as_ref();
    let len = attributes.map_or(0, |attributes| attributes.entries().len());
    check_numbers("entry", entries, len)
}

/// How many numbers an edit may name beyond those that there are. A plugin that goes through spans one by one may name
/// one again and again; what an edit takes should be up to the batch all the same.
const NAMED_AGAIN: usize = 1 << 16;

/// Numbers that are in range, and not too many of them.
fn check_numbers(noun: &str, numbers: &[u32], len: usize) -> Result<(), Refusal> {
    if let Some(number) = numbers.iter().find(|&&number| number as usize >= len) {
        return Err(Refusal::out_of_range(format!("{noun} {number} of {len} does not exist")));
    }
    check_named(numbers.len(), len)
}

/// Whether an edit may name so many of so many rows or entries.
///
/// # Errors
/// When it names them too often.
pub fn check_named(named: usize, len: usize) -> Result<(), Refusal> {
    if named <= len.saturating_add(NAMED_AGAIN) {
        return Ok(());
    }
    Err(Refusal::limit(format!("{named} numbers for {len} rows or entries; name each of them once")))
}

pub(crate) fn check_count(values: usize, rows: usize) -> Result<(), Refusal> {
    if values == rows || values == 1 {
        return Ok(());
    }
    Err(Refusal::malformed(format!("{values} values for {rows} rows; give one each, or one for all")))
}

/// How many bytes values take in the output.
pub(crate) fn size_of(values: &Values, rows: usize) -> usize {
    let numbers = 11 * rows;
    numbers + effective(values.texts.bytes.len(), values.len(), rows)
}

pub(crate) fn effective(bytes: usize, values: usize, rows: usize) -> usize {
    if values == 1 { bytes.saturating_mul(rows) } else { bytes }
}

/// Values that are fit to be written: every list as long as it should be, texts UTF-8, arrays
/// and kvlists valid and regular.
pub(crate) fn checked(mut values: Values, rows: usize) -> Result<(Values, Verdict), Refusal> {
    let count = values.len();
    check_count(count, rows)?;
    let texts = values.texts.len();
    if texts != 0 && texts != count || !values.texts.is_well_formed() {
        return Err(Refusal::malformed("the texts do not fit the types"));
    }
    if !values.numbers.is_empty() && values.numbers.len() != count {
        return Err(Refusal::malformed("the numbers do not fit the types"));
    }
    let has = |wanted: fn(u8) -> bool| values.types.iter().any(|&kind| wanted(kind));
    if texts == 0 && has(is_text) || values.numbers.is_empty() && has(|kind| kind != 0 && !is_text(kind)) {
        return Err(Refusal::malformed("types without their texts or numbers"));
    }
    let mut nested = Verdict::default();
    let is_ascii = values.texts.bytes.is_ascii();
    for (i, &kind) in values.types.iter().enumerate() {
        let text = values.texts.get(i);
        let number = values.numbers.get(i).copied().unwrap_or(0);
        let fits = match kind {
            0 | 3 | 4 | 7 => true,
            1 => is_ascii || std::str::from_utf8(text).is_ok(),
            2 => number < 2,
            5 | 6 => check_nested(kind, text, &mut nested),
            8 => i32::try_from(number as i64).is_ok(),
            _ => return Err(Refusal::malformed(format!("no value type {kind}"))),
        };
        if !fits {
            let text = format!("value {i} is not well formed for type {kind}");
            return Err(Refusal::malformed(text));
        }
    }
    if nested.irregular {
        values.texts = regular_texts(&values);
    }
    Ok((values, nested))
}

/// How deep an array or kvlist lies at most: the value of an event's attribute.
const NESTING: u32 = 7;

fn check_nested(kind: u8, text: &[u8], nested: &mut Verdict) -> bool {
    let schema = if kind == 5 { &ARRAY_VALUE } else { &KEY_VALUE_LIST };
    let mut walk: Walk = Walk::default();
    let result = walk.message(schema, text, 0, MAX_DEPTH - NESTING);
    nested.irregular |= walk.verdict.irregular;
    nested.unknown |= walk.verdict.unknown;
    result.is_ok()
}

/// The same texts with arrays and kvlists normalised, as everything in the index is.
fn regular_texts(values: &Values) -> Texts {
    let mut texts = Texts::new();
    for (kind, text) in values.types.iter().zip(values.texts.iter()) {
        let schema = match kind {
            5 => &ARRAY_VALUE,
            6 => &KEY_VALUE_LIST,
            _ => {
                texts.push(text);
                continue;
            }
        };
        rewrite(schema, &[text], Take::OVERRIDDEN, &mut texts.bytes);
        texts.push(&[]);
    }
    texts
}

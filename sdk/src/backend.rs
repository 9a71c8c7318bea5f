//! What a batch is made of: the host's on wasm, the same data structure natively.

use crate::batch::{Refusal, Rows, Table};
use crate::columns::{Column, Entries, EntryKeys, Texts, Values};
use crate::strings::Strings;

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod wasm;

#[cfg(not(target_family = "wasm"))]
pub use native::Backend;
#[cfg(target_family = "wasm")]
pub use wasm::Backend;

/// The functions of the contract, in the SDK's types.
pub(crate) trait Source {
    fn len(&self, table: Table) -> Result<u32, Refusal>;
    fn parents(&self, table: Table) -> Result<Vec<u32>, Refusal>;
    fn numbers(&self, table: Table, field: u32) -> Result<Vec<u64>, Refusal>;
    fn durations(&self) -> Result<Vec<u64>, Refusal>;
    fn texts(&self, table: Table, field: u32) -> Result<Texts, Refusal>;
    fn trace_ids(&self, table: Table) -> Result<Vec<u8>, Refusal>;
    fn span_ids(&self, table: Table) -> Result<Vec<u8>, Refusal>;
    fn parent_span_ids(&self) -> Result<Vec<u8>, Refusal>;
    fn attribute(&self, table: Table, key: &str) -> Result<Column, Refusal>;
    fn entries(&self, table: Table) -> Result<Entries, Refusal>;
    fn entry_keys(&self, table: Table) -> Result<EntryKeys, Refusal>;
    fn strings(&self) -> Result<Strings, Refusal>;
    fn drop_rows(&self, table: Table, rows: &[u32]) -> Result<(), Refusal>;
    fn set_attribute(&self, table: Table, key: &str, rows: &[u32], values: Values) -> Result<(), Refusal>;
    fn fill_attribute(&self, table: Table, key: &str, which: Rows, value: Values) -> Result<(), Refusal>;
    fn remove_attribute(&self, table: Table, key: &str, rows: &[u32]) -> Result<(), Refusal>;
    fn rename_attribute(&self, table: Table, key: &str, to: &str, rows: &[u32]) -> Result<(), Refusal>;
    fn set_entries(&self, table: Table, entries: &[u32], values: Values) -> Result<(), Refusal>;
    fn remove_entries(&self, table: Table, entries: &[u32]) -> Result<(), Refusal>;
    fn set_texts(&self, table: Table, field: u32, rows: &[u32], texts: Texts) -> Result<(), Refusal>;
    fn set_numbers(&self, table: Table, field: u32, rows: &[u32], numbers: &[u64]) -> Result<(), Refusal>;
    fn clean(&self, what: u32) -> Result<(), Refusal>;
}

//! A batch of spans, held in OTLP's wire format.
//!
//! What enters is the bytes of an `ExportTraceServiceRequest`; what leaves is such bytes again.
//! In between nothing is decoded into structs: [`validate`] proves once that the bytes are well
//! formed, a lazy index of positions answers column reads, edits patch that index, and
//! [`Batch::encode`] splices the wire once at the end. Untouched spans leave byte for byte as
//! they came, unknown fields included.
//!
//! There is no I/O and no async here, and no input, however hostile, makes this crate panic:
//! what is malformed is refused by [`validate`] with its place in words.

mod apply;
mod attributes;
mod batch;
mod check;
mod columns;
mod commit;
mod edits;
mod encode;
mod entry;
pub mod fields;
mod gather;
mod holders;
mod index;
pub mod json;
mod layout;
mod lease;
mod malformed;
mod read;
mod record;
mod refusal;
mod requests;
mod rewrite;
mod row_fields;
mod run;
mod schema;
mod split;
mod store;
mod strings;
mod table;
mod walk;
mod weight;
mod wire;

pub use batch::Batch;
pub use check::check_named;
pub use columns::{Column, Entries, EntryKeys, Texts, Values};
pub use commit::Committed;
pub use edits::Edits;
pub use malformed::Malformed;
pub use refusal::{Refusal, RefusalCode};
pub use split::{join, split_encoded};
pub use strings::{Readable, Shown, Strings};
pub use table::{Field, Table};
pub use walk::{Verdict, count_spans, validate};
pub use weight::index_bytes;

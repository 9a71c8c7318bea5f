//! What the host keeps for plugins, beside the batch. Files where a module says so, no async, no
//! wasmtime: the sandbox gives it to guests, and the SDK to plugins that are tested natively.

mod keys;
mod random;
mod regular;
mod store;
mod tables;

pub use keys::Keys;
pub use random::Random;
pub use regular::open_regular;
pub use store::{ENTRY_BYTES, NotRead, NotSaved, Staged, Store, Stores, Value, Write};
pub use tables::{
    BadTable, Format, Found, HOST_TABLE, LiveTable, Loaded, NamedFile, NotItsFile, NotLoaded, OwnFile, Spec, Table,
    Tables,
};

//! Log lines. A plugin that logs declares the capability `log`.
//!
//! Lines appear in the collector's log under the plugin's name once the request has passed its
//! whole chain. Off wasm they go nowhere.

macro_rules! levels {
    ($($(#[$doc:meta])* $name:ident = $level:literal;)*) => {
        $($(#[$doc])*
        pub fn $name(message: &str) {
            write($level, message);
        })*
    };
}

levels! {
    /// Something is broken.
    error = 1;
    /// Something is odd.
    warn = 2;
    /// Something happened.
    info = 3;
    /// Of use to the plugin's author.
    debug = 4;
}

#[cfg(target_family = "wasm")]
fn write(level: u32, message: &str) {
    crate::bindings::sluice::plugin::log::write(level, message);
}

#[cfg(not(target_family = "wasm"))]
fn write(level: u32, message: &str) {
    let _ = (level, message);
}

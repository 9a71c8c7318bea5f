//! The plugins in this binary. Empty unless it was built by `cargo xtask build`.

/// A first-party plugin.
pub struct Bundled {
    /// Its config type.
    pub name: &'static str,
    /// The component.
    pub component: &'static [u8],
    /// Its code for any machine of this architecture.
    pub precompiled: &'static [u8],
}

/// All of them; `sluice-bundle` writes the table.
pub static BUNDLE: &[Bundled] = include!(env!("SLUICE_BUNDLE_TABLE"));

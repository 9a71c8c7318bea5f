//! `cargo xtask …`
mod bindings;
fn main() -> anyhow::Result<()> {
    bindings::run(std::path::Path::new("."), std::env::args().any(|a| a == "--check"))
}

//! Lists the hostile guests. Each file of `guests/hostile` needs a constant of its name, in capitals,
//! among the expectations of `tests/hostile_guests/main.rs`: without one the tests do not build.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/hostile");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    let mut list = String::from("const GUESTS: &[(&str, &str, Expected)] = &[\n");
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let (upper, path) = (name.to_uppercase(), file.display().to_string());
        // Writing into a string cannot fail.
        let _ = writeln!(list, "    ({name:?}, include_str!({path:?}), expectations::{upper}),");
    }
    list.push_str("];\n");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("hostile_guests.rs"), list)
}

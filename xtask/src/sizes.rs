//! How large the bundled plugins may be.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Bytes of a component.
const MOST: u64 = 300_000;

/// Those that may be larger, and how large. The README of each says why.
const LARGER: [(&str, u64); 1] = [("redaction", 880_000)];

/// Checks the components in a folder.
pub fn check(folder: &Path) -> Result<()> {
    let mut wrong = Vec::new();
    for file in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let file = file?;
        let path = file.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        wrong.extend(verdict(&name, file.metadata()?.len()));
    }
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("; ")) }
}

fn verdict(name: &str, bytes: u64) -> Option<String> {
    let exception = LARGER.iter().find(|(known, _)| *known == name).map(|(_, most)| *most);
    let most = exception.unwrap_or(MOST);
    if bytes > most {
        return Some(format!(
            "{name} has {bytes} bytes, more than {most}: make it smaller, or say in its README why not"
        ));
    }
    (exception.is_some() && bytes <= MOST)
        .then(|| format!("{name} needs no exception any more: take it out of the list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_or_no_longer_so_is_told() {
        assert_eq!(verdict("probabilistic_sampler", MOST), None);
        assert!(verdict("probabilistic_sampler", MOST + 1).is_some_and(|text| text.contains("300001 bytes")));
        assert_eq!(verdict("redaction", 870_000), None);
        assert!(verdict("redaction", 880_001).is_some());
        assert!(verdict("redaction", 299_999).is_some_and(|text| text.contains("no exception")));
    }

    #[test]
    fn a_folder_is_checked_file_by_file() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("sizes-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("small.wasm"), b"x")?;
        let small = check(&folder);
        fs::File::create(folder.join("large.wasm"))?.set_len(MOST + 1)?;
        let large = check(&folder);
        fs::remove_dir_all(&folder)?;
        small?;
        assert!(large.is_err_and(|error| error.to_string().starts_with("large has 300001 bytes")));
        Ok(())
    }
}

//! Real traces, when `SLUICE_CORPUS` names a folder of them: every `*.otlp` there is a sequence of
//! a big-endian `u32` length and that many bytes of an `ExportTraceServiceRequest`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bytes::Bytes;

/// The variable that names the folder.
pub const VARIABLE: &str = "SLUICE_CORPUS";

/// The files of the corpus; none when the variable is not set.
///
/// # Errors
/// When the variable names something that is no folder, or one without a `*.otlp`.
pub fn files() -> Result<Vec<PathBuf>> {
    let Some(folder) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("{VARIABLE}={}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "otlp") {
            files.push(path);
        }
    }
    anyhow::ensure!(!files.is_empty(), "{VARIABLE}={} holds no *.otlp", folder.display());
    files.sort();
    Ok(files)
}

/// The requests of one file.
///
/// # Errors
/// When the file cannot be read or ends within a request.
pub fn read(path: &Path) -> Result<Vec<Bytes>> {
    let mut rest = Bytes::from(std::fs::read(path).with_context(|| path.display().to_string())?);
    let mut requests = Vec::new();
    while !rest.is_empty() {
        let head = rest.get(..4).context("a length that is cut off")?;
        let len = u32::from_be_bytes(head.try_into()?) as usize;
        anyhow::ensure!(rest.len() >= 4 + len, "{}: a request that is cut off", path.display());
        let mut request = rest.split_to(4 + len);
        requests.push(request.split_off(4));
    }
    Ok(requests)
}

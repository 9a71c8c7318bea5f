//! Opening files that others have named.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a regular file to read it. Never waits: not for the writer of a pipe, not for a device.
///
/// # Errors
/// When it cannot be opened, or is a pipe, a device or a folder.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // It means nothing to a regular file. What was opened is asked, so that nothing else can take its place between.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

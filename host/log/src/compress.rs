//! Compression of payloads with zstd.

use std::cell::RefCell;
use std::io;

use zstd::bulk::Compressor;

thread_local! {
    /// What a thread compresses with, and its level: making it takes longer than compressing a record.
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
}

/// The bytes as one frame; nothing if that fails, or does not pay.
pub(crate) fn compress(bytes: &[u8], level: i32) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let mut compressor = match kept.take().filter(|(of, _)| *of == level) {
            Some((_, compressor)) => compressor,
            None => Compressor::new(level).ok()?,
        };
        let frame = compressor.compress(bytes).ok();
        *kept = Some((level, compressor));
        frame.filter(|frame| frame.len() < bytes.len())
    })
}

/// What was made a frame, if it was `length` bytes long.
///
/// # Errors
/// When it is no frame, or one of another length.
pub(crate) fn decompress(frame: &[u8], length: usize) -> io::Result<Vec<u8>> {
    let bytes = zstd::bulk::decompress(frame, length)?;
    if bytes.len() == length { Ok(bytes) } else { Err(io::ErrorKind::InvalidData.into()) }
}

//! Compression of bodies, in both directions.
//!
//! Reading is bounded by a number of bytes after decompression, whatever the compressed size, and
//! lets other tasks run in between, so that one large body does not keep a core for itself.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use zstd::zstd_safe;

/// Bytes that are decompressed before other tasks may run: some 0.3 ms.
const SLICE_BYTES: usize = 128 * 1024;

/// The first guess of how much comes out; spans compress about tenfold.
const FIRST_GUESS: usize = 4;

/// RFC 9659: a zstd window on the web is at most 8 MiB, 2 to the 23rd.
const ZSTD_WINDOW_LOG: u32 = 23;

/// OTLP compresses to about the same size at every level; the higher ones only cost more.
const GZIP_LEVEL: Compression = Compression::new(4);

/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// RFC 1950; HTTP calls it `deflate`.
    Zlib,
}

/// Counts what comes out of decompression, as it does.
pub trait Meter {
    /// Counts so many bytes more; false if there is no room for them.
    fn grow(&mut self, bytes: usize) -> impl Future<Output = bool>;

    /// So many of them are free again.
    fn give_back(&mut self, bytes: usize);
}

/// For what the limit alone bounds.
pub struct Unmetered;

impl Meter for Unmetered {
    async fn grow(&mut self, _: usize) -> bool {
        true
    }

    fn give_back(&mut self, _: usize) {}
}

/// Why a body could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// More than allowed comes out.
    #[error("the request is larger than {limit} bytes after decompression")]
    TooLarge {
        /// How many bytes are allowed.
        limit: usize,
    },
    /// There is no room for what comes out.
    #[error("too many bytes come out of decompression at a time")]
    NoRoom,
    /// It is not what it says it is, or ends early.
    #[error("the body does not decompress: {0}")]
    Corrupt(#[from] io::Error),
}

impl Encoding {
    /// The encoding that a header names; `None` if we do not know it.
    pub fn parse(header: &[u8]) -> Option<Self> {
        match header.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Some(Self::Identity),
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"zstd" => Some(Self::Zstd),
            b"deflate" | b"zlib" => Some(Self::Zlib),
            _ => None,
        }
    }

    /// The name in a header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Zlib => "deflate",
        }
    }

    /// Compresses the chunks of one body.
    ///
    /// # Errors
    /// When the compressor cannot get memory.
    pub fn compress(self, chunks: &[Bytes]) -> io::Result<Vec<u8>> {
        let expected = chunks.iter().map(Bytes::len).sum::<usize>() / FIRST_GUESS;
        let sink = Vec::with_capacity(expected);
        match self {
            Self::Identity => Ok(chunks.concat()),
            Self::Gzip => feed(flate2::write::GzEncoder::new(sink, GZIP_LEVEL), chunks)?.finish(),
            Self::Zlib => feed(flate2::write::ZlibEncoder::new(sink, GZIP_LEVEL), chunks)?.finish(),
            Self::Zstd => feed(zstd::stream::write::Encoder::new(sink, ZSTD_LEVEL)?, chunks)?.finish(),
        }
    }

    /// Decompresses a whole body into at most `limit` bytes, each of which `meter` has room for.
    ///
    /// # Errors
    /// When more comes out, or the body is corrupt.
    pub async fn decompress(self, body: Bytes, limit: usize, meter: &mut impl Meter) -> Result<Bytes, Broken> {
        match self {
            Self::Identity if body.len() > limit => Err(Broken::TooLarge { limit }),
            Self::Identity => Ok(body),
            Self::Gzip => drain(MultiGzDecoder::new(&*body), body.len(), limit, meter).await,
            Self::Zlib => drain(ZlibDecoder::new(&*body), body.len(), limit, meter).await,
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(&*body)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                // It may be much larger than what comes out, and many bodies may wait for room.
                let window = zstd_window(&body);
                if !meter.grow(window).await {
                    return Err(Broken::NoRoom);
                }
                let drained = drain(decoder, body.len(), limit, meter).await;
                meter.give_back(window);
                drained
            }
        }
    }
}

fn feed<W: io::Write>(mut encoder: W, chunks: &[Bytes]) -> io::Result<W> {
    for chunk in chunks {
        encoder.write_all(chunk)?;
    }
    Ok(encoder)
}

/// The memory that decoding takes beside what comes out: the largest window of the body's frames. What
/// is larger than allowed is not decoded, and so is what follows a broken frame.
fn zstd_window(mut body: &[u8]) -> usize {
    let mut largest = 0;
    while let Some(window) = frame_window(body) {
        largest = window.max(largest);
        let rest = zstd_safe::find_frame_compressed_size(body).ok().and_then(|size| body.get(size..));
        match rest {
            Some(rest) if rest.len() < body.len() => body = rest,
            _ => break,
        }
    }
    largest.min(1 << ZSTD_WINDOW_LOG)
}

/// The window of the first frame (RFC 8878, 3.1.1.1); none if there is no frame.
fn frame_window(body: &[u8]) -> Option<usize> {
    match u32::from_le_bytes(*body.first_chunk()?) {
        zstd_safe::MAGICNUMBER => {}
        magic if magic & zstd_safe::MAGIC_SKIPPABLE_MASK == zstd_safe::MAGIC_SKIPPABLE_START => return Some(0),
        _ => return None,
    }
    let (descriptor, window) = (*body.get(4)?, *body.get(5)?);
    if descriptor & 0b0010_0000 != 0 {
        // All of what comes out is the window.
        let size = zstd_safe::get_frame_content_size(body).ok()??;
        return Some(usize::try_from(size).unwrap_or(usize::MAX));
    }
    let base = 1usize.checked_shl(10 + u32::from(window >> 3)).unwrap_or(usize::MAX / 2);
    Some(base.saturating_add(base / 8 * usize::from(window & 7)))
}

async fn drain(
    mut decoder: impl Read,
    compressed: usize,
    limit: usize,
    meter: &mut impl Meter,
) -> Result<Bytes, Broken> {
    // One byte more than allowed tells that there is more.
    let most = limit.saturating_add(1);
    let (mut out, mut counted) = (Vec::new(), 0);
    let mut wanted = compressed.saturating_mul(FIRST_GUESS).min(most);
    loop {
        // What it grows to is what it takes, whether or not it is filled.
        count(wanted.min(limit), &mut counted, meter).await?;
        out.reserve_exact(wanted.saturating_sub(out.len()));
        let room = (most - out.len()).min(SLICE_BYTES);
        let read = decoder.by_ref().take(room as u64).read_to_end(&mut out)?;
        if out.len() > limit {
            return Err(Broken::TooLarge { limit });
        }
        if read < room {
            count(out.capacity().min(limit), &mut counted, meter).await?;
            return Ok(out.into());
        }
        if out.capacity() - out.len() < SLICE_BYTES {
            wanted = (out.capacity() + (out.capacity() / 2).max(SLICE_BYTES)).min(most);
        }
        tokio::task::yield_now().await;
    }
}

/// Counts up to so many bytes.
async fn count(bytes: usize, counted: &mut usize, meter: &mut impl Meter) -> Result<(), Broken> {
    let more = bytes.saturating_sub(*counted);
    *counted += more;
    if meter.grow(more).await { Ok(()) } else { Err(Broken::NoRoom) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Room for so many bytes.
    struct Room(usize);

    impl Meter for Room {
        async fn grow(&mut self, bytes: usize) -> bool {
            let left = self.0.checked_sub(bytes);
            self.0 = left.unwrap_or(self.0);
            left.is_some()
        }

        fn give_back(&mut self, bytes: usize) {
            self.0 += bytes;
        }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// `printf 'spans' | gzip -n`, `… | zstd`, and RFC 1950 by hand (a stored block).
    const GZIP: &[u8] =
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x2b\x2e\x48\xcc\x2b\x06\x00\x26\x0a\x08\x68\x05\x00\x00\x00";
    const ZLIB: &[u8] = b"\x78\x01\x01\x05\x00\xfa\xff\x73\x70\x61\x6e\x73\x06\x76\x02\x26";

    /// What zstd's own default asks for beside what comes out, at most.
    const WINDOW: usize = 2 << 20;

    #[test]
    fn a_window_of_zstd_has_to_have_room_as_long_as_it_is_used() {
        // RFC 8878 by hand: a frame with a window of 2^20 and one of 1.5 * 2^13 bytes, each with one last raw
        // block of a byte; a frame of one segment of 3 bytes; one to be skipped.
        let large = b"\x28\xb5\x2f\xfd\x00\x50\x09\x00\x00a";
        let small = b"\x28\xb5\x2f\xfd\x00\x1c\x09\x00\x00b";
        let segment = b"\x28\xb5\x2f\xfd\x20\x03\x19\x00\x00cde";
        let skipped = b"\x50\x2a\x4d\x18\x02\x00\x00\x00xx";
        assert_eq!(zstd_window(large), 1 << 20);
        assert_eq!(zstd_window(small), 12_288);
        assert_eq!(zstd_window(segment), 3);
        let all = [&skipped[..], small, segment, large].concat();
        assert_eq!(zstd_window(&all), 1 << 20);
        assert_eq!(zstd_window(b"no frame"), 0);
        let mut room = Room((1 << 20) + 5);
        let out = run(Encoding::Zstd.decompress(all.clone().into(), 5, &mut room)).unwrap();
        assert_eq!((out, room.0), (Bytes::from_static(b"bcdea"), 1 << 20));
        let too_little = run(Encoding::Zstd.decompress(all.into(), 5, &mut Room((1 << 20) - 1)));
        assert!(matches!(too_little, Err(Broken::NoRoom)));
    }

    #[test]
    fn what_other_programs_compressed_is_read() {
        let plain = Bytes::from_static(b"spans");
        assert_eq!(run(Encoding::Gzip.decompress(Bytes::from_static(GZIP), 5, &mut Room(5))).unwrap(), plain);
        assert_eq!(run(Encoding::Zlib.decompress(Bytes::from_static(ZLIB), 5, &mut Room(5))).unwrap(), plain);
    }

    #[test]
    fn the_limit_holds_after_decompression_in_every_encoding() {
        let zeros = [Bytes::from(vec![0; 1_000_000])];
        for encoding in [Encoding::Gzip, Encoding::Zlib, Encoding::Zstd] {
            let body = Bytes::from(encoding.compress(&zeros).unwrap());
            assert!(body.len() < 10_000, "{encoding:?}");
            let window = if encoding == Encoding::Zstd { WINDOW } else { 0 };
            assert_eq!(
                run(encoding.decompress(body.clone(), 1_000_000, &mut Room(1_000_000 + window))).unwrap(),
                zeros.concat(),
                "{encoding:?}"
            );
            assert!(
                matches!(
                    run(encoding.decompress(body.clone(), 999_999, &mut Room(1_000_000 + window))),
                    Err(Broken::TooLarge { limit: 999_999 })
                ),
                "{encoding:?}"
            );
            // Refused as it comes out, long before the end.
            let mut little = Room(300_000 + window);
            assert!(matches!(run(encoding.decompress(body, 1_000_000, &mut little)), Err(Broken::NoRoom)));
            assert!(little.0 < 300_000 + window, "{encoding:?}");
        }
    }

    #[test]
    fn a_body_that_ends_early_or_lies_is_corrupt() {
        for encoding in [Encoding::Gzip, Encoding::Zlib, Encoding::Zstd] {
            let whole = encoding.compress(&[Bytes::from_static(b"some spans, some more spans")]).unwrap();
            let cut = Bytes::copy_from_slice(whole.split_last().unwrap().1);
            assert!(
                matches!(run(encoding.decompress(cut, 1000, &mut Room(1000 + WINDOW))), Err(Broken::Corrupt(_))),
                "{encoding:?}"
            );
            assert!(
                matches!(
                    run(encoding.decompress(Bytes::from_static(b"plain text"), 1000, &mut Room(1000 + WINDOW))),
                    Err(Broken::Corrupt(_))
                ),
                "{encoding:?}"
            );
        }
    }
}

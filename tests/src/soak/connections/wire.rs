//! Bytes of HTTP/2 and HTTP/1 as no proper client would send them.

use std::io::Write as _;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::codec::EXPORT;
use crate::http2;
pub(super) use crate::http2::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, MAX_FRAME, header};

/// What a client's connection begins with, and empty settings.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What comes out of a bomb, in pieces that are packed one by one.
const BOMB_PIECES: usize = 1024;
const BOMB_PIECE: usize = 1 << 20;

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    http2::put(&mut frame, kind, flags, stream, payload);
    frame
}

/// The head of an OTLP request over gRPC, whose body is still to come.
pub(super) fn head(stream: u32) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", EXPORT),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let block: Vec<u8> = headers.iter().flat_map(|(name, value)| header(name, value)).collect();
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// The head of an OTLP request over HTTP/1 with a body of so many bytes.
pub(super) fn http1_head(length: usize, more: &str) -> String {
    format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {length}\r\n{more}\r\n"
    )
}

/// Bodies of which 1 GiB comes out, with what they are packed by.
pub(super) fn bombs() -> Result<[(&'static str, Vec<u8>); 2]> {
    let zeros = vec![0; BOMB_PIECE];
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&zeros)?;
    Ok([
        ("gzip", packer.finish()?.repeat(BOMB_PIECES)),
        ("zstd", zstd::encode_all(&zeros[..], 19)?.repeat(BOMB_PIECES)),
    ])
}

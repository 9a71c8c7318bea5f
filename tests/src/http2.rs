//! Frames of HTTP/2 (RFC 9113) as bytes: for programs that must cost next to nothing, and for what no
//! proper client would send.

use anyhow::{Context as _, Result, bail, ensure};

/// What a client's connection begins with.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (section 6).
pub const DATA: u8 = 0;
/// Begins a stream, or ends it.
pub const HEADERS: u8 = 1;
/// Breaks a stream off.
pub const RST_STREAM: u8 = 3;
/// What the peer must know.
pub const SETTINGS: u8 = 4;
/// Wants to be answered.
pub const PING: u8 = 6;
/// The peer is going.
pub const GOAWAY: u8 = 7;
/// There is more room.
pub const WINDOW_UPDATE: u8 = 8;
/// The rest of a header block.
pub const CONTINUATION: u8 = 9;

/// The sender's last frame of a stream.
pub const END_STREAM: u8 = 1;
/// An answer to SETTINGS or PING.
pub const ACK: u8 = 1;
/// The header block is whole.
pub const END_HEADERS: u8 = 4;
/// There are bytes around the payload that say nothing.
pub const PADDED: u8 = 8;
/// HEADERS begin with a priority.
pub const PRIORITY: u8 = 0x20;

/// Settings (section 6.5.2): the size of the table of headers, in bytes.
pub const HEADER_TABLE_SIZE: u16 = 1;
/// Whether a server may push.
pub const ENABLE_PUSH: u16 = 2;
/// How many streams may be open at a time.
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
/// The window of a new stream, in bytes.
pub const INITIAL_WINDOW_SIZE: u16 = 4;
/// The largest payload of a frame, in bytes.
pub const MAX_FRAME_SIZE: u16 = 5;

/// Both windows, unless one is told otherwise.
pub const WINDOW: u32 = 65_535;

/// The largest payload that everybody takes.
pub const MAX_FRAME: usize = 16_384;

/// The table of headers, unless one is told otherwise.
pub const TABLE_BYTES: u32 = 4096;

/// The length of a frame's head.
const HEAD: usize = 9;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How long its payload is.
    pub length: usize,
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
}

impl Head {
    fn read(head: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Self { length, kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff }
    }
}

/// Writes the head of a frame; the payload of `length` bytes follows.
pub fn put_head(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, length: usize) {
    let [_, length @ ..] = (length as u32).to_be_bytes();
    out.extend(length);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
}

/// Writes a frame.
pub fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    put_head(out, kind, flags, stream, payload.len());
    out.extend_from_slice(payload);
}

/// Writes SETTINGS.
pub fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    put_head(out, SETTINGS, 0, 0, settings.len() * 6);
    for (name, value) in settings {
        out.extend(name.to_be_bytes());
        out.extend(value.to_be_bytes());
    }
}

/// The settings in the payload of a frame.
///
/// # Errors
/// When there is half a setting.
pub fn settings(payload: &[u8]) -> Result<impl Iterator<Item = (u16, u32)>> {
    let (settings, rest) = payload.as_chunks::<6>();
    ensure!(rest.is_empty(), "SETTINGS that are cut off");
    Ok(settings.iter().map(|&[a, b, value @ ..]| (u16::from_be_bytes([a, b]), u32::from_be_bytes(value))))
}

/// The number that the payload of `WINDOW_UPDATE` or `RST_STREAM` is.
///
/// # Errors
/// When it is not four bytes.
pub fn number(payload: &[u8]) -> Result<u32> {
    Ok(u32::from_be_bytes(payload.try_into().context("a frame that is no number")?))
}

/// A header, literally and without Huffman's code, and not to be remembered (RFC 7541, section 6.2.2).
pub fn header(name: &str, value: &str) -> Vec<u8> {
    literal(0, name, value)
}

fn literal(kind: u8, name: &str, value: &str) -> Vec<u8> {
    debug_assert!(name.len() < 0x7f && value.len() < 0x7f, "one byte is enough for the lengths");
    [&[kind, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// Header blocks that are always the same: most of it is in the peer's table once it was sent, as it is
/// with proper peers, and the peer must not have less work than with those.
#[derive(Debug, Clone)]
pub struct Block {
    /// The block when it is sent for the first time on a connection.
    pub first: Vec<u8>,
    /// And from then on.
    pub later: Vec<u8>,
}

impl Block {
    /// Of what everybody's table has (by its bytes), and of headers of one's own. `newer` is how many others
    /// the peer is to remember after these.
    pub fn new(known: &[u8], own: &[(&str, &str)], newer: usize) -> Self {
        /// The first place in the table that headers of one's own have: the newest is here.
        const NEWEST: usize = 62;
        let (mut first, mut later) = (known.to_vec(), known.to_vec());
        for (number, (name, value)) in own.iter().enumerate() {
            first.extend(literal(0x40, name, value));
            later.push(0x80 | (NEWEST + newer + own.len() - 1 - number) as u8);
        }
        Self { first, later }
    }
}

/// Who is told what comes.
pub trait Peer {
    /// A piece of what DATA frames of a stream bring. `is_last` says that the stream ends with it.
    ///
    /// # Errors
    /// When it cannot go on.
    fn data(&mut self, stream: u32, piece: &[u8], is_last: bool) -> Result<()>;

    /// Any other frame.
    ///
    /// # Errors
    /// When it cannot go on.
    fn frame(&mut self, head: Head, payload: &[u8]) -> Result<()>;
}

/// Takes the bytes of a connection apart into frames, in whatever pieces they come. DATA is passed on as it
/// comes, without a copy.
#[derive(Debug, Default)]
pub struct Frames {
    /// The beginning of a frame that is cut off.
    held: Vec<u8>,
    /// A DATA frame that we are in, and how much of it is to come.
    data: Option<(Head, usize)>,
}

impl Frames {
    /// Reads the next piece.
    ///
    /// # Errors
    /// When it is not HTTP/2, what is not supported, or the peer's.
    pub fn read(&mut self, mut piece: &[u8], peer: &mut impl Peer) -> Result<()> {
        loop {
            if let Some((head, left)) = self.data {
                let (payload, rest) = piece.split_at(left.min(piece.len()));
                let left = left - payload.len();
                self.data = (left > 0).then_some((head, left));
                peer.data(head.stream, payload, left == 0 && head.flags & END_STREAM != 0)?;
                piece = rest;
                if left > 0 {
                    return Ok(());
                }
            }
            if self.held.is_empty() {
                let Some((head, rest)) = piece.split_first_chunk::<HEAD>() else {
                    self.held.extend_from_slice(piece);
                    return Ok(());
                };
                let frame = checked(Head::read(*head))?;
                if frame.kind == DATA {
                    self.data = Some((frame, frame.length));
                    piece = rest;
                } else if let Some((payload, rest)) = rest.split_at_checked(frame.length) {
                    peer.frame(frame, payload)?;
                    piece = rest;
                } else {
                    self.held.extend_from_slice(piece);
                    return Ok(());
                }
                continue;
            }
            let Some(head) = self.top_up(HEAD, &mut piece) else { return Ok(()) };
            let head = checked(head)?;
            if head.kind == DATA {
                self.data = Some((head, head.length));
            } else if self.top_up(HEAD + head.length, &mut piece).is_some() {
                peer.frame(head, self.held.get(HEAD..).unwrap_or_default())?;
            } else {
                return Ok(());
            }
            self.held.clear();
        }
    }

    /// Whether nothing is cut off.
    pub fn is_between(&self) -> bool {
        self.held.is_empty() && self.data.is_none()
    }

    /// Holds so much of a frame, if it has come, and gives its head.
    fn top_up(&mut self, wanted: usize, piece: &mut &[u8]) -> Option<Head> {
        let missing = wanted.saturating_sub(self.held.len());
        let (more, rest) = piece.split_at(missing.min(piece.len()));
        self.held.extend_from_slice(more);
        *piece = rest;
        let head = *self.held.first_chunk()?;
        (more.len() == missing).then(|| Head::read(head))
    }
}

fn checked(head: Head) -> Result<Head> {
    ensure!(head.length <= MAX_FRAME, "a frame of {} bytes, which nobody has allowed", head.length);
    if matches!(head.kind, DATA | HEADERS) && head.flags & PADDED != 0 {
        bail!("padding is not supported");
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Notes what it is told; pieces of one DATA frame are put together.
    #[derive(Default, Debug, PartialEq)]
    struct Noted {
        data: Vec<u8>,
        ended: Vec<u32>,
        frames: Vec<(Head, Vec<u8>)>,
    }

    impl Peer for Noted {
        fn data(&mut self, stream: u32, piece: &[u8], is_last: bool) -> Result<()> {
            self.data.extend_from_slice(piece);
            self.ended.extend(is_last.then_some(stream));
            Ok(())
        }

        fn frame(&mut self, head: Head, payload: &[u8]) -> Result<()> {
            self.frames.push((head, payload.to_vec()));
            Ok(())
        }
    }

    /// Written by hand from RFC 9113: SETTINGS with one setting, HEADERS, DATA in two frames, of which the
    /// last one is empty and ends the stream, and an empty acknowledgement.
    const WIRE: &[u8] = &[
        0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0x40, 0, // SETTINGS
        0, 0, 1, 1, 4, 0, 0, 0, 3, 0x88, // HEADERS
        0, 0, 4, 0, 0, 0, 0, 0, 3, b'a', b'b', b'c', b'd', // DATA
        0, 0, 0, 0, 1, 0, 0, 0, 3, // DATA, the end
        0, 0, 0, 4, 1, 0, 0, 0, 0, // SETTINGS, acknowledged
    ];

    #[test]
    fn frames_are_the_same_in_pieces_of_any_size() {
        let setting = vec![0, 5, 0, 0, 0x40, 0];
        let expected = Noted {
            data: b"abcd".to_vec(),
            ended: vec![3],
            frames: vec![
                (Head { length: 6, kind: SETTINGS, flags: 0, stream: 0 }, setting.clone()),
                (Head { length: 1, kind: HEADERS, flags: END_HEADERS, stream: 3 }, vec![0x88]),
                (Head { length: 0, kind: SETTINGS, flags: ACK, stream: 0 }, vec![]),
            ],
        };
        for size in 1..=WIRE.len() {
            let (mut frames, mut noted) = (Frames::default(), Noted::default());
            WIRE.chunks(size).try_for_each(|piece| frames.read(piece, &mut noted)).unwrap();
            assert_eq!(noted, expected, "pieces of {size}");
            assert!(frames.is_between());
        }
        assert_eq!(settings(&setting).unwrap().collect::<Vec<_>>(), [(MAX_FRAME_SIZE, 16_384)]);
    }

    #[test]
    fn a_frame_that_is_cut_off_is_known_to_be() {
        for end in [5, 12, 20, 24, 30, 36] {
            let mut frames = Frames::default();
            frames.read(&WIRE[..end], &mut Noted::default()).unwrap();
            assert!(!frames.is_between(), "cut off at {end}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut wire = Vec::new();
        put_settings(&mut wire, &[(MAX_FRAME_SIZE, 16_384)]);
        put(&mut wire, HEADERS, END_HEADERS, 3, &[0x88]);
        put(&mut wire, DATA, 0, 3, b"abcd");
        put(&mut wire, DATA, END_STREAM, 3, b"");
        put(&mut wire, SETTINGS, ACK, 0, b"");
        assert_eq!(wire, WIRE);
    }

    #[test]
    fn what_nobody_has_allowed_is_an_error() {
        let mut noted = Noted::default();
        let too_long = [0, 0x40, 1, DATA, 0, 0, 0, 0, 1];
        let padded = [0, 0, 1, DATA, PADDED, 0, 0, 0, 1, 0];
        for wire in [&too_long[..], &padded] {
            assert!(Frames::default().read(wire, &mut noted).is_err());
            let mut frames = Frames::default();
            assert!(wire.chunks(4).any(|piece| frames.read(piece, &mut noted).is_err()));
        }
        assert_eq!(noted, Noted::default());
        assert!(settings(&[0; 7]).is_err() && number(&[0; 3]).is_err());
    }
}

//! The client's side of one connection.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use httlib_hpack::Decoder;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::Load;
use super::outbox::Outbox;
use crate::codec::EXPORT;
use crate::http2::{self, Block, Frames, Head, Peer};

/// gRPC's codes for: taken, and not now, try again.
const OK: &[u8] = b"0";
const UNAVAILABLE: &[u8] = b"14";

/// `:method: POST` and `:scheme: http` in the table that everybody has (RFC 7541, appendix A).
const POST_HTTP: &[u8] = &[0x83, 0x86];

/// The server is told of new room when so much of a window is used up.
const TELL_BYTES: u32 = http2::WINDOW / 2;

/// An answer to a worker's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub worker: usize,
    /// Or refused for now.
    pub is_taken: bool,
}

pub(super) struct Connection {
    stream: TcpStream,
    /// Whether the system took all that it was given last.
    is_writable: bool,
    frames: Frames,
    client: Client,
}

/// A request whose stream is open.
#[derive(Debug)]
struct Open {
    worker: usize,
    /// What of its message is not in frames yet.
    rest: Bytes,
    /// How many bytes more the server takes.
    window: i64,
    /// How many bytes of its answer came.
    taken: u32,
    /// What the answer says so far.
    status: Option<Vec<u8>>,
    message: Vec<u8>,
}

/// The state of HTTP/2.
struct Client {
    outbox: Outbox,
    /// The head of every request.
    head: Block,
    decoder: Decoder<'static>,
    /// Requests whose stream cannot be opened yet.
    waiting: VecDeque<(usize, Bytes)>,
    /// Streams by their number, from `first` on: 1, 3, 5… None is answered.
    open: VecDeque<Option<Open>>,
    first: u32,
    /// How many of them are open.
    opened: usize,
    /// Before this place in `open` all have their messages in frames.
    sending: usize,
    /// How many bytes more the server takes on the connection.
    window: i64,
    /// Bytes that came since the server was last told of room.
    taken: u32,
    /// How many streams may be open; nothing before the server has said what it allows.
    most_open: Option<usize>,
    initial_window: u32,
    frame_bytes: usize,
    answers: Vec<Answer>,
}

impl Connection {
    /// Connects and begins to speak.
    pub fn open(load: &Load, registry: &Registry, token: Token) -> Result<Self> {
        let stream = std::net::TcpStream::connect(load.target).with_context(|| load.target.to_string())?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, is_writable: true, frames: Frames::default(), client: Client::new(load) })
    }

    /// Sends a request when its turn comes.
    pub fn request(&mut self, worker: usize, message: Bytes) {
        self.client.waiting.push_back((worker, message));
    }

    /// Notes what the system said of it.
    pub fn seen(&mut self, is_writable: bool) {
        self.is_writable |= is_writable;
    }

    /// Writes as much as server and system take.
    pub fn flush(&mut self) -> Result<()> {
        self.client.fill()?;
        if self.is_writable {
            self.is_writable = self.client.outbox.write(&mut self.stream).map_err(broken)?;
        }
        Ok(())
    }

    /// Reads all that is there, and adds the answers in it.
    pub fn read(&mut self, buffer: &mut [u8], answers: &mut Vec<Answer>) -> Result<()> {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => bail!("the server has closed the connection"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(broken(error)),
            };
            self.frames.read(buffer.get(..read).unwrap_or_default(), &mut self.client)?;
            // What comes after less than could be read is told of anew.
            if read < buffer.len() {
                break;
            }
        }
        answers.append(&mut self.client.answers);
        Ok(())
    }
}

fn broken(error: io::Error) -> anyhow::Error {
    anyhow::Error::from(error).context("the connection broke")
}

impl Client {
    fn new(load: &Load) -> Self {
        let target = load.target.to_string();
        let mut own = vec![(":authority", &*target), (":path", EXPORT)];
        own.extend([("content-type", "application/grpc"), ("te", "trailers")]);
        own.extend(load.gzip.then_some(("grpc-encoding", "gzip")));
        let mut greeting = http2::PREFACE.to_vec();
        http2::put_settings(&mut greeting, &[(http2::ENABLE_PUSH, 0)]);
        let mut outbox = Outbox::default();
        outbox.push(greeting.into());
        Self {
            outbox,
            head: Block::new(POST_HTTP, &own, 0),
            decoder: Decoder::default(),
            waiting: VecDeque::new(),
            open: VecDeque::new(),
            first: 1,
            opened: 0,
            sending: 0,
            window: i64::from(http2::WINDOW),
            taken: 0,
            most_open: None,
            initial_window: http2::WINDOW,
            frame_bytes: http2::MAX_FRAME,
            answers: Vec::new(),
        }
    }

    /// The stream of a place in `open`.
    fn stream(&self, place: usize) -> Result<u32> {
        let stream = u64::from(self.first) + 2 * place as u64;
        u32::try_from(stream).ok().filter(|stream| stream >> 31 == 0).context("a connection has no streams left")
    }

    /// The request of a stream, if it waits for its answer.
    fn open(&mut self, stream: u32) -> Option<&mut Open> {
        let place = stream.checked_sub(self.first)? / 2;
        self.open.get_mut(place as usize)?.as_mut()
    }

    /// Puts what the server takes into frames: whole requests one after the other.
    fn fill(&mut self) -> Result<()> {
        loop {
            if self.sending == self.open.len() && !self.begin()? {
                return Ok(());
            }
            let stream = self.stream(self.sending)?;
            if let Some(Some(open)) = self.open.get_mut(self.sending) {
                while !open.rest.is_empty() {
                    let room = usize::try_from(self.window.min(open.window)).unwrap_or(0);
                    let length = open.rest.len().min(room).min(self.frame_bytes);
                    if length == 0 {
                        return Ok(());
                    }
                    let piece = open.rest.split_to(length);
                    open.window -= length as i64;
                    self.window -= length as i64;
                    let flags = if open.rest.is_empty() { http2::END_STREAM } else { 0 };
                    let mut head = Vec::with_capacity(16);
                    http2::put_head(&mut head, http2::DATA, flags, stream, length);
                    self.outbox.push(head.into());
                    self.outbox.push(piece);
                }
            }
            self.sending += 1;
        }
    }

    /// Opens the stream of the next request, if there is one and it may.
    fn begin(&mut self) -> Result<bool> {
        if self.most_open.is_none_or(|most| self.opened >= most) {
            return Ok(false);
        }
        let Some((worker, rest)) = self.waiting.pop_front() else { return Ok(false) };
        let stream = self.stream(self.open.len())?;
        let block = if stream == 1 { &self.head.first } else { &self.head.later };
        let mut head = Vec::with_capacity(32);
        http2::put(&mut head, http2::HEADERS, http2::END_HEADERS, stream, block);
        self.outbox.push(head.into());
        let window = i64::from(self.initial_window);
        self.open.push_back(Some(Open { worker, rest, window, taken: 0, status: None, message: Vec::new() }));
        self.opened += 1;
        Ok(true)
    }

    fn control(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = Vec::with_capacity(32);
        http2::put(&mut frame, kind, flags, stream, payload);
        self.outbox.push(frame.into());
    }

    fn settings(&mut self, payload: &[u8]) -> Result<()> {
        self.most_open.get_or_insert(usize::MAX);
        for (setting, value) in http2::settings(payload)? {
            match setting {
                http2::HEADER_TABLE_SIZE => {
                    ensure!(value >= http2::TABLE_BYTES, "a table of headers of {value} bytes is not supported");
                }
                http2::MAX_CONCURRENT_STREAMS => self.most_open = Some(value as usize),
                http2::MAX_FRAME_SIZE => self.frame_bytes = (value as usize).max(http2::MAX_FRAME),
                http2::INITIAL_WINDOW_SIZE => {
                    // It holds for open streams, too, whose windows may become negative.
                    let more = i64::from(value) - i64::from(self.initial_window);
                    self.initial_window = value;
                    self.open.iter_mut().flatten().for_each(|open| open.window += more);
                }
                _ => {}
            }
        }
        self.control(http2::SETTINGS, http2::ACK, 0, &[]);
        Ok(())
    }

    /// Notes what headers or trailers of an answer say.
    fn headers(&mut self, head: Head, block: &[u8]) -> Result<()> {
        ensure!(head.flags & http2::END_HEADERS != 0, "headers in several frames are not supported");
        let block = if head.flags & http2::PRIORITY == 0 { block } else { block.get(5..).unwrap_or_default() };
        // Every block has to be read, whatever it is of: it says what the next ones mean.
        let (mut block, mut fields) = (block.to_vec(), Vec::new());
        self.decoder.decode(&mut block, &mut fields).context("headers of an answer")?;
        let Some(open) = self.open(head.stream) else { return Ok(()) };
        for (name, value, _) in fields {
            match &*name {
                b"grpc-status" => open.status = Some(value),
                b"grpc-message" => open.message = value,
                _ => {}
            }
        }
        if head.flags & http2::END_STREAM != 0 { self.ended(head.stream) } else { Ok(()) }
    }

    /// An answer is whole.
    fn ended(&mut self, stream: u32) -> Result<()> {
        let place = stream.checked_sub(self.first).context("a stream that is there")? as usize / 2;
        let open = self.open.get_mut(place).and_then(Option::take).context("a stream that is there")?;
        self.opened -= 1;
        while let Some(None) = self.open.front() {
            self.open.pop_front();
            self.first += 2;
            self.sending = self.sending.saturating_sub(1);
        }
        let is_taken = match open.status.as_deref().context("an answer without a status")? {
            OK => true,
            UNAVAILABLE => false,
            other => bail!(
                "answered with status {}: {}",
                String::from_utf8_lossy(other),
                String::from_utf8_lossy(&open.message)
            ),
        };
        if !open.rest.is_empty() {
            ensure!(!is_taken, "a request was taken before all of it was sent");
            self.control(http2::RST_STREAM, 0, stream, &8u32.to_be_bytes());
        }
        self.answers.push(Answer { worker: open.worker, is_taken });
        Ok(())
    }
}

impl Peer for Client {
    fn data(&mut self, stream: u32, piece: &[u8], is_last: bool) -> Result<()> {
        self.taken += piece.len() as u32;
        if self.taken >= TELL_BYTES {
            let taken = std::mem::take(&mut self.taken);
            self.control(http2::WINDOW_UPDATE, 0, 0, &taken.to_be_bytes());
        }
        let Some(open) = self.open(stream) else { return Ok(()) };
        open.taken += piece.len() as u32;
        ensure!(open.taken < http2::WINDOW, "an answer of 64 KiB is not supported");
        if is_last { self.ended(stream) } else { Ok(()) }
    }

    fn frame(&mut self, head: Head, payload: &[u8]) -> Result<()> {
        let is_ack = head.flags & http2::ACK != 0;
        match head.kind {
            http2::HEADERS => self.headers(head, payload)?,
            http2::SETTINGS if !is_ack => self.settings(payload)?,
            http2::PING if !is_ack => self.control(http2::PING, http2::ACK, 0, payload),
            http2::WINDOW_UPDATE => {
                let more = i64::from(http2::number(payload)?);
                if head.stream == 0 {
                    self.window += more;
                } else if let Some(open) = self.open(head.stream) {
                    open.window += more;
                }
            }
            // After it was answered, a server may break off what is still on its way.
            http2::RST_STREAM if self.open(head.stream).is_some() => {
                bail!("the server broke a request off with code {}", http2::number(payload)?)
            }
            http2::GOAWAY => bail!("the server is going"),
            _ => {}
        }
        Ok(())
    }
}

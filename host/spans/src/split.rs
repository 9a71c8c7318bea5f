//! Cutting a batch into parts, and joining parts again.
//!
//! A part has its own copies of the resource and scope that its spans belong to, so cutting
//! multiplies them. Hostile input, one huge resource and very many spans, must not be multiplied
//! without bound: once the copies have used up an allowance, parts grow instead.

use bytes::Bytes;

use crate::encode::written;
use crate::wire::{Frame, LEN, close_frame, fields, open_frame, put_bytes, put_frame, put_key};
use crate::{Batch, Edits, Table, Verdict, count_spans};

/// How many times the size of the input the copies of resources and scopes may come to before
/// limits are exceeded instead.
pub(crate) const COPIES: usize = 4;

impl Batch {
    /// Cuts the batch into parts of at most `max_spans` spans, in order. A batch that is small
    /// enough is the one part, as it is; one that was edited is encoded first. Parts are larger
    /// only if copying resources and scopes would come to more than four times the input.
    pub fn slices(mut self, max_spans: usize) -> Vec<Self> {
        if self.spans() as usize <= max_spans.max(1) {
            return vec![self];
        }
        let wire = self.encode();
        let limits = Limits { max_spans: max_spans.max(1), max_bytes: usize::MAX };
        let verdict = self.verdict;
        let of_part = |(part, spans)| Self::from_validated(part, Verdict { spans, ..verdict });
        cut(&wire, limits).into_iter().map(of_part).collect()
    }
}

impl Batch {
    /// The spans that `keep` says, by their row, as a batch of its own with its own copies of their
    /// resources and scopes. Of what the request holds beside spans every part has a copy.
    #[must_use]
    pub fn part(&mut self, keep: impl Fn(u32) -> bool) -> Self {
        let wire = self.encode();
        let mut part = Self::from_validated(wire, self.verdict);
        let others: Vec<u32> = (0..part.len(Table::Spans) as u32).filter(|row| !keep(*row)).collect();
        let mut edits = Edits::new();
        // Rows that were just counted are there.
        if edits.drop_rows(&mut part, Table::Spans, &others).is_ok() {
            part.commit(edits);
        }
        let wire = part.encode();
        Self::from_validated(wire, part.verdict)
    }
}

impl Batch {
    /// Deals the spans out into `parts` batches, each with its own copies of their resources and scopes:
    /// `to` says for each row into which. Order is kept within a part. Spans of a row that `to` does not
    /// name, and what the request holds beside spans, are in the first.
    pub fn divide(mut self, to: &[u8], parts: usize) -> Vec<Self> {
        let (wire, verdict) = (self.encode(), self.verdict);
        let of_hand = |hand: Hand| Self::from_validated(written(hand.out), Verdict { spans: hand.spans, ..verdict });
        deal(&wire, to, parts.max(1)).into_iter().map(of_hand).collect()
    }

    /// Puts parts of one batch together again, one after the other; see [`join`].
    #[must_use]
    pub fn joined(parts: Vec<Self>) -> Self {
        let mut parts: Vec<_> = parts.into_iter().filter(|part| part.wire_len() > 0).collect();
        if parts.len() == 1 {
            return parts.pop().unwrap_or_default();
        }
        let verdict = parts.iter().map(Self::verdict).fold(Verdict::default(), |all, part| Verdict {
            spans: all.spans + part.spans,
            irregular: all.irregular | part.irregular,
            unknown: all.unknown | part.unknown,
        });
        Self::from_validated(join(parts.iter_mut().map(Self::encode).collect()), verdict)
    }
}

/// A part that spans are dealt to.
#[derive(Clone)]
struct Hand {
    out: Vec<u8>,
    spans: u32,
    resource: Wrapper,
    scope: Wrapper,
}

impl Hand {
    fn open(&mut self) {
        self.resource.open(&mut self.out);
        self.scope.open(&mut self.out);
    }
}

/// The parts; see [`Batch::divide`].
fn deal(wire: &[u8], to: &[u8], count: usize) -> Vec<Hand> {
    let (resource, scope) = (Wrapper::new(&[], 1), Wrapper::new(&[], 2));
    let mut hands = vec![Hand { out: Vec::new(), spans: 0, resource, scope }; count];
    let mut to = to.iter().map(|&part| usize::from(part)).chain(std::iter::repeat(0));
    for field in fields(wire) {
        if !field.is(1) {
            hands.iter_mut().take(1).for_each(|hand| hand.out.extend_from_slice(field.whole(wire)));
            continue;
        }
        let message = field.content(wire);
        let resource = Wrapper::new(message, 1);
        for hand in &mut hands {
            hand.resource.clone_from(&resource);
        }
        for scope_spans in fields(message).filter(|field| field.is(2)) {
            let message = scope_spans.content(message);
            let scope = Wrapper::new(message, 2);
            for hand in &mut hands {
                hand.scope.clone_from(&scope);
            }
            for (span, part) in fields(message).filter(|field| field.is(2)).zip(&mut to) {
                let part = if part < count { part } else { 0 };
                if let Some(hand) = hands.get_mut(part) {
                    hand.open();
                    hand.out.extend_from_slice(span.whole(message));
                    hand.spans += 1;
                }
            }
            if !hands.iter().any(|hand| hand.scope.was_written) {
                hands.iter_mut().take(1).for_each(Hand::open);
            }
            for hand in &mut hands {
                hand.scope.close(&mut hand.out);
            }
        }
        if !hands.iter().any(|hand| hand.resource.was_written) {
            hands.iter_mut().take(1).for_each(|hand| hand.resource.open(&mut hand.out));
        }
        for hand in &mut hands {
            hand.resource.close(&mut hand.out);
        }
    }
    hands
}

/// Cuts a valid request into parts of at most `max_bytes` bytes and `max_spans` spans, in order.
/// A span that is larger goes alone. Parts are larger only if copying resources and scopes would
/// come to more than four times the input.
pub fn split_encoded(wire: Bytes, max_bytes: usize, max_spans: usize) -> Vec<Bytes> {
    let max_spans = max_spans.max(1);
    let is_small = wire.len() <= max_bytes;
    if is_small && count_spans(&wire).is_ok_and(|spans| spans as usize <= max_spans) {
        return vec![wire];
    }
    let limits = Limits { max_spans, max_bytes };
    cut(&wire, limits).into_iter().map(|part| part.0).collect()
}

#[derive(Clone, Copy)]
struct Limits {
    max_spans: usize,
    max_bytes: usize,
}

/// The parts, each with the number of its spans.
fn cut(wire: &[u8], limits: Limits) -> Vec<(Bytes, u32)> {
    let mut cutter =
        Cutter { limits, allowance: wire.len().saturating_mul(COPIES), parts: Vec::new(), out: Vec::new(), spans: 0 };
    for field in fields(wire) {
        if field.is(1) {
            cutter.resource_spans(field.content(wire));
        } else {
            cutter.out.extend_from_slice(field.whole(wire));
        }
    }
    cutter.finish()
}

/// Writes parts one after another.
struct Cutter {
    limits: Limits,
    allowance: usize,
    parts: Vec<(Bytes, u32)>,
    out: Vec<u8>,
    spans: u32,
}

/// A wrapper that is written: into each part that has something of it, or once if it has nothing.
#[derive(Clone)]
struct Wrapper {
    header: Vec<u8>,
    number: u32,
    /// Where it is in the part being written, if it was begun there.
    frame: Option<Frame>,
    was_written: bool,
}

/// Keys and lengths of two wrappers, at most.
const FRAMING: usize = 12;

impl Wrapper {
    fn new(message: &[u8], number: u32) -> Self {
        Self { header: header(message), number, frame: None, was_written: false }
    }

    fn open(&mut self, out: &mut Vec<u8>) {
        if self.frame.is_none() {
            put_key(out, self.number, LEN);
            self.frame = Some(open_frame(out, self.header.len()));
            out.extend_from_slice(&self.header);
            self.was_written = true;
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if let Some(frame) = self.frame.take() {
            close_frame(out, frame);
        }
    }

    /// What the next span costs beside itself.
    fn pending(&self) -> usize {
        if self.frame.is_none() { self.header.len() } else { 0 }
    }

    /// What another part costs.
    fn copy(&self) -> usize {
        if self.was_written { self.header.len() } else { 0 }
    }
}

impl Cutter {
    fn resource_spans(&mut self, message: &[u8]) {
        let mut resource = Wrapper::new(message, 1);
        for scope_spans in fields(message).filter(|field| field.is(2)) {
            self.scope_spans(&mut resource, scope_spans.content(message));
        }
        if !resource.was_written {
            if self.is_over(resource.header.len()) {
                self.end_part();
            }
            resource.open(&mut self.out);
        }
        resource.close(&mut self.out);
    }

    fn scope_spans(&mut self, resource: &mut Wrapper, message: &[u8]) {
        let mut scope = Wrapper::new(message, 2);
        for span in fields(message).filter(|field| field.is(2)) {
            let span = span.whole(message);
            let is_full = self.spans as usize >= self.limits.max_spans;
            self.make_room(resource, &mut scope, span.len(), is_full);
            resource.open(&mut self.out);
            scope.open(&mut self.out);
            self.out.extend_from_slice(span);
            self.spans += 1;
        }
        if !scope.was_written {
            self.make_room(resource, &mut scope, 0, false);
            resource.open(&mut self.out);
            scope.open(&mut self.out);
        }
        scope.close(&mut self.out);
    }

    /// Ends the part if it is full, or if so many bytes more would be too many for it.
    fn make_room(&mut self, resource: &mut Wrapper, scope: &mut Wrapper, more: usize, is_full: bool) {
        let copies = resource.copy() + scope.copy();
        let is_full = is_full || self.is_over(more + resource.pending() + scope.pending());
        if is_full && copies <= self.allowance {
            self.allowance -= copies;
            scope.close(&mut self.out);
            resource.close(&mut self.out);
            self.end_part();
        }
    }

    fn is_over(&self, more: usize) -> bool {
        !self.out.is_empty() && self.out.len() + more + FRAMING > self.limits.max_bytes
    }

    fn end_part(&mut self) {
        let part = std::mem::take(&mut self.out);
        self.parts.push((written(part), std::mem::take(&mut self.spans)));
    }

    fn finish(mut self) -> Vec<(Bytes, u32)> {
        if !self.out.is_empty() || self.parts.is_empty() {
            self.end_part();
        }
        self.parts
    }
}

/// All fields of a wrapper but its children.
fn header(message: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    for field in fields(message).filter(|field| !field.is(2)) {
        header.extend_from_slice(field.whole(message));
    }
    header
}

/// Joins the parts of one batch, in order. Where one part ends with the resource (and scope) with
/// which the next begins, that is written once.
pub fn join(parts: Vec<Bytes>) -> Bytes {
    let mut parts: Vec<Bytes> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    match parts.len() {
        0 => return Bytes::new(),
        1 => return parts.swap_remove(0),
        _ => {}
    }
    let mut out = Vec::with_capacity(parts.iter().map(Bytes::len).sum());
    let members: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
    join_messages(Level::Request, &members, &mut out);
    written(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Request,
    ResourceSpans,
    ScopeSpans,
}

impl Level {
    fn child(self) -> u32 {
        if self == Self::Request { 1 } else { 2 }
    }
}

/// Writes the fields of one message that has the children of all members in order. Their headers
/// are equal, but for requests, which have none beside unknown fields.
fn join_messages(level: Level, members: &[&[u8]], out: &mut Vec<u8>) {
    let below = match level {
        Level::Request => Some(Level::ResourceSpans),
        Level::ResourceSpans => Some(Level::ScopeSpans),
        Level::ScopeSpans => None,
    };
    let number = level.child();
    // The child that may go on with the first one of the next member.
    let mut open: Vec<&[u8]> = Vec::new();
    for (nth, &member) in members.iter().enumerate() {
        let writes_header = nth == 0 || level == Level::Request;
        let mut is_first = true;
        for field in fields(member) {
            if !field.is(number) {
                if writes_header {
                    out.extend_from_slice(field.whole(member));
                }
                continue;
            }
            let Some(below) = below else {
                out.extend_from_slice(field.whole(member));
                continue;
            };
            let child = field.content(member);
            let goes_on = is_first && open.last().is_some_and(|last| header(last) == header(child));
            if !goes_on {
                close_child(below, number, &mut open, out);
            }
            is_first = false;
            open.push(child);
        }
    }
    if let Some(below) = below {
        close_child(below, number, &mut open, out);
    }
}

fn close_child(level: Level, number: u32, open: &mut Vec<&[u8]>, out: &mut Vec<u8>) {
    match open.as_slice() {
        [] => {}
        [only] => put_bytes(out, number, only),
        several => {
            let guess = several.iter().map(|child| child.len()).sum();
            put_frame(out, number, guess, |out| join_messages(level, several, out));
        }
    }
    open.clear();
}

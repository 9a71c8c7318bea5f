//! Copying what lies together in one go.

/// A run of bytes of one buffer that waits to be copied in one go.
pub(crate) struct Run<'a> {
    buf: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Run<'a> {
    /// Nothing of `buf` yet.
    pub fn new(buf: &'a [u8]) -> Self {
        Self { buf, start: 0, end: 0 }
    }

    /// Adds a range that begins where the run ends, or ends the run and begins another.
    pub fn add(&mut self, start: usize, end: usize, out: &mut Vec<u8>) {
        if start != self.end {
            self.flush(out);
            self.start = start;
        }
        self.end = end;
    }

    /// Ends the run: copies it.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.buf.get(self.start..self.end).unwrap_or_default());
        self.start = self.end;
    }
}

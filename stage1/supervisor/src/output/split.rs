//! A stream's bytes as whole lines.

use memchr::memrchr;

use super::LINE_MAX;

/// Splits what is read of a stream, which may end in the midst of a line.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

impl Splitter {
    /// Passes on the lines that end in `bytes`, together, and keeps what begins there; of that,
    /// pieces of [`LINE_MAX`] bytes count as lines.
    pub(crate) fn take(&mut self, bytes: &[u8], mut pass_on: impl FnMut(&[u8])) {
        let end = memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        let (ended, begun) = bytes.split_at(end);
        if self.partial.is_empty() {
            pass_on(ended);
        } else if end > 0 {
            self.partial.extend_from_slice(ended);
            self.flush(&mut pass_on);
        }
        self.partial.extend_from_slice(begun);
        // The last piece may be followed by the line's end alone.
        let whole = self.partial.len().saturating_sub(1) / LINE_MAX * LINE_MAX;
        if whole > 0 {
            pass_on(&self.partial[..whole]);
            self.partial.drain(..whole);
        }
    }

    /// Passes on what is held, with an end or without.
    pub(crate) fn flush(&mut self, pass_on: impl FnOnce(&[u8])) {
        pass_on(&std::mem::take(&mut self.partial));
    }
}

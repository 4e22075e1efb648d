//! How long a server is waited for.

use std::io::Read;
use std::time::{Duration, Instant};

/// When a server counts as gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Without a single byte for so long.
    pub(crate) silence: Duration,
    /// Over this time a server must send `least` bytes.
    pub(crate) window: Duration,
    /// A server that sends less is not worth waiting for.
    pub(crate) least: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(60),
            window: Duration::from_secs(60),
            least: 16 << 10,
        }
    }
}

/// A body that must not dwindle.
pub(super) struct Steady<R> {
    inner: R,
    patience: Patience,
    since: Instant,
    bytes: u64,
}

impl<R> Steady<R> {
    pub(super) fn new(inner: R, patience: Patience) -> Self {
        Self {
            inner,
            patience,
            since: Instant::now(),
            bytes: 0,
        }
    }
}

impl<R: Read> Read for Steady<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let asked = Instant::now();
        // Time in which nobody asked for bytes is not the server's.
        if self.bytes == 0 {
            self.since = asked;
        }
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        if self.since.elapsed() > self.patience.window {
            // A reader that was busy with other things came late, not the server.
            let waited = asked.elapsed() > Duration::from_millis(1);
            if read > 0 && waited && self.bytes < self.patience.least {
                let kind = std::io::ErrorKind::TimedOut;
                return Err(std::io::Error::new(kind, "the server sends too slowly"));
            }
            self.since = Instant::now();
            self.bytes = 0;
        }
        Ok(read)
    }
}

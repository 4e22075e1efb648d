//! How often a transfer that breaks off is taken up again.

use std::io;
use std::time::Duration;

/// Attempts that bring nothing worth speaking of.
const ATTEMPTS: u32 = 3;
/// Bytes that are: a server that sends less before it breaks off again would do so forever.
const WORTH: u64 = 64 << 10;

/// The failures of one transfer.
#[derive(Debug, Default)]
pub(crate) struct Persistence {
    failures: u32,
    /// Where the last one was.
    failed_at: u64,
}

impl Persistence {
    /// Counts a failure after so many bytes, and waits a moment; false if it was one too many.
    pub(crate) fn again(&mut self, at: u64, fault: &io::Error) -> bool {
        if at - self.failed_at >= WORTH {
            self.failures = 0;
        }
        self.failed_at = at;
        if self.is_over() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(200 << self.failures));
        // Whoever was waited for in vain is asked once more, not three times.
        self.failures += match fault.kind() {
            io::ErrorKind::TimedOut => ATTEMPTS,
            _ => 1,
        };
        true
    }

    /// The next failure in a row is one too many.
    pub(crate) fn is_over(&self) -> bool {
        self.failures >= ATTEMPTS
    }
}

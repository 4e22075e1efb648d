//! What is left of a file that has ended or is about to, for the next one.

use super::batch::Batch;
use super::seen::Seen;
use super::writer::Writer;

/// Memory, and the thread that ends the file.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    /// Empty ones.
    pub(super) batches: Vec<Batch>,
    pub(super) seen: Seen,
    pub(super) writer: Option<Writer>,
    /// Entries that could not be published.
    pub(super) lost: u64,
}

impl Spare {
    /// Waits until the file has ended.
    pub(crate) fn wait(&mut self) {
        if let Some(writer) = self.writer.take() {
            let (batches, outcome) = writer.end();
            self.batches.extend(batches);
            self.lost += outcome.lost;
        }
    }

    /// How many entries could not be published, as far as it is known, since it was asked last.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

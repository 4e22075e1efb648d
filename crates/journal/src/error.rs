//! Why a journal cannot be written or read.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A failed operation on a journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("cannot {operation} {path}: {errno}", path = .path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        errno: Errno,
    },
    /// The file is full; the next one takes the entry.
    #[error("the journal file is full")]
    Full,
    /// What is there is no journal file, or a damaged one.
    #[error("{path} is damaged: {reason}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Error {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Io {
            operation,
            path: path.to_owned(),
            errno,
        }
    }
}

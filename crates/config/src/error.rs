//! Why the configuration cannot be used.

use std::path::PathBuf;

/// A fault in the configuration. Secrets are never part of a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is no JSON object.
    #[error("{} is not a JSON object", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// A file is longer than any configuration needs to be.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is allowed.
        limit: u64,
    },
    /// A field is missing or has the wrong form.
    #[error("field {field:?} of {} {reason}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field, with dots between the levels.
        field: &'static str,
        /// What it should be.
        reason: &'static str,
    },
    /// A kind that does not exist or does not belong into this directory.
    #[error("rktKind {kind:?} of {} is not one that belongs into {directory}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it says.
        kind: String,
        /// Where it lies.
        directory: &'static str,
    },
    /// A version that this rkt does not know.
    #[error("rktVersion {version:?} of rktKind {kind:?} in {} is not supported", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its kind.
        kind: String,
        /// What it says.
        version: String,
    },
    /// Two files of one directory say the same thing.
    #[error("{what} in {} is already defined in {}", path.display(), earlier.display())]
    Duplicate {
        /// The later file.
        path: PathBuf,
        /// The earlier one.
        earlier: PathBuf,
        /// What both define.
        what: String,
    },
}

//! The one error type of the crate.

use std::io;
use std::path::{Path, PathBuf};

use appc::Hash;
use oci::Digest;

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the store, or of an image being written, could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb: `read`, `create`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The bytes given to an import, or taken by an export, stopped with an error.
    #[error("cannot {action} the image: {source}")]
    Stream {
        /// `read` or `write`.
        action: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// The bytes are no App Container Image.
    #[error("not an App Container Image: {reason}")]
    NotAnAci {
        /// What is wrong with the bytes as a whole.
        reason: String,
    },
    /// The image manifest breaks a rule of the App Container specification.
    #[error("invalid image manifest: {0}")]
    Manifest(#[from] appc::Error),
    /// The archive or its compressed stream ends too early.
    #[error("the image is truncated: {reason}")]
    Truncated {
        /// Where it ends.
        reason: String,
    },
    /// The compressed stream is damaged.
    #[error("the image's {format} stream is damaged: {source}")]
    Compression {
        /// `gzip`, `bzip2`, `xz` or `zstd`.
        format: &'static str,
        /// The decoder's reason.
        source: io::Error,
    },
    /// An entry of the archive is damaged, hostile, or cannot be written.
    #[error("refused archive entry {entry:?}: {reason}")]
    Entry {
        /// The entry's name, shortened when very long.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A limit of [`crate::Limits`] was exceeded.
    #[error("the image is too large: more than {limit} {what}")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// How much was allowed.
        limit: u64,
    },
    /// The image's bytes have another digest than the one asked for.
    #[error("the image is {found}, not {expected} as asked for")]
    WrongImage {
        /// The digest asked for.
        expected: Hash,
        /// The digest of the bytes.
        found: Hash,
    },
    /// A blob no longer has the digest it is stored under.
    #[error(
        "image {id} was changed on disk (its bytes are {found} now); remove and fetch it again"
    )]
    Changed {
        /// The name of the blob.
        id: Hash,
        /// What its bytes hash to.
        found: Hash,
    },
    /// No image answers to this ID, prefix or name.
    #[error("no image {0:?} in the store")]
    NotFound(String),
    /// The text is neither an image ID nor the beginning of one.
    #[error("invalid image ID {text:?}: {reason}")]
    BadId {
        /// The text.
        text: String,
        /// The broken rule.
        reason: &'static str,
    },
    /// Several images begin with this prefix.
    #[error("image ID {prefix:?} is ambiguous: it begins {}", listed(candidates))]
    Ambiguous {
        /// The prefix.
        prefix: String,
        /// The images, sorted.
        candidates: Vec<Hash>,
    },
    /// An image names a dependency that the store does not have.
    #[error("image {image} depends on {dependency}, which is not in the store")]
    MissingDependency {
        /// The image.
        image: Hash,
        /// The dependency's name, labels and ID.
        dependency: String,
    },
    /// The image with a dependency's ID is another one than the dependency describes.
    #[error("image {image} depends on {dependency}, but {found} is an image named {name}")]
    WrongDependency {
        /// The image.
        image: Hash,
        /// The dependency's name, labels and ID.
        dependency: String,
        /// The image with that ID.
        found: Hash,
        /// Its name.
        name: String,
    },
    /// Dependencies run in a circle, or far too deep or wide.
    #[error("the dependencies of image {image} {reason}")]
    Dependencies {
        /// The image whose dependencies were followed.
        image: Hash,
        /// What is wrong with them.
        reason: String,
    },
    /// Whoever imports the image does not want it.
    #[error("the image is refused")]
    Refused(#[source] crate::Refusal),
    /// A document of an OCI image is no good.
    #[error(transparent)]
    Oci(#[from] oci::Error),
    /// Whoever should give the bytes of an image cannot.
    #[error("cannot get a part of the image")]
    Source(#[source] crate::Refusal),
    /// A part of an OCI image is not in the store.
    #[error("{0}, a part of the image, is not in the store; fetch the image again")]
    MissingBlob(Digest),
    /// A part of an OCI image is not what it should be.
    #[error(
        "{digest}, a part of the image, has the digest {}", .found.as_ref().map_or("", |f| f.as_str())
    )]
    ChangedBlob {
        /// What it should be.
        digest: Digest,
        /// What it is.
        found: Option<Digest>,
    },
    /// A part of an OCI image ended too early.
    #[error("{digest}, a part of the image, ends after {received} of {size} bytes")]
    ShortBlob {
        /// What it should be.
        digest: Digest,
        /// Bytes that came.
        received: u64,
        /// Bytes it should have.
        size: u64,
    },
    /// A layer holds another archive than the image's configuration says.
    #[error("layer {layer} holds {found}, not {expected} as the image's configuration says")]
    WrongDiff {
        /// The layer.
        layer: Digest,
        /// What its archive should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// Only root can write a rendered tree with its owners.
    #[error("image {0} is not rendered yet, and only root can render it")]
    NotRoot(Hash),
    /// The index failed, and rebuilding it did not help.
    #[error("cannot use the image index {}: {source}", path.display())]
    Index {
        /// The database.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The index was written by a newer rkt.
    #[error("the image index {} has schema {found}; this rkt knows {known}", path.display())]
    NewerIndex {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
}

fn listed(ids: &[Hash]) -> String {
    let texts: Vec<&str> = ids.iter().map(Hash::as_str).collect();
    texts.join(", ")
}

impl Error {
    /// For `map_err`: a failed operation on a path.
    pub(crate) fn io<S: Into<io::Error>>(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(S) -> Self {
        move |source| Error::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// A refused entry. Its name comes from outside, so that what a terminal might act on is
    /// escaped and a long one cut.
    pub(crate) fn entry(name: &[u8], reason: impl Into<String>) -> Self {
        const SHOWN: usize = 200;
        let mut entry = String::from_utf8_lossy(&name[..name.len().min(SHOWN)]).into_owned();
        if name.len() > SHOWN {
            entry.push('…');
        }
        Error::Entry {
            entry,
            reason: reason.into(),
        }
    }

    pub(crate) fn truncated(reason: impl Into<String>) -> Self {
        Error::Truncated {
            reason: reason.into(),
        }
    }

    pub(crate) fn not_an_aci(reason: impl Into<String>) -> Self {
        Error::NotAnAci {
            reason: reason.into(),
        }
    }

    /// Whether the file system has no room left.
    pub fn is_no_space(&self) -> bool {
        match self {
            Error::Io { source, .. } | Error::Stream { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            Error::Index { source, .. } => {
                source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
            }
            _ => false,
        }
    }

    /// Whether the source of the bytes failed, and not what they are: what came so far is good.
    pub fn is_source(&self) -> bool {
        matches!(
            self,
            Error::Source(_) | Error::Stream { .. } | Error::ShortBlob { .. }
        )
    }

    /// Whether permissions are what is missing.
    pub fn is_permission(&self) -> bool {
        match self {
            Error::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ),
            Error::Index { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(
                    rusqlite::ErrorCode::CannotOpen
                        | rusqlite::ErrorCode::ReadOnly
                        | rusqlite::ErrorCode::PermissionDenied
                )
            ),
            _ => false,
        }
    }

    /// Whether the image (or one it depends on) is simply not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound(_) | Error::MissingDependency { .. })
    }
}

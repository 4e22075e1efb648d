//! Why an operation on the store failed.

use std::path::{Path, PathBuf};

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("cannot {operation} {path}", path = .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The stream of an image ended early or is damaged.
    #[error("cannot read the image: {0}")]
    Stream(std::io::Error),
    /// The archive is not an App Container Image, or a hostile one.
    #[error("not a valid ACI: {0}")]
    Archive(String),
    /// The image manifest.
    #[error("invalid image manifest: {0}")]
    Manifest(#[source] appc::Error),
    /// The index cannot be used and not be rebuilt.
    #[error("image index: {0}")]
    Index(#[from] rusqlite::Error),
    /// No image has this id or prefix of one.
    #[error("no image {0:?} in the store")]
    NotFound(String),
    /// Several images have this prefix.
    #[error("image id {prefix:?} is ambiguous: {}", .candidates.join(", "))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// What it fits.
        candidates: Vec<String>,
    },
    /// Not the form of an image id.
    #[error("{0:?} is not an image id: expected \"sha512-\" and at least two hexadecimal digits")]
    BadId(String),
    /// An image depends on one that is not in the store.
    #[error("dependency {name:?} of image {image} is not in the store")]
    Dependency {
        /// The depending image.
        image: String,
        /// The missing one.
        name: String,
    },
    /// Images depend on each other in a circle, or too deep.
    #[error("the dependencies of image {0} are circular or too deep")]
    Circular(String),
    /// A dependency is not the image that its `imageID` says.
    #[error("dependency {name:?} of image {image} should be {expected}, the store has {found}")]
    WrongDependency {
        /// The depending image.
        image: String,
        /// The dependency.
        name: String,
        /// Its `imageID`.
        expected: String,
        /// What was found.
        found: String,
    },
    /// Whoever imports the image does not want it.
    #[error("the image is refused")]
    Refused(#[source] crate::Refusal),
    /// A blob does not hash to its name.
    #[error("blob {id} is damaged: its content is {found}")]
    Damaged {
        /// The blob's name.
        id: String,
        /// Its digest.
        found: String,
    },
}

impl Error {
    pub(crate) fn archive(reason: impl Into<String>) -> Self {
        Self::Archive(reason.into())
    }
}

/// Adds operation and path to an I/O error.
pub(crate) trait At<T> {
    fn at(self, operation: &'static str, path: impl AsRef<Path>) -> crate::Result<T>;
}

impl<T, E: Into<std::io::Error>> At<T> for Result<T, E> {
    fn at(self, operation: &'static str, path: impl AsRef<Path>) -> crate::Result<T> {
        self.map_err(|error| Error::Io {
            operation,
            path: path.as_ref().to_owned(),
            source: error.into(),
        })
    }
}

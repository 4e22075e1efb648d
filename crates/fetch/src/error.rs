//! Why an image cannot be had.

use std::path::PathBuf;

/// Fetching failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file or directory is not what it was called.
    #[error("{} is not {what}: {reason}", path.display())]
    NotA {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Several images, or none of that name.
    #[error("{} has no image {wanted:?}, only {}", path.display(), listed(.found))]
    NoSuchImage {
        /// Where.
        path: PathBuf,
        /// What was asked for; empty if nothing was.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// Several images, and none was asked for.
    #[error("{} has several images, say which: {}", path.display(), listed(.found))]
    SeveralImages {
        /// Where.
        path: PathBuf,
        /// What there is.
        found: Vec<String>,
    },
    /// A document of the image is no good.
    #[error(transparent)]
    Oci(#[from] oci::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] Box<store::Error>),
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none with a name".to_owned(),
        names => names.join(", "),
    }
}

impl Error {
    /// For `map_err`: a failed operation on a path.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(Box::new(error))
    }
}

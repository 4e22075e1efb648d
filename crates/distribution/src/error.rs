//! Why a reference cannot be understood.

/// A fault in a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing at all.
    #[error("an image has an empty name")]
    Empty,
    /// Too long for anything.
    #[error("an image's name is longer than {0} bytes")]
    TooLong(usize),
    /// A scheme that means nothing here.
    #[error("the scheme {0:?} is not supported")]
    Scheme(String),
    /// Not a distribution point's URI.
    #[error("{uri:?} is not a distribution point: {reason}")]
    Uri {
        /// The text.
        uri: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not the name of an image in a Docker registry.
    #[error("{text:?} does not name an image of a Docker registry: {reason}")]
    Docker {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not the URL of an archive.
    #[error("{text:?} does not name an archive: {reason}")]
    Location {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not an image name.
    #[error(transparent)]
    Name(#[from] appc::Error),
}

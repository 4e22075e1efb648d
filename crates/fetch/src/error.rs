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
    /// A server could not be reached, or broke off.
    #[error("cannot get {url}: {source}")]
    Network {
        /// What was asked for.
        url: String,
        /// The cause.
        source: Box<ureq::Error>,
    },
    /// A server does not speak as it should.
    #[error("cannot get {url}: {reason}")]
    Http {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A server's answer is a refusal.
    #[error("cannot get {url}: {status} {text}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// What it means.
        text: &'static str,
    },
    /// Plain HTTP, which was not allowed.
    #[error("{url} is plain HTTP (--insecure-options=http allows it)")]
    PlainHttp {
        /// The URL.
        url: String,
    },
    /// The environment names a proxy that is none.
    #[error("the variable {variable} does not name a proxy: {value:?}")]
    Proxy {
        /// The variable, in lower case.
        variable: &'static str,
        /// Its value, without what may be a password.
        value: String,
    },
    /// Nobody knows where an image is.
    #[error("cannot discover {name:?}: {reason}")]
    Discovery {
        /// The image's name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A registry does not let anybody, or this user, have the image.
    #[error("{registry} does not give {what}: {reason}")]
    Denied {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A part of the image is not what its digest says.
    #[error("{url} sends something else than {expected}: {found}")]
    WrongDigest {
        /// What was asked for.
        url: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The configuration of credentials cannot be used.
    #[error(transparent)]
    Config(#[from] config::Error),
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
    /// The status of an answer that was a refusal.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

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

//! Why a document is refused.

/// A fault in a document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a digest that can be checked.
    #[error("{0:?} is not a digest: it must be sha256: and 64 hexadecimal digits")]
    Digest(String),
    /// Not the JSON it should be.
    #[error("the image {what} cannot be understood")]
    Syntax {
        /// `manifest`, `index` or `configuration`.
        what: &'static str,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// Larger than any needs to be.
    #[error("the image {what} is larger than {limit} bytes")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// What is allowed.
        limit: usize,
    },
    /// Docker's first manifest format, which names no configuration and signs itself.
    #[error(
        "the image has a Docker manifest of schema 1, which is not supported: push it again with a current tool"
    )]
    Schema1,
    /// Something rkt cannot use.
    #[error("the image {what} {reason}")]
    Unusable {
        /// What it is.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// An index without an image for this machine.
    #[error("the image is not there for {wanted}, only for {}", offered(.found))]
    Platform {
        /// This machine.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// The App Container form would be invalid.
    #[error("the image cannot be described as an App Container Image")]
    Appc(#[from] appc::Error),
}

fn offered(found: &[String]) -> String {
    match found {
        [] => "nothing".to_owned(),
        some => some.join(", "),
    }
}

//! What a person types for an image, in the original's order of interpretation.

use appc::ImageName;

use crate::{Distribution, Docker, Error, Layout, LayoutKind, Location, Result};

/// Longest text that is looked at.
const LIMIT: usize = 8 << 10;

/// What stands on a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The ID of an image in the store, or the beginning of one.
    Hash(String),
    /// The registry digest of an image in the store: `sha256:` and 64 digits.
    Digest(String),
    /// Where the image comes from.
    Distribution(Distribution),
}

impl Reference {
    /// Reads a text; `is_file` says whether a path is a regular file.
    ///
    /// # Errors
    /// It means nothing.
    pub fn parse(text: &str, is_file: impl FnOnce(&str) -> bool) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if text.len() > LIMIT {
            return Err(Error::TooLong(LIMIT));
        }
        if text.starts_with("sha512-") {
            return Ok(Self::Hash(text.to_owned()));
        }
        if text
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64)
        {
            return Ok(Self::Digest(text.to_ascii_lowercase()));
        }
        distribution(text, is_file).map(Self::Distribution)
    }
}

fn distribution(text: &str, is_file: impl FnOnce(&str) -> bool) -> Result<Distribution> {
    let file = || Ok(Distribution::AciArchive(Location::File(text.to_owned())));
    let name = || Ok(Distribution::Appc(ImageName::parse(text)?));
    if let Some(image) = text.strip_prefix("docker:") {
        return Docker::parse(image).map(Distribution::Docker);
    }
    for kind in LayoutKind::ALL {
        let rest = text.strip_prefix(kind.scheme());
        if let Some(rest) = rest.and_then(|r| r.strip_prefix(':')) {
            return Layout::parse(kind, rest).map(Distribution::Layout);
        }
    }
    if text.starts_with("cimd:") {
        return Distribution::from_uri(text);
    }
    match text.split_once("://") {
        Some(("file" | "http" | "https", _)) => {
            return Location::parse(text).map(Distribution::AciArchive);
        }
        Some((scheme, _)) => return Err(Error::Scheme(scheme.to_owned())),
        None => {}
    }
    match text {
        _ if text.starts_with('/') || is_file(text) => file(),
        _ if text.contains(':') => name(),
        _ if text.contains("./") || text.ends_with(".aci") => file(),
        _ => name(),
    }
}

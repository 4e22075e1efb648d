//! Where an archive is.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::{Error, Result};

/// What the path of a `file` URL cannot hold as it is.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`');

/// A file, or a URL of HTTP or HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A path.
    File(String),
    /// A URL.
    Url(String),
}

impl Location {
    /// Reads a URL: `file://` with an absolute path, `http://` or `https://`.
    ///
    /// # Errors
    /// Another scheme, no host, control characters.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |reason| {
            Err(Error::Location {
                text: text.to_owned(),
                reason,
            })
        };
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return bad("it holds spaces or control characters");
        }
        if let Some(path) = text.strip_prefix("file://") {
            return match percent_decode_str(path).decode_utf8() {
                Ok(path) if path.starts_with('/') && !path.contains('\0') => {
                    Ok(Self::File(path.into_owned()))
                }
                _ => bad("the path after file:// must be absolute"),
            };
        }
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        match rest {
            Some(rest) if !rest.is_empty() && !rest.starts_with('/') => {
                Ok(Self::Url(text.to_owned()))
            }
            Some(_) => bad("it has no host"),
            None => bad("it is no file, http or https URL"),
        }
    }
}

impl fmt::Display for Location {
    /// As a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", utf8_percent_encode(path, PATH)),
            Self::Url(url) => f.write_str(url),
        }
    }
}

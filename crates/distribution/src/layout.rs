//! OCI images on disk: `oci:DIRECTORY[:REF]`, `oci-archive:FILE[:REF]`, `docker-archive:FILE[:REF]`,
//! as other tools call them.

use std::fmt;

use crate::{Error, Result};

/// How an image lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutKind {
    /// An OCI image layout, a directory.
    Oci,
    /// The same as a tar archive.
    OciArchive,
    /// What `docker save` writes.
    DockerArchive,
}

impl LayoutKind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Oci, Self::OciArchive, Self::DockerArchive];

    /// The word in front of the path.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
        }
    }

    /// The type of its distribution points.
    pub(crate) fn point(self) -> &'static str {
        match self {
            Self::Oci => "oci-layout",
            other => other.scheme(),
        }
    }
}

/// An OCI image on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// How it lies there.
    pub kind: LayoutKind,
    /// Where.
    pub path: String,
    /// Which of several images, by its name there or its digest.
    pub reference: Option<String>,
}

impl Layout {
    /// Reads what stands behind the word and its colon. The path ends at the next colon.
    ///
    /// # Errors
    /// There is no path.
    pub fn parse(kind: LayoutKind, text: &str) -> Result<Self> {
        let (path, reference) = match text.split_once(':') {
            Some((path, reference)) => (path, Some(reference)),
            None => (text, None),
        };
        let bad = |reason| {
            Err(Error::Location {
                text: format!("{}:{text}", kind.scheme()),
                reason,
            })
        };
        match (path, reference) {
            ("", _) => bad("it has no path"),
            (_, Some("")) => bad("nothing follows the colon after the path"),
            _ if text.contains('\0') => bad("it holds a NUL"),
            (path, reference) => Ok(Self {
                kind,
                path: path.to_owned(),
                reference: reference.map(str::to_owned),
            }),
        }
    }
}

impl fmt::Display for Layout {
    /// As a person types it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.scheme(), self.path)?;
        match &self.reference {
            Some(reference) => write!(f, ":{reference}"),
            None => Ok(()),
        }
    }
}

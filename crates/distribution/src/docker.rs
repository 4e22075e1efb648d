//! Images of Docker registries: `[REGISTRY_HOST[:REGISTRY_PORT]/]NAME[:TAG|@DIGEST]`.

use std::fmt;

use crate::{Error, Result};

const DEFAULT_REGISTRY: &str = "registry-1.docker.io";
/// What Docker calls its registry, which is served from another host.
const ALIASES: [&str; 2] = ["docker.io", "index.docker.io"];

/// An image of a registry, with everything that the short form leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Docker {
    /// Host, perhaps with a port.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// The tag; with a digest it only says what a person calls the image.
    pub tag: Option<String>,
    /// The digest, `sha256:…`.
    pub digest: Option<String>,
}

impl Docker {
    /// What else a registry is called.
    pub fn other_names(registry: &str) -> impl Iterator<Item = &'static str> + use<> {
        let docker = registry == DEFAULT_REGISTRY;
        ALIASES.into_iter().filter(move |_| docker)
    }

    /// Reads what stands behind `docker://` or `docker:`.
    ///
    /// # Errors
    /// Which rule it breaks.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |reason| Error::Docker {
            text: text.to_owned(),
            reason,
        };
        let rest = text.trim_start_matches('/');
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(bad("the digest must be sha256: and 64 hexadecimal digits")),
            None => (rest, None),
        };
        // A colon before the last slash belongs to a port.
        let colon = rest.rfind(':').filter(|at| !rest[*at..].contains('/'));
        let (path, tag) = match colon {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(bad("the tag must be letters, digits, '.', '_' and '-'"));
        }
        let (registry, repository) = match path.split_once('/') {
            Some((host, rest)) if is_host(host) => (host, rest),
            _ => (DEFAULT_REGISTRY, path),
        };
        if !repository.split('/').all(is_word) {
            return Err(bad(
                "the name must be words of lower-case letters, digits, '.', '_' and '-'",
            ));
        }
        let registry = match ALIASES.contains(&registry) {
            true => DEFAULT_REGISTRY,
            false => registry,
        };
        let official = registry == DEFAULT_REGISTRY && !repository.contains('/');
        Ok(Self {
            registry: registry.to_owned(),
            repository: match official {
                true => format!("library/{repository}"),
                false => repository.to_owned(),
            },
            tag: match (tag, &digest) {
                (Some(tag), _) => Some(tag.to_owned()),
                (None, None) => Some("latest".to_owned()),
                (None, Some(_)) => None,
            },
            digest,
        })
    }
}

impl fmt::Display for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn is_digest(text: &str) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(digit))
}

fn is_tag(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=128).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with(['.', '-'])
}

/// The first word is a host if it looks like one and not like a user's name.
fn is_host(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    let host = text == "localhost" || text.contains(['.', ':']);
    host && !text.starts_with(['.', ':']) && text.bytes().all(plain)
}

fn is_word(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.bytes().all(inner) && text.starts_with(edge) && text.ends_with(edge)
}

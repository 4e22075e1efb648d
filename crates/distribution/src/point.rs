//! Distribution points and their URIs: `cimd:TYPE:v=VERSION:DATA`.

use appc::ImageName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{Docker, Error, Layout, LayoutKind, Location, Result};

/// What a query cannot hold as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const APPC: &str = "appc";
const ARCHIVE: &str = "aci-archive";
const DOCKER: &str = "docker";

/// A method of getting an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distribution {
    /// App Container image discovery.
    Appc(ImageName),
    /// An ACI at a known place.
    AciArchive(Location),
    /// A Docker registry.
    Docker(Docker),
    /// An OCI image on disk.
    Layout(Layout),
}

impl Distribution {
    /// Reads a URI.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_uri(uri: &str) -> Result<Self> {
        let bad = |reason| Error::Uri {
            uri: uri.to_owned(),
            reason,
        };
        let rest = uri.strip_prefix("cimd:");
        let rest = rest.ok_or_else(|| bad("it does not begin with \"cimd:\""))?;
        let (kind, rest) = rest.split_once(':').ok_or_else(|| bad("it has no type"))?;
        let version = rest.split_once(':').and_then(|(version, data)| {
            let number: u32 = version.strip_prefix("v=")?.parse().ok()?;
            Some((number, data))
        });
        let (version, data) = version.ok_or_else(|| bad("it has no version \"v=NUMBER\""))?;
        if version != 0 {
            return Err(bad("its version is not supported"));
        }
        match kind {
            APPC => appc_point(data).ok_or_else(|| bad("a label is not NAME=VALUE"))?,
            ARCHIVE => {
                let url = data.split('?').next().unwrap_or_default();
                let url = decode(url).ok_or_else(|| bad("the URL in it is not UTF-8"))?;
                Location::parse(&url).map(Self::AciArchive)
            }
            DOCKER => Docker::parse(data).map(Self::Docker),
            other => {
                let kind = LayoutKind::ALL.into_iter().find(|k| k.point() == other);
                let kind = kind.ok_or_else(|| bad("its type is not supported"))?;
                let text = decode(data).ok_or_else(|| bad("the path in it is not UTF-8"))?;
                Layout::parse(kind, &text).map(Self::Layout)
            }
        }
    }

    /// The URI; equal distribution points have equal ones.
    pub fn to_uri(&self) -> String {
        match self {
            Self::Appc(image) => {
                let mut labels: Vec<_> = image
                    .labels
                    .iter()
                    .map(|l| format!("{}={}", l.name, utf8_percent_encode(&l.value, QUERY)))
                    .collect();
                labels.sort_unstable();
                let mark = if labels.is_empty() { "" } else { "?" };
                format!("cimd:{APPC}:v=0:{}{mark}{}", image.name, labels.join("&"))
            }
            Self::AciArchive(location) => {
                let url = location.to_string();
                format!("cimd:{ARCHIVE}:v=0:{}", utf8_percent_encode(&url, QUERY))
            }
            Self::Docker(image) => format!("cimd:{DOCKER}:v=0:{image}"),
            Self::Layout(layout) => {
                let (kind, text) = (layout.kind, layout.to_string());
                let rest = &text[kind.scheme().len() + 1..];
                format!(
                    "cimd:{}:v=0:{}",
                    kind.point(),
                    utf8_percent_encode(rest, QUERY)
                )
            }
        }
    }
}

impl std::fmt::Display for Distribution {
    /// As a person would type it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Appc(image) => image.fmt(f),
            Self::AciArchive(Location::File(path)) => f.write_str(path),
            Self::AciArchive(location) => location.fmt(f),
            Self::Docker(image) => write!(f, "docker://{image}"),
            Self::Layout(layout) => layout.fmt(f),
        }
    }
}

/// None for labels that are no pairs.
fn appc_point(data: &str) -> Option<Result<Distribution>> {
    let (name, query) = data.split_once('?').unwrap_or((data, ""));
    let mut image = match ImageName::parse(name) {
        Ok(image) => image,
        Err(error) => return Some(Err(error.into())),
    };
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let value = decode(value)?;
        match appc::AcIdentifier::parse(name) {
            Ok(name) if image.labels.get(name.as_str()).is_none() => image.labels.set(name, value),
            Ok(_) => return None,
            Err(error) => return Some(Err(error.into())),
        }
    }
    Some(Ok(Distribution::Appc(image)))
}

/// As queries are escaped: a plus is a space.
fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

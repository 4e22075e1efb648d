//! Where images and keys are that a name stands for (specification, discovery.md).

use appc::{AcIdentifier, Labels};
use html5gum::{Token, Tokenizer};

use crate::{Downloader, Error, Result};

/// Bytes of a page.
const PAGE: usize = 2 << 20;
/// Tags of one page.
const TAGS: usize = 256;
/// Parents of a name that are asked.
const PARENTS: usize = 16;
const IMAGE: &str = "ac-discovery";
const KEYS: &str = "ac-discovery-pubkeys";

/// Where one image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The image.
    pub image: String,
    /// Its signature.
    pub signature: String,
}

/// One tag: for which names it is, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag {
    keys: bool,
    prefix: String,
    value: String,
}

impl Downloader<'_> {
    /// Asks where an image is. `labels` are those that were asked for; where they name no operating
    /// system or architecture, this machine's are meant.
    ///
    /// # Errors
    /// Nobody can be asked, or nobody knows.
    pub fn discover(&self, name: &AcIdentifier, labels: &Labels) -> Result<Vec<Place>> {
        let places = self.walk(name, |tags| places(tags, name, labels))?;
        places.ok_or_else(|| Error::Discovery {
            name: name.to_string(),
            reason: "found no ACI meta tags".to_owned(),
        })
    }

    /// Asks where the keys are that sign images of a name.
    ///
    /// # Errors
    /// Nobody can be asked, or nobody knows.
    pub fn discover_keys(&self, name: &AcIdentifier) -> Result<Vec<String>> {
        let keys = |tags: &[Tag]| {
            let fitting = tags.iter().filter(|t| t.keys && is_below(name, &t.prefix));
            fitting.map(|t| t.value.clone()).collect::<Vec<_>>()
        };
        let keys = self.walk(name, keys)?;
        keys.ok_or_else(|| Error::Discovery {
            name: name.to_string(),
            reason: "found no ACI meta tags".to_owned(),
        })
    }

    /// From a name up to its host, until a page tells something.
    fn walk<T>(
        &self,
        name: &AcIdentifier,
        read: impl Fn(&[Tag]) -> Vec<T>,
    ) -> Result<Option<Vec<T>>> {
        let mut path = name.as_str();
        let mut failed = None;
        for _ in 0..PARENTS {
            match self.tags(path) {
                Ok(tags) => {
                    let found = read(&tags);
                    if !found.is_empty() {
                        return Ok(Some(found));
                    }
                }
                Err(error) => failed = failed.or(Some(error)),
            }
            match path.rsplit_once('/') {
                Some((above, _)) => path = above,
                None => break,
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    /// The tags of one page: over HTTPS, or over HTTP where that is allowed and HTTPS fails.
    fn tags(&self, path: &str) -> Result<Vec<Tag>> {
        let url = |scheme: &str| format!("{scheme}://{path}?ac-discovery=1");
        let page = match self.page(&url("https"), PAGE) {
            Err(_) if self.client.insecure().http => self.page(&url("http"), PAGE),
            other => other,
        }?;
        Ok(page.map_or_else(Vec::new, |page| tags(&page)))
    }
}

/// The tags on a page. Used by the fuzz target too.
fn tags(page: &[u8]) -> Vec<Tag> {
    let text = String::from_utf8_lossy(page);
    let mut found = Vec::new();
    for token in Tokenizer::new(text.as_ref()) {
        let Ok(Token::StartTag(tag)) = token else {
            continue;
        };
        if tag.name.as_slice() != b"meta" || found.len() == TAGS {
            continue;
        }
        let attribute = |name: &[u8]| {
            let mut all = tag.attributes.iter();
            let value = all.find(|(key, _)| key.as_slice() == name)?.1;
            std::str::from_utf8(value.value.as_slice()).ok()
        };
        let keys = match attribute(b"name") {
            Some(IMAGE) => false,
            Some(KEYS) => true,
            _ => continue,
        };
        let mut words = attribute(b"content").unwrap_or_default().split_whitespace();
        if let (Some(prefix), Some(value), None) = (words.next(), words.next(), words.next()) {
            found.push(Tag {
                keys,
                prefix: prefix.to_owned(),
                value: value.to_owned(),
            });
        }
    }
    found
}

/// Looks at a page as discovery does, for fuzzing: how many places it names for an image.
pub fn read_page(page: &[u8], name: &AcIdentifier) -> usize {
    places(&tags(page), name, &Labels::default()).len()
}

fn is_below(name: &AcIdentifier, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    let rest = name.as_str().strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What the best templates make of a name: those in which everything can be filled in, and most
/// is. Without a version, "latest" is tried where nothing else fits.
fn places(tags: &[Tag], name: &AcIdentifier, labels: &Labels) -> Vec<Place> {
    let (os, arch) = appc::host_os_arch();
    let mut values: Vec<(&str, &str)> = vec![("name", name.as_str())];
    values.extend(labels.iter().map(|l| (l.name.as_str(), l.value.as_str())));
    for (label, own) in [("os", os), ("arch", arch)] {
        if labels.get(label).is_none() {
            values.push((label, own));
        }
    }
    // A value that could leave its place in a URL is no value.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/+:@".contains(&b);
    let odd = |(_, value): &(&str, &str)| !value.bytes().all(plain) || value.contains("..");
    if values.iter().any(odd) {
        return Vec::new();
    }
    let fill = |values: &[(&str, &str)]| {
        let templates = tags.iter().filter(|t| !t.keys && is_below(name, &t.prefix));
        let filled = templates.filter_map(|t| {
            let (image, count) = render(&t.value, values, "aci")?;
            let (signature, _) = render(&t.value, values, "aci.asc")?;
            let place = Place { image, signature };
            (place.image != place.signature).then_some((count, place))
        });
        let filled: Vec<_> = filled.collect();
        let best = filled.iter().map(|(count, _)| *count).max();
        let best = filled.into_iter().filter(|(count, _)| Some(*count) == best);
        best.map(|(_, place)| place).collect::<Vec<_>>()
    };
    let found = fill(&values);
    if found.is_empty() && labels.get("version").is_none() {
        values.push(("version", "latest"));
        return fill(&values);
    }
    found
}

/// Fills a template in; how many labels were. `None` if one has no value.
fn render(template: &str, values: &[(&str, &str)], ext: &str) -> Option<(String, usize)> {
    let (mut out, mut rest, mut count) = (String::new(), template, 0);
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}')?;
        out.push_str(before);
        match name {
            "ext" => out.push_str(ext),
            _ => {
                let (_, value) = values.iter().find(|(label, _)| *label == name)?;
                count += usize::from(name != "name");
                out.push_str(value);
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    let http = out.starts_with("https://") || out.starts_with("http://");
    http.then_some((out, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<!DOCTYPE html><html><head>
        <META name="ac-discovery" content="example.com https://storage.example.com/{os}/{arch}/{name}-{version}.{ext}">
        <meta content="example.com https://mirror.example.com/{os}/{arch}/{name}-{version}.{ext}" name='ac-discovery'/>
        <meta name="ac-discovery" content="example.com https://storage.example.com/{os}/{arch}/{name}-latest.{ext}">
        <meta name="ac-discovery" content="other.com https://evil.example/{name}.{ext}">
        <meta name="ac-discovery" content="example.com hdfs://storage/{name}.{ext}">
        <meta name="ac-discovery" content="broken">
        <meta name="ac-discovery-pubkeys" content="example.com https://example.com/pubkeys.gpg">
        <!-- <meta name="ac-discovery" content="example.com https://comment.example/{name}.{ext}"> -->
        </head></html>"#;

    fn found(name: &str, labels: &[(&str, &str)]) -> Vec<String> {
        let name = AcIdentifier::parse(name).unwrap();
        let mut set = Labels::default();
        for (key, value) in labels {
            set.set(AcIdentifier::parse(key).unwrap(), *value);
        }
        let places = places(&tags(PAGE.as_bytes()), &name, &set);
        places.into_iter().map(|p| p.image).collect()
    }

    #[test]
    fn the_example_of_the_specification() {
        let linux = [("os", "linux"), ("arch", "amd64")];
        assert_eq!(
            found(
                "example.com/app",
                &[&linux[..], &[("version", "1.0.0")]].concat()
            ),
            [
                "https://storage.example.com/linux/amd64/example.com/app-1.0.0.aci",
                "https://mirror.example.com/linux/amd64/example.com/app-1.0.0.aci"
            ]
        );
        assert_eq!(
            found("example.com/app", &linux),
            ["https://storage.example.com/linux/amd64/example.com/app-latest.aci"]
        );
        assert!(found("example.comx/app", &linux).is_empty());
        assert!(found("example.com/a", &[("version", "../../x")]).is_empty());
        assert!(found("example.com/a", &[("version", "a?b#c")]).is_empty());
    }

    #[test]
    fn pages_are_anything() {
        for page in [
            "",
            "<meta",
            "<meta name=ac-discovery content='a b'",
            "\u{0}<<>>",
        ] {
            tags(page.as_bytes());
        }
    }
}

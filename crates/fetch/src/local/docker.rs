//! What `docker save` writes: configurations and layers by name, and a list of them. It has no
//! manifest, so one is made of it.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use distribution::{Docker, Layout};
use oci::{Config, Descriptor, Digest, Manifest, media};
use serde::Deserialize;
use store::{BlobSource, Compression, Opened};

use super::archive::Tarball;
use crate::image::{from_file, from_registry};
use crate::{Error, OciImage, Result, Signed, SimpleSigning};

/// Images in one archive.
const MAX_IMAGES: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Entry {
    fn tags(&self) -> impl Iterator<Item = &str> {
        self.repo_tags.iter().flatten().map(String::as_str)
    }
}

/// Finds an image in an archive.
pub(super) fn open<'a>(
    tarball: Tarball,
    image: &Layout,
    wanted: Option<&str>,
) -> Result<OciImage<'a>> {
    let path = tarball.file_path().to_owned();
    let not = |reason: String| Error::NotA {
        path: path.clone(),
        what: "an archive of docker save",
        reason,
    };
    let list = tarball.whole("manifest.json", oci::MAX_MANIFEST)?;
    let list: Vec<Entry> = serde_json::from_slice(&list).map_err(|e| not(e.to_string()))?;
    if list.len() > MAX_IMAGES || list.iter().any(|e| e.layers.len() > oci::MAX_LAYERS) {
        return Err(not("it has too many images or layers".to_owned()));
    }
    let (entry, name) = choose(&path, &list, wanted)?;
    let config = tarball.whole(&entry.config, oci::MAX_CONFIG)?;
    let parsed = Config::parse(&config)?;
    let mut parts = HashMap::new();
    let mut layers = Vec::new();
    for (member, diff) in entry
        .layers
        .iter()
        .zip(parsed.diff_ids(entry.layers.len())?)
    {
        let layer = describe(&tarball, member, diff)?;
        parts.insert(layer.digest.clone(), tarball.find(member)?);
        layers.push(layer);
    }
    let config_digest = store::sha256(&config);
    parts.insert(config_digest.clone(), tarball.find(&entry.config)?);
    let described = Descriptor {
        media_type: media::CONFIG.to_owned(),
        digest: config_digest,
        size: config.len() as u64,
        platform: None,
        annotations: Default::default(),
    };
    let manifest = Manifest::write(&described, &layers);
    let original = image.to_string();
    let origin = match name.as_deref().map(Docker::parse) {
        Some(Ok(image)) => from_registry(&image, &original)?,
        _ => from_file(&path, None, &original)?,
    };
    Ok(OciImage {
        digest: store::sha256(&manifest),
        lists: Vec::new(),
        manifest,
        origin,
        source: Box::new(Saved { tarball, parts }),
    })
}

fn choose<'l>(
    path: &Path,
    list: &'l [Entry],
    wanted: Option<&str>,
) -> Result<(&'l Entry, Option<String>)> {
    let all = || list.iter().flat_map(Entry::tags).take(50);
    let named = |found: Vec<String>, wanted: &str| Error::NoSuchImage {
        path: path.to_owned(),
        wanted: wanted.to_owned(),
        found,
    };
    let found = || all().map(str::to_owned).collect::<Vec<_>>();
    let Some(wanted) = wanted else {
        return match list {
            [one] => Ok((one, one.tags().next().map(str::to_owned))),
            [] => Err(named(Vec::new(), "")),
            _ => Err(Error::SeveralImages {
                path: path.to_owned(),
                found: found(),
            }),
        };
    };
    let same = |tag: &str| match (Docker::parse(tag), Docker::parse(wanted)) {
        (Ok(a), Ok(b)) => a == b,
        _ => tag == wanted,
    };
    let fits = |entry: &&Entry| entry.tags().any(same);
    let entry = list.iter().find(fits);
    let entry = entry.ok_or_else(|| named(found(), wanted))?;
    Ok((entry, Some(wanted.to_owned())))
}

/// A layer's descriptor. Most are not compressed, so that the configuration says their digest.
fn describe(tarball: &Tarball, member: &str, diff: &Digest) -> Result<Descriptor> {
    let read = |e| Error::io("read", tarball.file_path())(e);
    let (offset, size) = tarball.find(member)?;
    let mut head = Vec::new();
    let part = || tarball.part(offset, size);
    part().take(512).read_to_end(&mut head).map_err(read)?;
    let plain = matches!(Compression::sniff(&head), None | Some(Compression::None));
    let digest = match plain {
        true => diff.clone(),
        false => store::sha256_of(&mut part()).map_err(read)?,
    };
    Ok(Descriptor {
        media_type: media::LAYER.to_owned(),
        digest,
        size,
        platform: None,
        annotations: Default::default(),
    })
}

/// The members of an archive by their digests.
struct Saved {
    tarball: Tarball,
    parts: HashMap<Digest, (u64, u64)>,
}

impl BlobSource for Saved {
    fn open(&self, blob: &Digest, offset: u64) -> Result<Opened<'_>, store::Refusal> {
        let (start, size) = self.parts.get(blob).ok_or("the archive does not have it")?;
        let skip = offset.min(*size);
        Ok((Box::new(self.tarball.part(start + skip, size - skip)), skip))
    }
}

impl Signed for Saved {
    /// The manifest was made here, so that nobody can have signed it.
    fn signatures(&self, _: &Digest) -> Result<Vec<SimpleSigning>> {
        Ok(Vec::new())
    }
}

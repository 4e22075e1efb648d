//! OCI image layouts (OCI image specification, "image-layout.md").

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use distribution::Layout;
use oci::{Descriptor, Digest, Document, Index, Platform};
use serde::Deserialize;
use store::{BlobSource, Opened};

use crate::image::from_file;
use crate::{Error, OciImage, Result, Signed, SimpleSigning, signatures};

/// The name of an image in a layout's index.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Where containerd and others put the whole name.
const FULL_NAME: &str = "io.containerd.image.name";
/// How "cosign save" marks signatures in an index.
const SIGNATURES: &str = "dev.cosignproject.cosign/sigs";
/// Indexes in indexes.
const DEPTH: usize = 4;

/// The files of a layout.
pub(super) trait Files: BlobSource {
    /// A small file, whole.
    fn small(&self, name: &str, limit: usize) -> Result<Vec<u8>>;
    /// For messages.
    fn path(&self) -> &Path;
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// Finds an image in a layout.
pub(super) fn open<'a>(
    files: impl Files + 'a,
    image: &Layout,
    wanted: Option<&str>,
) -> Result<OciImage<'a>> {
    let not = |reason: String| Error::NotA {
        path: files.path().to_owned(),
        what: "an OCI image layout",
        reason,
    };
    let marker = files.small("oci-layout", 4096)?;
    let marker: Marker = serde_json::from_slice(&marker).map_err(|e| not(e.to_string()))?;
    if !marker.image_layout_version.starts_with("1.") {
        let version: String = marker.image_layout_version.chars().take(50).collect();
        return Err(not(format!("its version is {version:?}")));
    }
    let index = files.small("index.json", oci::MAX_MANIFEST)?;
    let Document::Index(index) = Document::parse(&index)? else {
        return Err(not("index.json is not a list of images".to_owned()));
    };
    let images = Index {
        manifests: index
            .manifests
            .iter()
            .filter(|d| !is_signature(d))
            .cloned()
            .collect(),
    };
    let (descriptor, name) = choose(&files, &images, wanted)?;
    let (descriptor, name) = (descriptor.clone(), name);
    let (manifest, digest, lists) = resolve(&files, descriptor)?;
    Ok(OciImage {
        manifest,
        digest,
        lists,
        origin: from_file(files.path(), name.as_deref(), &image.to_string())?,
        source: Box::new(Signable { files, index }),
    })
}

fn is_signature(descriptor: &Descriptor) -> bool {
    let kind = descriptor.annotations.get("kind").map(String::as_str);
    let tagged = names(descriptor).any(|n| n.contains("sha256-") && n.ends_with(".sig"));
    tagged || kind == Some(SIGNATURES)
}

fn names(descriptor: &Descriptor) -> impl Iterator<Item = &str> {
    let of = |key: &str| descriptor.annotations.get(key).map(String::as_str);
    [of(FULL_NAME), of(REF_NAME)].into_iter().flatten()
}

/// The entry that was asked for, or the only one; and its name.
fn choose<'i>(
    files: &impl Files,
    index: &'i Index,
    wanted: Option<&str>,
) -> Result<(&'i Descriptor, Option<String>)> {
    let all = || {
        let named = index.manifests.iter().filter_map(|d| names(d).next());
        named.take(50).map(str::to_owned).collect::<Vec<_>>()
    };
    let Some(wanted) = wanted else {
        return match index.manifests.as_slice() {
            [one] => Ok((one, names(one).next().map(str::to_owned))),
            [] => Err(Error::NoSuchImage {
                path: files.path().to_owned(),
                wanted: String::new(),
                found: Vec::new(),
            }),
            _ if all().is_empty() => Ok((index.choose(&Platform::host())?, None)),
            _ => Err(Error::SeveralImages {
                path: files.path().to_owned(),
                found: all(),
            }),
        };
    };
    let fits = |d: &&Descriptor| d.digest.as_str() == wanted || names(d).any(|n| n == wanted);
    let fitting: Vec<&Descriptor> = index.manifests.iter().filter(fits).collect();
    let chosen = match fitting.as_slice() {
        [] => Err(Error::NoSuchImage {
            path: files.path().to_owned(),
            wanted: wanted.to_owned(),
            found: all(),
        }),
        [one] => Ok(*one),
        several => {
            let several = Index {
                manifests: several.iter().map(|d| (*d).clone()).collect(),
            };
            let chosen = several.choose(&Platform::host())?.digest.clone();
            let same = |d: &&&Descriptor| d.digest == chosen;
            Ok(*fitting.iter().find(same).unwrap_or(&fitting[0]))
        }
    }?;
    let name = names(chosen).next().unwrap_or(wanted);
    Ok((chosen, Some(name.to_owned())))
}

/// From a descriptor to the manifest of one image for this machine.
pub(super) fn resolve(
    source: &impl BlobSource,
    mut descriptor: Descriptor,
) -> Result<(Vec<u8>, Digest, Vec<Digest>)> {
    let mut lists = Vec::new();
    for _ in 0..DEPTH {
        let bytes = whole(source, &descriptor.digest, oci::MAX_MANIFEST)?;
        match Document::parse(&bytes)? {
            Document::Manifest(_) => return Ok((bytes, descriptor.digest, lists)),
            Document::Index(index) => {
                lists.push(descriptor.digest);
                descriptor = index.choose(&Platform::host())?.clone();
            }
        }
    }
    Err(oci::Error::Unusable {
        what: "index",
        reason: "leads from list to list".to_owned(),
    }
    .into())
}

/// A small blob, checked.
fn whole(source: &impl BlobSource, digest: &Digest, limit: usize) -> Result<Vec<u8>> {
    let (reader, _) = source.open(digest, 0).map_err(store::Error::Source)?;
    let mut bytes = Vec::new();
    reader
        .take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", digest.as_str()))?;
    match store::sha256(&bytes) == *digest {
        true => Ok(bytes),
        false => Err(store::Error::ChangedBlob {
            digest: digest.clone(),
            found: Some(store::sha256(&bytes)),
        }
        .into()),
    }
}

/// A layout, with the signatures that its index may list.
struct Signable<F> {
    files: F,
    index: Index,
}

impl<F: Files> BlobSource for Signable<F> {
    fn open(&self, blob: &Digest, offset: u64) -> Result<Opened<'_>, store::Refusal> {
        self.files.open(blob, offset)
    }
}

impl<F: Files> Signed for Signable<F> {
    fn signatures(&self, digest: &Digest) -> Result<Vec<SimpleSigning>> {
        let tag = signatures::tag(digest);
        // By their tag, or as "cosign save" marks them.
        let marked = |d: &&Descriptor| {
            let tagged = names(d).any(|n| n == tag || n.ends_with(&format!(":{tag}")));
            tagged || (is_signature(d) && names(d).next().is_none())
        };
        let mut found = Vec::new();
        for descriptor in self.index.manifests.iter().filter(marked) {
            let manifest = whole(&self.files, &descriptor.digest, oci::MAX_MANIFEST)?;
            let payload = |d: &Descriptor| whole(&self.files, &d.digest, signatures::PAYLOAD);
            found.extend(signatures::read(&manifest, payload)?);
        }
        Ok(found)
    }
}

/// A layout that is a directory.
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Opens a regular file; anything else could keep us waiting.
    fn open(&self, name: &str) -> std::io::Result<File> {
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options()
            .read(true)
            .custom_flags(flags)
            .open(self.path.join(name))?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(std::io::Error::other("not a regular file")),
        }
    }
}

impl Files for Directory {
    fn small(&self, name: &str, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(name)
            .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
            .map_err(Error::io("read", self.path.join(name)))?;
        Ok(bytes)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl BlobSource for Directory {
    fn open(&self, blob: &Digest, offset: u64) -> Result<Opened<'_>, store::Refusal> {
        let name = format!("blobs/sha256/{}", blob.hex());
        let mut file = Directory::open(self, &name).map_err(|source| Error::Io {
            action: "read",
            path: self.path.join(&name),
            source,
        })?;
        file.seek(SeekFrom::Start(offset))?;
        Ok((Box::new(file), offset))
    }
}

//! Reading an ACI's tar: its manifest, and its rootfs handed to an [`Extractor`].

use std::io::Read;

use appc::ImageManifest;

use super::files::Extractor;
use super::{Contents, Whitelist};
use crate::{Error, Result};

/// Bounds on what one archive may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Entries of any kind.
    pub(crate) entries: u64,
    /// Bytes of a name.
    pub(crate) name: usize,
    /// Directories in a name.
    pub(crate) depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            name: 4095,
            depth: 1024,
        }
    }
}

/// Where the rootfs of an archive goes.
pub(crate) enum Target<'a> {
    /// Nowhere: the archive is only checked.
    Nowhere,
    /// Below a directory, as far as all the lists let it through.
    Rootfs(Extractor<'a>, Vec<Whitelist>),
}

/// What came of reading an archive.
pub(crate) struct AciManifest {
    pub(crate) manifest: ImageManifest,
    pub(crate) manifest_bytes: Vec<u8>,
}

/// Reads a whole archive. The target is made once the manifest is known, if it comes first.
///
/// # Errors
/// A damaged or hostile archive, a bad manifest, a file system that refuses.
pub(crate) fn read<'a>(
    stream: impl Read,
    limits: Limits,
    make_target: impl FnOnce(&ImageManifest) -> Result<Option<(Extractor<'a>, Vec<Whitelist>)>>,
) -> Result<(AciManifest, Option<Contents>)> {
    let mut archive = tar::Archive::new(stream);
    let mut make_target = Some(make_target);
    let mut target = Target::Nowhere;
    let mut manifest: Option<AciManifest> = None;
    let mut rootfs_skipped = false;
    let mut seen_rootfs = false;
    for (count, entry) in archive.entries().map_err(stream_error)?.enumerate() {
        let mut entry = entry.map_err(stream_error)?;
        if count as u64 >= limits.entries {
            return Err(Error::archive(format!(
                "more than {} entries",
                limits.entries
            )));
        }
        match place(&entry.path_bytes(), limits)? {
            Place::Root => {}
            Place::Manifest => {
                let read = read_manifest(&mut entry)?;
                if let Some(make) = make_target.take().filter(|_| !seen_rootfs)
                    && let Some((extractor, lists)) = make(&read.manifest)?
                {
                    target = Target::Rootfs(extractor, lists);
                }
                if manifest.replace(read).is_some() {
                    return Err(Error::archive("two manifests"));
                }
            }
            Place::Rootfs(path) => {
                seen_rootfs = true;
                match &mut target {
                    Target::Rootfs(extractor, lists) => {
                        if lists.iter().all(|list| list.allows(&path)) {
                            extractor.entry(&path, &mut entry)?;
                        }
                    }
                    Target::Nowhere => rootfs_skipped = true,
                }
            }
        }
    }
    let manifest = manifest.ok_or_else(|| Error::archive("there is no manifest in it"))?;
    if !seen_rootfs {
        return Err(Error::archive("there is no rootfs in it"));
    }
    let contents = match target {
        Target::Rootfs(extractor, _) if !rootfs_skipped => Some(extractor.finish()?),
        _ => None,
    };
    Ok((manifest, contents))
}

/// What an entry is, by its name.
enum Place {
    /// The archive's own root directory.
    Root,
    Manifest,
    /// Path below `rootfs`, without slashes around it; the rootfs itself is empty.
    Rootfs(String),
}

/// An ACI holds a file `manifest` and a directory `rootfs`, and nothing else (aci.md, "Image
/// Layout").
fn place(name: &[u8], limits: Limits) -> Result<Place> {
    let text = std::str::from_utf8(name).map_err(|_| {
        Error::archive(format!(
            "entry name {:?} is not UTF-8",
            String::from_utf8_lossy(name)
        ))
    })?;
    if text.len() > limits.name {
        return Err(Error::archive(format!(
            "an entry name of {} bytes",
            text.len()
        )));
    }
    if text.starts_with('/') {
        return Err(Error::archive(format!("absolute entry name {text:?}")));
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err(Error::archive(format!("entry name {text:?} leads upwards")));
    }
    if parts.len() > limits.depth {
        return Err(Error::archive(format!(
            "an entry {} directories deep",
            parts.len()
        )));
    }
    match parts.as_slice() {
        [] => Ok(Place::Root),
        ["manifest"] => Ok(Place::Manifest),
        ["rootfs", path @ ..] => Ok(Place::Rootfs(path.join("/"))),
        _ => Err(Error::archive(format!(
            "entry {text:?} is neither the manifest nor in the rootfs"
        ))),
    }
}

fn read_manifest(entry: &mut tar::Entry<'_, impl Read>) -> Result<AciManifest> {
    if !entry.header().entry_type().is_file() {
        return Err(Error::archive("its manifest is not a file"));
    }
    let mut manifest_bytes = Vec::new();
    let limit = appc::MAX_MANIFEST as u64 + 1;
    entry
        .take(limit)
        .read_to_end(&mut manifest_bytes)
        .map_err(stream_error)?;
    let manifest = ImageManifest::parse(&manifest_bytes).map_err(Error::Manifest)?;
    Ok(AciManifest {
        manifest,
        manifest_bytes,
    })
}

pub(super) fn stream_error(error: std::io::Error) -> Error {
    Error::Stream(error)
}

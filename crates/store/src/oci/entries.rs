//! The entries of a layer's archive (OCI image specification, "layer.md").

use std::io::BufRead;

use crate::extract::path::clean;
use crate::extract::{AUFS, Extractor, OPAQUE_NAME, WHITEOUT};
use crate::tar::{Archive, Entry, Kind};
use crate::{Error, Limits, Result};

/// Which entries of a layer are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// All of them.
    All,
    /// Only what takes away from the layers below.
    Whiteouts,
    /// Only what is added.
    Files,
}

/// Where an entry belongs: names from the root, which many tools begin with a slash.
fn place(name: &[u8], limits: &Limits) -> Result<Vec<u8>> {
    let from = name.iter().position(|b| *b != b'/').unwrap_or(name.len());
    clean(&name[from..], limits)
}

/// Writes the entries of a layer, and carries out what it takes away.
pub(crate) fn write<R: BufRead>(
    archive: &mut Archive<'_, R>,
    which: Which,
    extractor: &mut Extractor,
) -> Result<()> {
    while let Some(entry) = archive.next()? {
        let path = place(&entry.name, extractor.limits())?;
        let (above, name) = crate::extract::path::split(&path);
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if which == Which::Files {
                continue;
            }
            if name == OPAQUE_NAME {
                extractor.opaque(&entry.name, above)?;
            } else if !name.starts_with(AUFS) {
                let mut path = above.to_vec();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(hidden);
                extractor.whiteout(&entry.name, &path)?;
            }
        } else if which != Which::Whiteouts && !is_aufs(&path) {
            let link = link_target(&entry, extractor.limits())?;
            extractor.write(archive, &entry, &path, link.as_deref())?;
        }
    }
    Ok(())
}

/// Writes the entries of an archive that takes nothing away.
pub(crate) fn write_plain<R: BufRead>(
    archive: &mut Archive<'_, R>,
    extractor: &mut Extractor,
) -> Result<()> {
    while let Some(entry) = archive.next()? {
        let path = place(&entry.name, extractor.limits())?;
        let link = link_target(&entry, extractor.limits())?;
        extractor.write(archive, &entry, &path, link.as_deref())?;
    }
    Ok(())
}

/// Looks at the entries of a layer without writing anything.
pub(crate) fn check<R: BufRead>(archive: &mut Archive<'_, R>, limits: &Limits) -> Result<()> {
    while let Some(entry) = archive.next()? {
        let path = place(&entry.name, limits)?;
        link_target(&entry, limits)?;
        if path.is_empty() && entry.kind != Kind::Directory {
            return Err(Error::entry(&entry.name, "the root is not a directory"));
        }
    }
    Ok(())
}

/// What lies below a storage driver's own directories.
fn is_aufs(path: &[u8]) -> bool {
    path.split(|b| *b == b'/')
        .any(|part| part.starts_with(AUFS))
}

fn link_target(entry: &Entry, limits: &Limits) -> Result<Option<Vec<u8>>> {
    let Kind::HardLink(target) = &entry.kind else {
        return Ok(None);
    };
    match place(target, limits)? {
        path if path.is_empty() => Err(Error::entry(&entry.name, "a hard link to the root")),
        path => Ok(Some(path)),
    }
}

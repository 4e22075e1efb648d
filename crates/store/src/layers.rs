//! What a rendered image is made of: a list of layers, each with its rules, lowest first.
//!
//! An ACI's layers are the archives of its dependencies and its own. The list knows nothing of
//! manifests, so that other kinds of image can be rendered from one as well.

use std::collections::{HashMap, HashSet};
use std::io::BufRead;
use std::sync::Arc;

use appc::Hash;

use crate::Result;
use crate::extract::Extractor;
use crate::extract::path::{Place, place};
use crate::limits::Limits;
use crate::tar::{Archive, Entry, Kind};
use crate::{Error, tar};

/// One archive of a rendered image.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// The blob.
    pub(crate) id: Hash,
    /// Which of its files are kept.
    pub(crate) keep: Keep,
}

/// The path whitelists that apply to a layer: its image's own and those of all images that depend
/// on it. Without one, everything is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Keep(Vec<Arc<HashSet<Vec<u8>>>>);

impl Keep {
    /// These rules and one whitelist more; an empty whitelist is no rule. A path brings the
    /// directories above it along.
    pub(crate) fn and(&self, whitelist: &[String]) -> Self {
        let mut rules = self.clone();
        if whitelist.is_empty() {
            return rules;
        }
        let mut set = HashSet::from([Vec::new()]);
        for path in whitelist {
            let parts: Vec<&str> = path
                .split('/')
                .filter(|p| !p.is_empty() && *p != ".")
                .collect();
            for end in 1..=parts.len() {
                set.insert(parts[..end].join("/").into_bytes());
            }
        }
        rules.0.push(Arc::new(set));
        rules
    }

    /// Whether every file is kept.
    pub(crate) fn all(&self) -> bool {
        self.0.is_empty()
    }

    fn keeps(&self, path: &[u8]) -> bool {
        self.0.iter().all(|set| set.contains(path))
    }
}

/// Writes the kept files of an image archive.
///
/// A kept hard link to a file that is not kept needs the data of that file: `moved` says under
/// which kept name to write it ([`moved_files`]).
pub(crate) fn write_layer<R: BufRead>(
    archive: &mut Archive<'_, R>,
    keep: &Keep,
    moved: &HashMap<Vec<u8>, Vec<u8>>,
    extractor: &mut Extractor,
) -> Result<()> {
    while let Some(entry) = archive.next()? {
        let Place::Root(path) = place(&entry.name, extractor.limits())? else {
            continue;
        };
        let link = link_target(&entry, extractor.limits())?;
        let link = link
            .as_deref()
            .map(|link| moved.get(link).map_or(link, Vec::as_slice));
        if keep.keeps(&path) {
            extractor.write(archive, &entry, &path, link)?;
        } else if let Some(name) = moved.get(&path)
            && !matches!(entry.kind, Kind::HardLink(_) | Kind::Directory)
        {
            extractor.write(archive, &entry, name, None)?;
        }
    }
    Ok(())
}

/// Finds, from a pass over the headers, the files that are only kept under the name of a hard
/// link: their own path, and the first kept link's.
pub(crate) fn moved_files<R: BufRead>(
    archive: &mut Archive<'_, R>,
    keep: &Keep,
    limits: &Limits,
) -> Result<HashMap<Vec<u8>, Vec<u8>>> {
    let mut moved = HashMap::new();
    // Links may lead to links.
    let mut targets: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    while let Some(entry) = archive.next()? {
        let Place::Root(path) = place(&entry.name, limits)? else {
            continue;
        };
        let Some(target) = link_target(&entry, limits)? else {
            continue;
        };
        let target = targets.get(&target).cloned().unwrap_or(target);
        if keep.keeps(&path) && !keep.keeps(&target) {
            moved.entry(target.clone()).or_insert_with(|| path.clone());
        }
        targets.insert(path, target);
    }
    // A link that is not kept itself stands for the file it leads to.
    for (link, target) in targets {
        if let Some(name) = moved.get(&target).cloned() {
            moved.entry(link).or_insert(name);
        } else if !keep.keeps(&link) {
            moved.entry(link).or_insert(target);
        }
    }
    Ok(moved)
}

/// The clean path of a hard link's target inside the root.
pub(crate) fn link_target(entry: &Entry, limits: &Limits) -> Result<Option<Vec<u8>>> {
    let tar::Kind::HardLink(target) = &entry.kind else {
        return Ok(None);
    };
    match place(target, limits)? {
        Place::Root(path) if !path.is_empty() => Ok(Some(path)),
        _ => Err(Error::entry(
            &entry.name,
            "a hard link to something outside rootfs",
        )),
    }
}

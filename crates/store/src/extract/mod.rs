//! Taking a hostile archive apart: entries become files below a directory, and nothing else.
//!
//! Names are resolved by the kernel inside that directory (`openat2` with `RESOLVE_IN_ROOT`), so
//! no symlink, `..` or absolute name leads out of it. Later entries replace earlier ones.

mod archive;
mod attributes;
mod files;

use std::collections::{BTreeSet, HashMap};

pub(crate) use archive::{AciManifest, Limits, read};
pub(crate) use files::Extractor;

/// Digests of file contents by inode, gathered while they were written.
pub(crate) type Contents = HashMap<u64, blake3::Hash>;

/// Paths of a tree that an image lets through (aci.md, "pathWhitelist"): the listed ones and the
/// directories on the way to them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Whitelist {
    listed: BTreeSet<String>,
}

impl Whitelist {
    /// `None` where an image has no list: all is let through.
    pub(crate) fn of(manifest: &appc::ImageManifest) -> Option<Self> {
        let paths = &manifest.path_whitelist;
        let listed = paths
            .iter()
            .map(|p| p.trim_matches('/').to_owned())
            .collect();
        (!paths.is_empty()).then_some(Self { listed })
    }

    /// Whether the path, relative to the rootfs, is let through.
    pub(crate) fn allows(&self, path: &str) -> bool {
        if path.is_empty() || self.listed.contains(path) {
            return true;
        }
        let below = format!("{path}/");
        self.listed
            .range(below.clone()..)
            .next()
            .is_some_and(|p| p.starts_with(&below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whitelist_lets_through_what_it_lists_and_the_way_there() {
        let listed = ["usr/bin/app", "etc"].map(String::from).into();
        let list = Whitelist { listed };
        for path in ["", "usr", "usr/bin", "usr/bin/app", "etc"] {
            assert!(list.allows(path), "{path}");
        }
        for path in ["usr/bin/other", "etc/passwd", "us", "usr/lib"] {
            assert!(!list.allows(path), "{path}");
        }
    }
}

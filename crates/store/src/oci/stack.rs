//! An image's tree as a stack of its layers' trees, with a directory of its own on top.
//!
//! Layers are unpacked by themselves. What that leaves open is settled here: a directory that a
//! layer writes into without an entry for it looks, from above, as lower layers have it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use appc::Hash;
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, getxattr, mkdirat, openat, openat2, statat,
};
use rustix::io::Errno;

use super::layer::{is_unpacked, split_paths, unpack};
use super::{LayerId, Parts};
use crate::extract::{OPAQUE, copy_attributes, path::split};
use crate::temporary::NewDirectory;
use crate::tree::{Building, new_root};
use crate::{Error, Limits, Result, Store};

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Store {
    /// Renders an OCI image. The lock of its tree is held.
    pub(crate) fn render_oci(&self, id: &Hash, tree: &str) -> Result<()> {
        let parts = self.parts(id)?;
        for layer in &parts.layers {
            if !is_unpacked(self.layout(), layer) {
                unpack(self.layout(), layer, &Limits::default())?;
            }
        }
        let building = NewDirectory::create(&self.layout().building())?;
        let top = new_root(&building.path().join("rootfs"))?;
        let stack = Stack::open(self, &parts)?;
        let settled = match &stack {
            Some(stack) => stack.settle(&top)?,
            None => false,
        };
        let manifest = self.manifest_bytes(id)?;
        let place = self.layout().tree(tree);
        let image = [("manifest", manifest.as_slice()), ("image", id.as_bytes())];
        if settled {
            let building = Building::measure(building, &Default::default())?;
            let lowers = self.lower_names(&parts).join("\n");
            let size = building.measured.size + self.sizes(&parts);
            building.publish_with(&place, &[image[0], image[1], ("lowers", lowers.as_bytes())])?;
            let _ = self.index().set_tree_size(id, size);
        } else {
            drop(top);
            // What was begun on top is in the way.
            let root = building.path().join("rootfs");
            crate::remove::remove_tree(&root).map_err(Error::io("remove", &root))?;
            let digests = self.write_merged(&parts, new_root(&root)?)?;
            let building = Building::measure(building, &digests)?;
            let size = building.measured.size;
            building.publish_with(&place, &image)?;
            let _ = self.index().set_tree_size(id, size);
        }
        Ok(())
    }

    /// The names of the layers' trees, the highest first. One that comes twice counts where it is
    /// highest.
    fn lower_names(&self, parts: &Parts) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for layer in parts.layers.iter().rev() {
            let name = layer.tree();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn sizes(&self, parts: &Parts) -> u64 {
        let names = self.lower_names(parts);
        let size = |name: &String| {
            let file = self.layout().tree(name).join("rendered");
            let text = fs::read_to_string(file).unwrap_or_default();
            text.trim_end().parse::<u64>().unwrap_or(0)
        };
        names.iter().map(size).sum()
    }

    /// The directories that make up a rendered tree, the highest first: what overlayfs is given as
    /// its lower directories.
    pub fn lower_directories(&self, tree: &str) -> Result<Vec<PathBuf>> {
        let own = self.layout().tree(tree).join("rootfs");
        let lowers = self.lowers(tree)?;
        let lowers = lowers.iter().map(|l| self.layout().tree(l).join("rootfs"));
        Ok(std::iter::once(own).chain(lowers).collect())
    }

    /// The trees that a tree lies over, the highest first; none for a tree that stands alone.
    pub(crate) fn lowers(&self, tree: &str) -> Result<Vec<String>> {
        let file = self.layout().tree(tree).join("lowers");
        match fs::read_to_string(&file) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(Error::io("read", &file)(e)),
        }
    }
}

/// The trees of an image's layers, the highest first.
struct Stack {
    trees: Vec<LayerTree>,
}

struct LayerTree {
    root: OwnedFd,
    path: PathBuf,
    /// Directories without an entry.
    implicit: BTreeSet<Vec<u8>>,
    /// Directories in which something is taken away.
    hiding: BTreeSet<Vec<u8>>,
}

/// Which layers show themselves at a path.
#[derive(Clone)]
struct Shown {
    /// Those whose directories are laid over each other there, the highest first.
    directories: Vec<usize>,
    /// Something else than a directory lies below them.
    hides: bool,
}

/// What was found out about directories. No layer's tree changes any more.
type Seen = HashMap<Vec<u8>, Shown>;

impl Stack {
    /// Opens the trees; `None` if a layer means nothing by itself.
    fn open(store: &Store, parts: &Parts) -> Result<Option<Self>> {
        let mut trees = Vec::new();
        let mut seen = BTreeSet::new();
        for layer in parts.layers.iter().rev() {
            if !seen.insert(layer.tree()) {
                continue;
            }
            match LayerTree::open(store, layer)? {
                Some(tree) => trees.push(tree),
                None => return Ok(None),
            }
        }
        Ok(Some(Stack { trees }))
    }

    /// Gives directories on top the attributes that no layer alone could tell. `false` if the
    /// layers cannot be laid over each other.
    fn settle(&self, top: &OwnedFd) -> Result<bool> {
        let open: BTreeSet<&Vec<u8>> = self.trees.iter().flat_map(|t| &t.implicit).collect();
        let mut seen = Seen::new();
        for path in open {
            let fault = |e: Errno| {
                let name = String::from_utf8_lossy(path).into_owned();
                Error::io("settle the attributes of", Path::new(&name))(e)
            };
            // Where one layer is alone, nobody else speaks of what is in it.
            if !path.is_empty()
                && let above = self.shown(split(path).0, &mut seen).map_err(fault)?
                && above.directories.len() < 2
            {
                continue;
            }
            let shown = self.shown(path, &mut seen).map_err(fault)?;
            let Some(first) = shown.directories.first() else {
                continue;
            };
            if !self.trees[*first].implicit.contains(path) {
                continue;
            }
            match self.explicit(path, &shown) {
                Some(from) => self.copy_up(top, path, from, &mut seen).map_err(fault)?,
                // A directory nobody spoke of would cover a file or link that somebody did.
                None if shown.hides => return Ok(false),
                None => {}
            }
        }
        self.cover_whiteouts(top, &mut seen)?;
        Ok(true)
    }

    /// Overlayfs lists the signs of what is taken away where nothing is: in directories that only
    /// one layer has. Another one on top makes it look.
    fn cover_whiteouts(&self, top: &OwnedFd, seen: &mut Seen) -> Result<()> {
        let hiding: BTreeSet<&Vec<u8>> = self.trees.iter().flat_map(|t| &t.hiding).collect();
        for path in hiding.into_iter().filter(|path| !path.is_empty()) {
            let mut cover = || match self.shown(path, seen)?.directories.as_slice() {
                [only] => self.copy_up(top, path, *only, seen),
                _ => Ok(()),
            };
            let name = String::from_utf8_lossy(path);
            cover().map_err(Error::io("cover what is taken away in", Path::new(&*name)))?;
        }
        Ok(())
    }

    /// The highest layer that speaks of a directory.
    fn explicit(&self, path: &[u8], shown: &Shown) -> Option<usize> {
        let speaks = |i: &&usize| !self.trees[**i].implicit.contains(path);
        shown.directories.iter().find(speaks).copied()
    }

    /// Makes a directory on top as the layer `from` has it, with those above it.
    fn copy_up(
        &self,
        top: &OwnedFd,
        path: &[u8],
        from: usize,
        seen: &mut Seen,
    ) -> Result<(), Errno> {
        if path.is_empty() {
            let to = openat(top, ".", READ, Mode::empty())?;
            let from = openat(&self.trees[from].root, ".", READ, Mode::empty())?;
            return copy_attributes(from, to);
        }
        let (above, name) = split(path);
        let parent = match open_below(top, above) {
            Err(Errno::NOENT) => {
                let shown = self.shown(above, seen)?;
                let from = self.explicit(above, &shown);
                let from = from.or(shown.directories.first().copied());
                self.copy_up(top, above, from.ok_or(Errno::NOENT)?, seen)?;
                open_below(top, above)?
            }
            other => other?,
        };
        match mkdirat(&parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => {}
            other => other?,
        }
        let to = openat(&parent, name, READ, Mode::empty())?;
        copy_attributes(self.trees[from].open_directory(path)?, to)
    }

    /// Which layers show themselves at a path, as overlayfs would have it.
    fn shown(&self, path: &[u8], seen: &mut Seen) -> Result<Shown, Errno> {
        if let Some(known) = seen.get(path) {
            return Ok(known.clone());
        }
        let shown = if path.is_empty() {
            Shown {
                directories: (0..self.trees.len()).collect(),
                hides: false,
            }
        } else {
            let above = self.shown(split(path).0, seen)?;
            self.step(&above.directories, path)?
        };
        seen.insert(path.to_vec(), shown.clone());
        Ok(shown)
    }

    /// From the layers that show the directory above to those that show `path`.
    fn step(&self, above: &[usize], path: &[u8]) -> Result<Shown, Errno> {
        let mut directories = Vec::new();
        for index in above {
            let tree = &self.trees[*index];
            let (parent, name) = split(path);
            let parent = tree.open_directory(parent)?;
            let stat = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                let hides = !directories.is_empty() && !crate::extract::is_whiteout(&stat);
                return Ok(Shown { directories, hides });
            }
            directories.push(*index);
            if tree.is_opaque(path)? {
                break;
            }
        }
        Ok(Shown {
            directories,
            hides: false,
        })
    }
}

impl LayerTree {
    fn open(store: &Store, layer: &LayerId) -> Result<Option<Self>> {
        let directory = store.layout().tree(&layer.tree());
        let read = |name: &str| {
            let file = directory.join(name);
            fs::read(&file).map_err(Error::io("read", &file))
        };
        if read("needs-lower")? != b"no" {
            return Ok(None);
        }
        let implicit = split_paths(&read("implicit")?);
        let hiding = split_paths(&read("hiding")?);
        let path = directory.join("rootfs");
        let root =
            rustix::fs::open(&path, READ, Mode::empty()).map_err(Error::io("open", &path))?;
        Ok(Some(LayerTree {
            root,
            path,
            implicit,
            hiding,
        }))
    }

    fn open_directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        open_below(&self.root, path)
    }

    fn is_opaque(&self, path: &[u8]) -> Result<bool, Errno> {
        use std::os::unix::ffi::OsStrExt;
        // The path was just walked without links, in a tree that only root writes.
        let full = self.path.join(std::ffi::OsStr::from_bytes(path));
        let mut value = [0; 2];
        match getxattr(&full, OPAQUE, &mut value[..]) {
            Ok(length) => Ok(&value[..length] == b"y"),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn open_below(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    if path.is_empty() {
        return openat(root, ".", READ, Mode::empty());
    }
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(root, path, READ, Mode::empty(), how)
}

//! The tree store: images rendered to directories, once for all pods.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, mkdirat, openat};

use crate::error::At;
use crate::extract::{self, Contents, Extractor, Whitelist};
use crate::images::names;
use crate::layout::{make_dir, make_parent};
use crate::render::Layer;
use crate::temporary::Temporary;
use crate::{Error, ImageId, Result, Store, TreeId, copy, verify};

/// Names in a tree's directory.
const ROOTFS: &str = "rootfs";
const RENDERED: &str = "rendered";
const IMAGE: &str = "image";
const SIZE: &str = "size";
pub(crate) const HASH: &str = "hash";

/// A rendered tree.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Its id.
    pub id: TreeId,
    /// Its root file system.
    pub rootfs: PathBuf,
}

/// A tree being rendered, in a temporary directory.
#[derive(Debug)]
pub(crate) struct NewTree {
    directory: Temporary,
    rootfs: OwnedFd,
    path: PathBuf,
}

impl Store {
    /// The tree of an image, rendered now if it was not before.
    ///
    /// # Errors
    /// No such image, a missing dependency, a damaged blob, a full disk.
    pub fn tree(&self, image: &ImageId) -> Result<Tree> {
        // An image without dependencies has a tree of its own id alone: one look is enough.
        let alone = TreeId::of(std::slice::from_ref(image));
        if self.is_rendered(&alone)
            && self.blob(image).exists()
            && self.manifest(image)?.dependencies.is_empty()
        {
            return Ok(self.rendered(alone));
        }
        let layers = self.layers(image)?;
        let ids: Vec<ImageId> = layers.iter().map(|l| l.id.clone()).collect();
        let id = TreeId::of(&ids);
        if self.is_rendered(&id) {
            return Ok(self.rendered(id));
        }
        let lock = self.lock_tree(&id)?;
        if !self.is_rendered(&id) {
            let tree = NewTree::make(self)?;
            let contents = self.render(&layers, &tree)?;
            tree.complete(self, &ids, contents)?;
        }
        drop(lock);
        Ok(self.rendered(id))
    }

    fn rendered(&self, id: TreeId) -> Tree {
        Tree {
            rootfs: self.tree_dir(&id).join(ROOTFS),
            id,
        }
    }

    /// The tree of an image without dependencies, if it is rendered; one look at the file system.
    pub fn tree_alone(&self, image: &ImageId) -> Option<Tree> {
        self.tree_by_id(&TreeId::of(std::slice::from_ref(image)))
    }

    /// A tree by its id, if it is rendered.
    pub fn tree_by_id(&self, id: &TreeId) -> Option<Tree> {
        self.is_rendered(id).then(|| self.rendered(id.clone()))
    }

    fn is_rendered(&self, id: &TreeId) -> bool {
        self.tree_dir(id).join(RENDERED).exists()
    }

    /// The id that an image's tree has or would have.
    ///
    /// # Errors
    /// No such image, a missing dependency.
    pub fn tree_id(&self, image: &ImageId) -> Result<TreeId> {
        let layers = self.layers(image)?;
        Ok(TreeId::of(
            &layers.into_iter().map(|l| l.id).collect::<Vec<_>>(),
        ))
    }

    /// Ids of all trees.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn trees_rendered(&self) -> Result<Vec<TreeId>> {
        Ok(names(&self.trees())?
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect())
    }

    /// Removes a tree. It is for the caller to see that no pod uses it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove_tree(&self, id: &TreeId) -> Result<()> {
        let lock = self.lock_tree(id)?;
        let dir = self.tree_dir(id);
        // Half removed is not rendered.
        for path in [dir.join(RENDERED), dir, self.tree_lock(id)] {
            copy::remove(&path).at("remove", &path)?;
        }
        drop(lock);
        Ok(())
    }

    fn lock_tree(&self, id: &TreeId) -> Result<File> {
        let path = self.tree_lock(id);
        make_parent(&path)?;
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .at("open", &path)?;
        flock(&file, FlockOperation::LockExclusive).at("lock", &path)?;
        Ok(file)
    }

    /// Extracts the layers over each other.
    fn render(&self, layers: &[Layer], tree: &NewTree) -> Result<Contents> {
        let mut contents = Contents::new();
        for layer in layers {
            contents.extend(self.extract_layer(layer, tree.rootfs(), tree.path())?);
        }
        Ok(contents)
    }

    fn extract_layer(&self, layer: &Layer, rootfs: &OwnedFd, path: &Path) -> Result<Contents> {
        use sha2::{Digest, Sha512};
        use std::io::Read;
        use std::os::fd::AsFd;
        let blob = self.blob(&layer.id);
        let file = File::open(&blob).at("open", &blob)?;
        let mut stream = HashingReader {
            inner: std::io::BufReader::with_capacity(1 << 20, file),
            hash: Sha512::new(),
        };
        let lists: Vec<Whitelist> = layer.lists.clone();
        let (_, contents) = extract::read(&mut stream, extract::Limits::default(), |_| {
            Ok(Some((Extractor::new(rootfs.as_fd(), path), lists)))
        })?;
        // The blob is trusted by its digest only, and a disk may lie.
        let mut rest = Vec::new();
        while stream
            .by_ref()
            .take(1 << 20)
            .read_to_end(&mut rest)
            .map_err(Error::Stream)?
            > 0
        {
            rest.clear();
        }
        let found = ImageId::of_digest(&stream.hash.finalize());
        if found != layer.id {
            return Err(Error::Damaged {
                id: layer.id.to_string(),
                found: found.to_string(),
            });
        }
        contents.ok_or_else(|| Error::archive("its manifest comes after its files"))
    }

    /// Writes an image's rendered tree to the existing directory `to`, for pods without overlay.
    ///
    /// # Errors
    /// As [`Store::tree`], and the file system's.
    pub fn render_into(&self, image: &ImageId, to: &Path) -> Result<TreeId> {
        let tree = self.tree(image)?;
        copy::tree(&tree.rootfs, to)?;
        Ok(tree.id)
    }

    /// Extracts this image alone, without dependencies, to the existing directory `to`: its rootfs
    /// only, or its manifest and its rootfs.
    ///
    /// # Errors
    /// No such image, and the file system's.
    pub fn extract(&self, image: &ImageId, to: &Path, rootfs_only: bool) -> Result<()> {
        let target = match rootfs_only {
            true => to.to_owned(),
            false => {
                let manifest = to.join("manifest");
                std::fs::write(&manifest, self.manifest_bytes(image)?).at("write", manifest)?;
                make_dir(&to.join(ROOTFS))?;
                to.join(ROOTFS)
            }
        };
        let fd = open_directory(&target)?;
        let layer = Layer {
            id: image.clone(),
            lists: Vec::new(),
        };
        self.extract_layer(&layer, &fd, &target).map(drop)
    }

    /// Bytes of an image's own tree, 0 when it is not rendered.
    pub(crate) fn tree_size_of(&self, image: &ImageId) -> u64 {
        let Ok(id) = self.tree_id(image) else {
            return 0;
        };
        let text = std::fs::read_to_string(self.tree_dir(&id).join(SIZE)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

impl NewTree {
    pub(crate) fn make(store: &Store) -> Result<Self> {
        let directory = Temporary::directory(store)?;
        let path = directory.path().join(ROOTFS);
        mkdirat(CWD, &path, Mode::from_raw_mode(0o755)).at("create directory", &path)?;
        let rootfs = open_directory(&path)?;
        rustix::fs::fchmod(&rootfs, Mode::from_raw_mode(0o755)).at("set mode of", &path)?;
        Ok(Self {
            directory,
            rootfs,
            path,
        })
    }

    pub(crate) fn rootfs(&self) -> &OwnedFd {
        &self.rootfs
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the tree of these images in its place. One that is there already stays.
    pub(crate) fn complete(self, store: &Store, ids: &[ImageId], contents: Contents) -> Result<()> {
        let id = TreeId::of(ids);
        let Some(top) = ids.last() else { return Ok(()) };
        let checksum = verify::checksum(&self.rootfs, &self.path, &contents)?;
        let write = |name: &str, bytes: &[u8]| {
            let path = self.directory.path().join(name);
            std::fs::write(&path, bytes).at("write", path)
        };
        write(HASH, checksum.digest.as_bytes())?;
        write(SIZE, checksum.size.to_string().as_bytes())?;
        write(IMAGE, top.as_str().as_bytes())?;
        write("manifest", &store.manifest_bytes(top)?)?;
        write(RENDERED, b"")?;
        make_dir(&store.trees())?;
        let place = store.tree_dir(&id);
        if !store.is_rendered(&id) {
            // What lies there was half removed.
            copy::remove(&place).at("remove", &place)?;
        }
        self.directory.persist(&place).map(drop)
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at("open", path)
}

/// Hashes what is read through it.
struct HashingReader<R> {
    inner: R,
    hash: sha2::Sha512,
}

impl<R: std::io::Read> std::io::Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use sha2::Digest;
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

//! Taking an App Container Image into the store, in one pass over its bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use appc::{Hash, ImageManifest};
use sha::{Running, Sha512};

use crate::blob::read_manifest;
use crate::compress::{Compression, SNIFF};
use crate::digest::is_image;
use crate::extract::path::{Place, place};
use crate::extract::{Extractor, Policy};
use crate::image::{ImageInfo, ImageKind};
use crate::index::{self, Row};
use crate::layers::link_target;
use crate::lock::Lock;
use crate::pipeline::{Pieces, pass};
use crate::tar::{Archive, Entry, Kind};
use crate::temporary::{NewDirectory, NewFile, write_file};
use crate::tree::plan::tree_id;
use crate::tree::{Building, new_root};
use crate::{Error, Limits, Result, Store};

/// Why an image is not accepted.
pub type Refusal = Box<dyn std::error::Error + Send + Sync>;

/// How an image is taken in.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The image was asked for by a name without a version.
    pub latest: bool,
    /// Render the tree in the same pass, so that the first run finds it ready. Only done as root,
    /// and left for later when the image has dependencies or a whitelist.
    pub render: bool,
    /// Refuse any other image.
    pub expected: Option<Hash>,
    /// Bounds on what is accepted.
    pub limits: Limits,
}

/// An image that was read, and is not in the store yet.
#[derive(Debug)]
pub struct Accepting<'a, R> {
    /// Where it came from. It may hold bytes behind the archive.
    pub source: R,
    /// Its manifest.
    pub manifest: &'a ImageManifest,
    /// What the source gave, hashed to its end, if it was not compressed: who wants the digest of
    /// the file need not hash it once more.
    pub hash: Option<&'a Sha512>,
}

impl Store {
    /// Imports an image: uncompressed, or compressed with gzip, bzip2, xz or zstd. A refused one
    /// leaves nothing behind; one that is there already is taken as imported again.
    ///
    /// # Errors
    /// [`Error::NotAnAci`], [`Error::Manifest`], [`Error::Truncated`], [`Error::Entry`],
    /// [`Error::TooLarge`], [`Error::Compression`] for bad input; [`Error::WrongImage`]; and
    /// [`Error::Io`], which says so when the disk is full ([`Error::is_no_space`]).
    pub fn import(&self, source: impl Read + Send, options: &ImportOptions) -> Result<ImageInfo> {
        self.import_if(source, options, |_| Ok(()))
    }

    /// Imports an image that somebody accepts: when all of it was read and nothing of it is in the
    /// store yet, `accept` sees it.
    ///
    /// # Errors
    /// As [`Store::import`], and [`Error::Refused`] when it is not accepted.
    pub fn import_if<R: Read + Send>(
        &self,
        mut source: R,
        options: &ImportOptions,
        accept: impl FnOnce(Accepting<'_, R>) -> Result<(), Refusal>,
    ) -> Result<ImageInfo> {
        self.layout().create()?;
        let temporary = self.layout().temporary();
        let limits = &options.limits;
        let head = read_head(&mut source)?;
        let format = recognize(&head)?;
        let count = AtomicU64::new(0);
        let counted = Counted {
            inner: io::Cursor::new(head).chain(&mut source),
            count: &count,
        };
        let fault = move |e: io::Error| read_fault(format, e);
        let mut plain = format.decoder(counted).map_err(fault)?;
        let blob = NewFile::create(&temporary)?;
        let mut scan = Scan::new(limits);
        if options.render && Policy::of_this_process().owners {
            scan.build(NewDirectory::create(&self.layout().building())?)?;
        }
        let passed = pass::<Sha512, _>(
            &mut plain,
            Some((blob.file(), &temporary)),
            &mut |size| welcome(size, count.load(Ordering::Relaxed), limits),
            &fault,
            |pieces| scan.run(pieces),
        )?;
        drop(plain);
        let read = Accepting {
            source,
            manifest: &passed.value.manifest,
            hash: (format == Compression::None).then_some(&passed.hash),
        };
        accept(read).map_err(Error::Refused)?;
        let digest = passed.hash.finish();
        if let Some(expected) = &options.expected
            && !is_image(&digest, expected)
        {
            return Err(Error::WrongImage {
                expected: expected.clone(),
                found: Hash::from_sha512(&digest),
            });
        }
        let id = Hash::from_sha512(&digest);
        self.publish(id, passed.size, blob, passed.value, options)
    }

    /// Imports an image file.
    pub fn import_file(&self, path: &Path, options: &ImportOptions) -> Result<ImageInfo> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        self.import(file, options)
    }

    /// Makes an image visible: manifest and row first, the blob last, since an image is there
    /// when its blob is.
    fn publish(
        &self,
        id: Hash,
        size: u64,
        blob: NewFile,
        scanned: Scanned,
        options: &ImportOptions,
    ) -> Result<ImageInfo> {
        let layout = self.layout();
        let (manifest_path, blob_path) = (layout.image_manifest(&id), layout.blob(&id));
        let _lock = Lock::exclusive(&layout.image_lock(&id))?;
        layout.create_parent(&manifest_path)?;
        layout.create_parent(&blob_path)?;
        let now = SystemTime::now();
        let row = Row {
            id: id.clone(),
            kind: ImageKind::Aci,
            name: scanned.manifest.name.to_string(),
            version: scanned.manifest.version().map(str::to_owned),
            import_time: index::nanoseconds(now),
            latest: options.latest,
            size,
            tree_size: scanned.tree.as_ref().map_or(0, |tree| tree.measured.size),
        };
        let publish = || {
            write_file(layout, &manifest_path, &scanned.bytes)?;
            self.index().insert(&row)?;
            blob.publish(layout, &blob_path)
        };
        if let Err(error) = publish() {
            if !self.contains(&id) {
                let _ = std::fs::remove_file(&manifest_path);
            }
            return Err(error);
        }
        if let Some(tree) = scanned.tree {
            let name = tree_id(std::iter::once(&id));
            let _lock = Lock::exclusive(&layout.tree_lock(&name))?;
            tree.publish(&layout.tree(&name), &id, &scanned.bytes)?;
        }
        self.touch(&id);
        Ok(ImageInfo::of(row, now))
    }
}

/// Checks an image as an import does, without storing anything, and returns its manifest.
///
/// # Errors
/// Those of [`Store::import`] for bad input.
pub fn check_image(mut source: impl Read + Send, limits: &Limits) -> Result<ImageManifest> {
    let head = read_head(&mut source)?;
    let format = recognize(&head)?;
    let count = AtomicU64::new(0);
    let counted = Counted {
        inner: io::Cursor::new(head).chain(source),
        count: &count,
    };
    let fault = move |e: io::Error| read_fault(format, e);
    let mut plain = format.decoder(counted).map_err(fault)?;
    let passed = pass::<Sha512, _>(
        &mut plain,
        None,
        &mut |size| welcome(size, count.load(Ordering::Relaxed), limits),
        &fault,
        |pieces| Scan::new(limits).run(pieces),
    )?;
    Ok(passed.value.manifest)
}

/// The ID that an image would have in the store: the digest of its archive, decompressed.
///
/// # Errors
/// It is no archive, or larger than the limits allow.
pub fn image_id(mut source: impl Read + Send, limits: &Limits) -> Result<Hash> {
    let head = read_head(&mut source)?;
    let format = recognize(&head)?;
    let count = AtomicU64::new(0);
    let counted = Counted {
        inner: io::Cursor::new(head).chain(source),
        count: &count,
    };
    let fault = |e: io::Error| read_fault(format, e);
    let mut plain = format.decoder(counted).map_err(fault)?;
    let mut hash = Sha512::new();
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        match plain.read(&mut buffer) {
            Ok(0) => return Ok(Hash::from_sha512(&hash.finish())),
            Ok(read) => {
                hash.update(&buffer[..read]);
                size += read as u64;
                welcome(size, count.load(Ordering::Relaxed), limits)?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(fault(e)),
        }
    }
}

/// What a pass over the archive found.
struct Scanned {
    manifest: ImageManifest,
    bytes: Vec<u8>,
    tree: Option<Building>,
}

/// Checks the whole archive, and writes its tree if one is wanted and nothing is missing for it.
struct Scan<'l> {
    limits: &'l Limits,
    manifest: Option<(ImageManifest, Vec<u8>)>,
    rootfs: bool,
    tree: Option<(NewDirectory, Extractor)>,
}

impl<'l> Scan<'l> {
    fn new(limits: &'l Limits) -> Self {
        Scan {
            limits,
            manifest: None,
            rootfs: false,
            tree: None,
        }
    }

    fn build(&mut self, directory: NewDirectory) -> Result<()> {
        let root = new_root(&directory.path().join("rootfs"))?;
        self.tree = Some((directory, Extractor::new(root, self.limits)));
        Ok(())
    }

    fn run(mut self, pieces: Pieces) -> Result<Scanned> {
        let mut archive = Archive::new(pieces, self.limits);
        while let Some(entry) = archive.next()? {
            match place(&entry.name, self.limits)? {
                Place::Top if entry.kind == Kind::Directory => {}
                Place::Top => return Err(Error::entry(&entry.name, "the top is not a directory")),
                Place::Manifest => self.manifest(&mut archive, &entry)?,
                Place::Root(path) => self.root_entry(&mut archive, &entry, &path)?,
            }
        }
        drop(archive);
        let manifest = self.manifest.take();
        let (manifest, bytes) = manifest.ok_or_else(|| Error::not_an_aci("it has no manifest"))?;
        if !self.rootfs {
            return Err(Error::not_an_aci("it has no rootfs"));
        }
        let tree = match self.tree {
            Some((directory, extractor)) => {
                Some(Building::measure(directory, &extractor.finish()?)?)
            }
            None => None,
        };
        Ok(Scanned {
            manifest,
            bytes,
            tree,
        })
    }

    fn manifest(&mut self, archive: &mut Archive<'_, Pieces>, entry: &Entry) -> Result<()> {
        if self.manifest.is_some() {
            return Err(Error::not_an_aci("it has two manifests"));
        }
        if entry.kind != Kind::File || entry.map.is_some() {
            return Err(Error::not_an_aci("its manifest is not a plain file"));
        }
        let bytes = read_manifest(archive)?;
        let parsed = ImageManifest::parse(&bytes)?;
        if !(parsed.dependencies.is_empty() && parsed.path_whitelist.is_empty()) {
            self.tree = None;
        }
        self.manifest = Some((parsed, bytes));
        Ok(())
    }

    fn root_entry(
        &mut self,
        archive: &mut Archive<'_, Pieces>,
        entry: &Entry,
        path: &[u8],
    ) -> Result<()> {
        self.rootfs = true;
        let link = link_target(entry, self.limits)?;
        match &mut self.tree {
            Some((_, extractor)) => extractor.write(archive, entry, path, link.as_deref()),
            None if path.is_empty() && entry.kind != Kind::Directory => {
                Err(Error::entry(&entry.name, "the root is not a directory"))
            }
            None => Ok(()),
        }
    }
}

pub(crate) fn read_head(source: &mut impl Read) -> Result<Vec<u8>> {
    let mut head = Vec::with_capacity(SNIFF);
    let read = source.take(SNIFF as u64).read_to_end(&mut head);
    read.map_err(|source| Error::Stream {
        action: "read",
        source,
    })?;
    Ok(head)
}

pub(crate) fn recognize(head: &[u8]) -> Result<Compression> {
    if head.is_empty() {
        return Err(Error::not_an_aci("it is empty"));
    }
    Compression::sniff(head).ok_or_else(|| {
        Error::not_an_aci("it is neither a tar archive nor compressed with gzip, bzip2, xz or zstd")
    })
}

/// Tells a stream that ends, a damaged one and a failing source apart.
pub(crate) fn read_fault(format: Compression, source: io::Error) -> Error {
    let from_source = format == Compression::None || source.raw_os_error().is_some();
    match source.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::truncated(format!("its {} stream ends too early", format.name()))
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other
            if !from_source =>
        {
            Error::Compression {
                format: format.name(),
                source,
            }
        }
        _ => Error::Stream {
            action: "read",
            source,
        },
    }
}

pub(crate) fn welcome(size: u64, compressed: u64, limits: &Limits) -> Result<()> {
    if size > limits.bytes {
        return Err(Error::TooLarge {
            what: "bytes",
            limit: limits.bytes,
        });
    }
    if size > Limits::RATIO_FROM && size / compressed.max(1) > limits.ratio {
        return Err(Error::TooLarge {
            what: "times its compressed size",
            limit: limits.ratio,
        });
    }
    Ok(())
}

/// Counts the compressed bytes.
pub(crate) struct Counted<'a, R> {
    pub(crate) inner: R,
    pub(crate) count: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

//! One layer: taken in while it arrives, and unpacked at the same time.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use oci::Digest;
use sha::{Running, Sha256};

use super::LayerId;
use super::entries::{self, Which};
use crate::compress::{Compression, SNIFF};
use crate::extract::Extractor;
use crate::import::{Counted, Refusal, read_fault, read_head, recognize, welcome};
use crate::layout::Layout;
use crate::lock::Lock;
use crate::pipeline::{Pieces, pass};
use crate::remove::clear_tree;
use crate::shared::open_download;
use crate::tar::Archive;
use crate::temporary::{NewDirectory, rename_into};
use crate::tree::{Building, new_root};
use crate::{Error, Limits, Result};

/// The bytes of a blob, and how far into it they begin.
pub type Opened<'a> = (Box<dyn Read + Send + 'a>, u64);

/// Where the parts of an OCI image come from.
pub trait BlobSource: Sync {
    /// Opens a blob so that the first byte is the one at `offset`, or, where that cannot be had,
    /// from its beginning.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn open(&self, blob: &Digest, offset: u64) -> Result<Opened<'_>, Refusal>;

    /// Is told how many bytes of a blob are there by now.
    fn progress(&self, blob: &Digest, bytes: u64, of: u64) {
        let _ = (blob, bytes, of);
    }
}

impl<S: BlobSource + ?Sized> BlobSource for &S {
    fn open(&self, blob: &Digest, offset: u64) -> Result<Opened<'_>, Refusal> {
        (**self).open(blob, offset)
    }

    fn progress(&self, blob: &Digest, bytes: u64, of: u64) {
        (**self).progress(blob, bytes, of);
    }
}

/// The finished tree of a layer, not yet at its place.
struct Unpacked {
    tree: Building,
    implicit: Vec<u8>,
    hiding: Vec<u8>,
    needs_lower: bool,
}

/// Makes sure that a layer's blob is there, and its tree if one is wanted.
pub(super) fn fetch(
    layout: &Layout,
    layer: &LayerId,
    source: &dyn BlobSource,
    render: bool,
    limits: &Limits,
) -> Result<()> {
    let blob = layout.oci_blob(&layer.blob);
    let was_there = is_whole(layout, layer);
    let partial = Partial::open(layout, &layer.blob)?;
    if is_whole(layout, layer) {
        if !was_there {
            // Another fetch brought it while this one waited.
            source.progress(&layer.blob, layer.size, layer.size);
        }
        match render && !is_unpacked(layout, layer) {
            false => return partial.discard(),
            true => match unpack(layout, layer, limits) {
                // It was changed on disk: it is got again, and takes the place of what is there.
                Err(Error::ChangedBlob { .. }) => {}
                other => return partial.discard().and(other),
            },
        }
    }
    let build = render && !is_unpacked(layout, layer);
    let resumed = partial.length()? > 0;
    let mut outcome = receive(layout, layer, source, &partial, build, limits);
    if resumed && matches!(&outcome, Err(e) if !e.is_source() && !e.is_no_space()) {
        // What an earlier fetch left may be what is wrong.
        partial.cut()?;
        outcome = receive(layout, layer, source, &partial, build, limits);
    }
    match outcome {
        Ok(unpacked) => {
            layout.create_parent(&blob)?;
            partial.publish(layout, &blob)?;
            unpacked.map_or(Ok(()), |u| u.publish(layout, layer))
        }
        // Whatever arrived before the source failed is worth keeping.
        Err(error) if error.is_source() => Err(error),
        Err(error) => partial.discard().and(Err(error)),
    }
}

/// Whether a layer's blob is there, by its size.
pub(super) fn is_whole(layout: &Layout, layer: &LayerId) -> bool {
    let blob = layout.oci_blob(&layer.blob).symlink_metadata();
    blob.is_ok_and(|m| m.is_file() && m.len() == layer.size)
}

/// Whether a layer's tree is there.
pub(super) fn is_unpacked(layout: &Layout, layer: &LayerId) -> bool {
    layout.tree(&layer.tree()).join("rendered").exists()
}

/// Unpacks a layer whose blob is there.
pub(super) fn unpack(layout: &Layout, layer: &LayerId, limits: &Limits) -> Result<()> {
    let _lock = Lock::exclusive(&layout.tree_lock(&layer.tree()))?;
    if is_unpacked(layout, layer) {
        return Ok(());
    }
    let mut file = open_blob(layout, layer)?;
    read(layout, layer, &mut file, limits)?.place(layout, layer)
}

/// Opens the blob of a layer that is there.
pub(super) fn open_blob(layout: &Layout, layer: &LayerId) -> Result<Incoming<'static>> {
    let path = layout.oci_blob(&layer.blob);
    match crate::shared::open(&path) {
        Ok(file) => Ok(Incoming {
            source: Box::new(file),
            copy: None,
            known: 0,
            received: 0,
            size: layer.size,
            hash: Sha256::new(),
            progress: Box::new(|_| {}),
        }),
        Err(e) if e.kind() == ErrorKind::NotFound => Err(Error::MissingBlob(layer.blob.clone())),
        Err(e) => Err(Error::io("open", &path)(e)),
    }
}

fn receive(
    layout: &Layout,
    layer: &LayerId,
    source: &dyn BlobSource,
    partial: &Partial,
    build: bool,
    limits: &Limits,
) -> Result<Option<Unpacked>> {
    let mut have = partial.length()?;
    if have > layer.size {
        partial.cut()?;
        have = 0;
    }
    let mut input: Box<dyn Read + Send + '_> = Box::new(io::empty());
    if have < layer.size {
        let (opened, from) = source.open(&layer.blob, have).map_err(Error::Source)?;
        if from != have {
            partial.cut()?;
            have = 0;
        }
        input = opened;
    }
    let mut kept = partial.file.try_clone().map_err(partial.fault("read"))?;
    kept.seek(SeekFrom::Start(0))
        .map_err(partial.fault("read"))?;
    // The kept part is read through a descriptor of its own position.
    let kept = Positioned { file: kept, at: 0 }.take(have);
    let mut incoming = Incoming {
        source: Box::new(kept.chain(input)),
        copy: Some(partial),
        known: have,
        received: 0,
        size: layer.size,
        hash: Sha256::new(),
        progress: Box::new(|bytes| source.progress(&layer.blob, bytes, layer.size)),
    };
    let outcome = match build {
        true => read(layout, layer, &mut incoming, limits).map(Some),
        // The rest waits for whoever builds the tree: it must be done then in any case, and nothing
        // of a layer is used before.
        false => incoming
            .drain()
            .and_then(|()| incoming.check(&layer.blob))
            .map(|()| None),
    };
    match incoming.failed() {
        Some(fault) => Err(fault),
        None => outcome,
    }
}

/// Reads a layer to its end: hashed as it is, decompressed, hashed again, and taken apart.
fn read(
    layout: &Layout,
    layer: &LayerId,
    incoming: &mut Incoming<'_>,
    limits: &Limits,
) -> Result<Unpacked> {
    let directory = NewDirectory::create(&layout.building())?;
    let root = new_root(&directory.path().join("rootfs"))?;
    let outcome = through(incoming, limits, |pieces| {
        let mut archive = Archive::without_mark(pieces, limits);
        let mut extractor = Extractor::of_layer(root, limits);
        entries::write(&mut archive, Which::All, &mut extractor)?;
        Unpacked::finish(directory, extractor)
    });
    // A wrong blob is called that, whatever it was taken for.
    let damaged = matches!(
        &outcome,
        Err(Error::NotAnAci { .. } | Error::Compression { .. } | Error::Truncated { .. })
    );
    if outcome.is_ok() || damaged {
        incoming.drain()?;
        incoming.check(&layer.blob)?;
    }
    let (diff, unpacked) = outcome?;
    layer.must_unpack_to(diff)?;
    Ok(unpacked)
}

/// Checks the archive of a layer as unpacking it does, without storing anything.
///
/// # Errors
/// What is wrong with it.
pub fn check_layer(source: impl Read + Send, limits: &Limits) -> Result<()> {
    let mut incoming = Incoming {
        source: Box::new(source),
        copy: None,
        known: 0,
        received: 0,
        size: limits.bytes,
        hash: Sha256::new(),
        progress: Box::new(|_| {}),
    };
    let checked = through(&mut incoming, limits, |pieces| {
        entries::check(&mut Archive::without_mark(pieces, limits), limits)
    });
    checked.map(drop)
}

/// Decompresses a layer and lets its archive be read; returns the archive's digest.
pub(super) fn through<T: Send>(
    incoming: &mut Incoming<'_>,
    limits: &Limits,
    consume: impl FnOnce(Pieces) -> Result<T> + Send,
) -> Result<(Digest, T)> {
    let head = read_head(incoming)?;
    // "docker save" writes empty layers as nothing at all.
    let format = match head.as_slice() {
        [] => Compression::None,
        head => recognize(head)?,
    };
    debug_assert!(head.len() <= SNIFF);
    let count = AtomicU64::new(0);
    let counted = Counted {
        inner: io::Cursor::new(head).chain(incoming),
        count: &count,
    };
    let fault = move |e: io::Error| read_fault(format, e);
    let mut plain = format.decoder(counted).map_err(fault)?;
    let passed = pass::<Sha256, _>(
        &mut plain,
        None,
        &mut |size| welcome(size, count.load(Ordering::Relaxed), limits),
        &fault,
        consume,
    )?;
    Ok((Digest::from_sha256(&passed.hash.finish()), passed.value))
}

/// Paths in one file: each with a NUL behind it.
fn join_paths(paths: &BTreeSet<Vec<u8>>) -> Vec<u8> {
    let mut joined = Vec::new();
    for path in paths {
        joined.extend_from_slice(path);
        joined.push(0);
    }
    joined
}

/// The same backwards.
pub(super) fn split_paths(joined: &[u8]) -> BTreeSet<Vec<u8>> {
    match joined.strip_suffix(&[0]) {
        Some(joined) => joined.split(|b| *b == 0).map(<[u8]>::to_vec).collect(),
        None => BTreeSet::new(),
    }
}

impl Unpacked {
    fn finish(directory: NewDirectory, mut extractor: Extractor) -> Result<Self> {
        let written = extractor.written();
        let digests = extractor.finish()?;
        if written.needs_lower {
            // It is of no use by itself; what stays is a note that says so.
            let root = directory.path().join("rootfs");
            clear_tree(&root).map_err(Error::io("remove", &root))?;
        }
        Ok(Unpacked {
            tree: Building::measure(directory, &digests)?,
            implicit: join_paths(&written.implicit),
            hiding: join_paths(&written.hiding),
            needs_lower: written.needs_lower,
        })
    }

    fn publish(self, layout: &Layout, layer: &LayerId) -> Result<()> {
        let _lock = Lock::exclusive(&layout.tree_lock(&layer.tree()))?;
        self.place(layout, layer)
    }

    /// Moves the tree to its place, whose lock is held.
    fn place(self, layout: &Layout, layer: &LayerId) -> Result<()> {
        let needs: &[u8] = if self.needs_lower { b"yes" } else { b"no" };
        let files = [
            ("implicit", self.implicit.as_slice()),
            ("hiding", self.hiding.as_slice()),
            ("needs-lower", needs),
        ];
        self.tree.publish_with(&layout.tree(&layer.tree()), &files)
    }
}

/// A blob that is arriving: its bytes are counted, hashed and kept.
pub(super) struct Incoming<'a> {
    source: Box<dyn Read + Send + 'a>,
    copy: Option<&'a Partial>,
    /// So many bytes are in the copy already.
    known: u64,
    received: u64,
    size: u64,
    hash: Sha256,
    progress: Box<dyn Fn(u64) + Send + 'a>,
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.received).unwrap_or(usize::MAX);
        let room = left.min(buffer.len());
        let read = self.source.read(&mut buffer[..room])?;
        let bytes = &buffer[..read];
        self.hash.update(bytes);
        let end = self.received + read as u64;
        if let Some(partial) = self.copy
            && end > self.known
        {
            let fresh = usize::try_from(end - self.known.max(self.received)).unwrap_or(read);
            partial.append(&bytes[read - fresh..], end)?;
        }
        self.received = end;
        (self.progress)(end);
        Ok(read)
    }
}

impl Incoming<'_> {
    /// Reads what is left: padding behind a compressed stream, or all of it.
    pub(super) fn drain(&mut self) -> Result<()> {
        let mut large = io::BufReader::with_capacity(128 << 10, self);
        match io::copy(&mut large, &mut io::sink()) {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::Stream {
                action: "read",
                source,
            }),
        }
    }

    /// Checks the digest, once all is read.
    pub(super) fn check(&mut self, expected: &Digest) -> Result<()> {
        if self.received < self.size {
            return Err(Error::ShortBlob {
                digest: expected.clone(),
                received: self.received,
                size: self.size,
            });
        }
        let found = std::mem::replace(&mut self.hash, Sha256::new()).finish();
        let found = Digest::from_sha256(&found);
        match found == *expected {
            true => Ok(()),
            false => Err(Error::ChangedBlob {
                digest: expected.clone(),
                found: Some(found),
            }),
        }
    }

    /// An error of the copy, which the decoder above may have taken for one of its own.
    fn failed(&self) -> Option<Error> {
        self.copy.and_then(Partial::failed)
    }
}

/// Reads a file at its own position, whatever others do with the descriptor's.
struct Positioned {
    file: File,
    at: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The file that a blob arrives in, locked: whoever else wants the blob waits.
struct Partial {
    file: File,
    path: PathBuf,
    fault: std::sync::Mutex<Option<io::Error>>,
}

impl Partial {
    fn open(layout: &Layout, blob: &Digest) -> Result<Self> {
        let path = layout.temporary().join(blob.file_name());
        Ok(Partial {
            file: open_download(&path)?,
            path,
            fault: std::sync::Mutex::new(None),
        })
    }

    fn length(&self) -> Result<u64> {
        let meta = self.file.metadata().map_err(self.fault("read"))?;
        Ok(meta.len())
    }

    fn cut(&self) -> Result<()> {
        self.file.set_len(0).map_err(self.fault("cut"))
    }

    /// Writes bytes that end at `end`.
    fn append(&self, bytes: &[u8], end: u64) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let written = self.file.write_all_at(bytes, end - bytes.len() as u64);
        written.inspect_err(|error| {
            let again = error.raw_os_error().map(io::Error::from_raw_os_error);
            if let Ok(mut fault) = self.fault.lock() {
                *fault = again.or_else(|| Some(io::Error::from(error.kind())));
            }
        })
    }

    fn failed(&self) -> Option<Error> {
        let fault = self.fault.lock().ok()?.take()?;
        Some(Error::io("write", &self.path)(fault))
    }

    fn fault(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = self.path.clone();
        move |e| Error::io(action, &path)(e)
    }

    /// Gives the whole blob its name.
    fn publish(self, layout: &Layout, blob: &Path) -> Result<()> {
        (&self.file).flush().map_err(self.fault("write"))?;
        rename_into(layout, &self.path, blob).map_err(Error::io("create", blob))
    }

    /// Removes it, while it is still locked.
    fn discard(self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", &self.path)(e)),
            _ => Ok(()),
        }
    }
}

//! An image enters the store: decompressed, hashed, written and rendered in one pass.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use sha2::{Digest, Sha512};

use crate::compression::decompress;
use crate::error::At;
use crate::extract::{self, Contents, Extractor, Whitelist};
use crate::images::{ImageInfo, write_manifest};
use crate::layout::make_parent;
use crate::temporary::Temporary;
use crate::tree::NewTree;
use crate::{Error, ImageId, Result, Store};

/// Bytes passed between the threads at a time, and how many such pieces may be under way.
const CHUNK: usize = 512 << 10;
const CHUNKS: usize = 8;

/// How an image is imported.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImportOptions {
    /// Render its tree too, when it has no dependencies: the first run finds it there.
    pub render: bool,
    /// The reference that led here named no version: the image is the latest of its name.
    pub latest: bool,
}

/// Why an image is not accepted.
pub type Refusal = Box<dyn std::error::Error + Send + Sync>;

type Chunk = Arc<Vec<u8>>;

impl Store {
    /// Imports an ACI, compressed or not, and returns what is known of it. An image that is there
    /// already stays as it is.
    ///
    /// # Errors
    /// A damaged or hostile archive, a bad manifest, a full disk; nothing is left then.
    pub fn import(&self, reader: impl Read + Send, options: ImportOptions) -> Result<ImageInfo> {
        self.import_if(reader, options, |_, _| Ok(()))
    }

    /// Imports an ACI that somebody accepts: when all of it was read and nothing is in the store
    /// yet, `accept` sees its manifest and the reader, which may hold bytes behind the archive.
    ///
    /// # Errors
    /// As [`Store::import`], and when it is not accepted; nothing is left then.
    pub fn import_if<R: Read + Send>(
        &self,
        mut reader: R,
        options: ImportOptions,
        accept: impl FnOnce(R, &appc::ImageManifest) -> std::result::Result<(), Refusal>,
    ) -> Result<ImageInfo> {
        let blob = Temporary::file(self)?;
        let tree = match options.render {
            true => Some(NewTree::make(self)?),
            false => None,
        };
        let passed = pass(&mut reader, &blob, tree.as_ref())?;
        accept(reader, &passed.manifest).map_err(Error::Refused)?;
        let id = ImageId::of_digest(&passed.digest);
        let place = self.blob(&id);
        make_parent(&place)?;
        if !place.exists() {
            blob.persist(&place)?;
        }
        write_manifest(self, &id, &passed.manifest_bytes)?;
        self.index()?.add(&id, &passed.manifest, options.latest)?;
        if let (Some(tree), Some(contents)) = (tree, passed.contents) {
            tree.complete(self, std::slice::from_ref(&id), contents)?;
        }
        self.info(&id)
    }
}

/// What one pass over the bytes gives.
struct Passed {
    digest: Vec<u8>,
    manifest: appc::ImageManifest,
    manifest_bytes: Vec<u8>,
    contents: Option<Contents>,
}

/// Three threads: this one reads, decompresses and writes the blob; one hashes; one takes the
/// archive apart.
fn pass(reader: impl Read + Send, blob: &Temporary, tree: Option<&NewTree>) -> Result<Passed> {
    let (to_hash, hashed) = sync_channel::<Chunk>(CHUNKS);
    let (to_archive, archived) = sync_channel::<Chunk>(CHUNKS);
    thread::scope(|scope| {
        let hashing = scope.spawn(move || {
            let mut hash = Sha512::new();
            hashed.into_iter().for_each(|chunk| hash.update(&*chunk));
            hash.finalize().to_vec()
        });
        let extracting = scope.spawn(move || take_apart(ChunkReader::new(archived), tree));
        let pumped = pump(reader, blob, to_hash, to_archive);
        let extracted = extracting
            .join()
            .unwrap_or_else(|_| Err(Error::archive("cannot be read")));
        let digest = hashing
            .join()
            .map_err(|_| Error::archive("cannot be hashed"))?;
        // What stopped the reading explains what the archive's reader then missed.
        let end = pumped?;
        let (manifest, contents) = extracted?;
        if !end {
            return Err(Error::archive("it ends early"));
        }
        Ok(Passed {
            digest,
            manifest: manifest.manifest,
            manifest_bytes: manifest.manifest_bytes,
            contents,
        })
    })
}

/// Reads to the end. Whether the archive ends as archives do, in a block of zeros.
fn pump(
    reader: impl Read + Send,
    blob: &Temporary,
    to_hash: SyncSender<Chunk>,
    to_archive: SyncSender<Chunk>,
) -> Result<bool> {
    const BLOCK: usize = 512;
    let mut stream = decompress(reader).map_err(Error::Stream)?;
    let mut file = blob.handle();
    let mut last = Vec::new();
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        stream
            .by_ref()
            .take(CHUNK as u64)
            .read_to_end(&mut chunk)
            .map_err(Error::Stream)?;
        if chunk.is_empty() {
            return Ok(last.len() == BLOCK && last.iter().all(|&b| b == 0));
        }
        last.extend_from_slice(&chunk[chunk.len().saturating_sub(BLOCK)..]);
        last.drain(..last.len().saturating_sub(BLOCK));
        let chunk = Arc::new(chunk);
        // A receiver that is gone failed, and says why when it is joined.
        let heard = to_archive.send(chunk.clone()).is_ok() && to_hash.send(chunk.clone()).is_ok();
        if !heard {
            return Ok(true);
        }
        file.write_all(&chunk).at("write", blob.path())?;
    }
}

fn take_apart(
    mut stream: ChunkReader,
    tree: Option<&NewTree>,
) -> Result<(extract::AciManifest, Option<Contents>)> {
    let result = extract::read(&mut stream, extract::Limits::default(), |manifest| {
        let Some(tree) = tree.filter(|_| manifest.dependencies.is_empty()) else {
            return Ok(None);
        };
        let extractor = Extractor::new(tree.rootfs().as_fd(), tree.path());
        Ok(Some((
            extractor,
            Whitelist::of(manifest).into_iter().collect(),
        )))
    })?;
    stream.drain();
    Ok(result)
}

/// The chunks as one stream.
struct ChunkReader {
    chunks: Receiver<Chunk>,
    current: Chunk,
    at: usize,
}

impl ChunkReader {
    fn new(chunks: Receiver<Chunk>) -> Self {
        Self {
            chunks,
            current: Arc::default(),
            at: 0,
        }
    }

    /// Takes what comes after the archive's end, so that the sender is not held up.
    fn drain(self) {
        self.chunks.into_iter().for_each(drop);
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.current.len() {
            match self.chunks.recv() {
                Ok(chunk) => (self.current, self.at) = (chunk, 0),
                Err(_) => return Ok(0),
            }
        }
        let rest = &self.current[self.at..];
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        Ok(n)
    }
}

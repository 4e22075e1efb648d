//! The bytes of stored images: manifests beside the blobs, and blobs on their way out.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};

use appc::{Hash, ImageManifest};
use sha::{Running, Sha512};

use crate::digest::is_image;
use crate::extract::path::{Place, place};
use crate::layout::Layout;
use crate::shared;
use crate::tar::{Archive, Kind};
use crate::temporary::write_file;
use crate::{Error, Limits, Result, Store};

impl Store {
    /// An image's manifest, byte for byte as it was published.
    pub fn manifest_bytes(&self, id: &Hash) -> Result<Vec<u8>> {
        let id = self.require(id)?;
        manifest_bytes(self.layout(), &id)
    }

    /// Writes an image's uncompressed archive, byte for byte as its ID says; an OCI image as an ACI
    /// that is made of it. Returns its size.
    ///
    /// # Errors
    /// [`Error::Changed`] when the blob was changed on disk; what was written then is worth
    /// nothing.
    pub fn export(&self, id: &Hash, mut output: impl Write) -> Result<u64> {
        if self.kind(id)? == crate::ImageKind::Oci {
            self.touch(id);
            let mut counted = Counted {
                inner: output,
                bytes: 0,
            };
            self.export_as_aci(id, &mut counted)?;
            return Ok(counted.bytes);
        }
        let path = self.blob_path(id)?;
        let mut file = shared::open(&path).map_err(Error::io("open", &path))?;
        let mut hash = Sha512::new();
        let mut buffer = vec![0; 256 << 10];
        let mut total = 0;
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(Error::io("read", &path))?,
            };
            hash.update(&buffer[..read]);
            let write = output.write_all(&buffer[..read]);
            write.map_err(|source| Error::Stream {
                action: "write",
                source,
            })?;
            total += read as u64;
        }
        let digest = hash.finish();
        self.touch(id);
        if is_image(&digest, id) {
            return Ok(total);
        }
        Err(Error::Changed {
            id: id.clone(),
            found: Hash::from_sha512(&digest),
        })
    }
}

struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// The parsed manifest of an image that is there.
pub(crate) fn stored_manifest(layout: &Layout, id: &Hash) -> Result<ImageManifest> {
    let bytes = manifest_bytes(layout, id)?;
    Ok(ImageManifest::parse(&bytes)?)
}

/// The manifest beside the blob, or the one in it, which is then put back beside it.
fn manifest_bytes(layout: &Layout, id: &Hash) -> Result<Vec<u8>> {
    let path = layout.image_manifest(id);
    match shared::read(&path, appc::MAX_MANIFEST) {
        Ok(bytes) if !bytes.is_empty() => return Ok(bytes),
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("read", &path)(e)),
        _ => {}
    }
    if crate::oci::kind(layout, id)? == crate::ImageKind::Oci {
        // Where it came from is lost with it, so this is not put in its place.
        return Ok(crate::oci::made_up_manifest(layout, id)?.to_json());
    }
    let blob = layout.blob(id);
    let file = shared::open(&blob).map_err(Error::io("open", &blob))?;
    let bytes = manifest_in(BufReader::with_capacity(64 << 10, file))?;
    // Only a convenience for the next one.
    let _ = layout
        .create_parent(&path)
        .and_then(|()| write_file(layout, &path, &bytes));
    Ok(bytes)
}

/// Finds the manifest in an archive.
fn manifest_in(input: impl BufRead) -> Result<Vec<u8>> {
    let limits = Limits {
        entries: u64::MAX,
        file_bytes: u64::MAX,
        ..Limits::default()
    };
    let mut archive = Archive::new(input, &limits);
    while let Some(entry) = archive.next()? {
        if entry.kind == Kind::File && place(&entry.name, &limits)? == Place::Manifest {
            return read_manifest(&mut archive);
        }
    }
    Err(Error::not_an_aci("it has no manifest"))
}

/// Reads the manifest that an archive stands before, as long as it is no larger than one may be.
pub(crate) fn read_manifest<R: BufRead>(archive: &mut Archive<'_, R>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    archive.data(|piece| {
        bytes.extend_from_slice(piece);
        if bytes.len() > appc::MAX_MANIFEST {
            return Err(Error::TooLarge {
                what: "bytes of manifest",
                limit: appc::MAX_MANIFEST as u64,
            });
        }
        Ok(())
    })?;
    Ok(bytes)
}

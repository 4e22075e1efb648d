//! Images on their way out in the other form: an OCI image as an ACI, any image as an OCI archive.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use appc::Hash;
use oci::{Descriptor, Digest, Manifest, media};
use serde_json::json;
use sha::{Running, Sha256};

use crate::digest::{sha256_bytes, sha256_of};
use crate::extract::Policy;
use crate::tar::write::{append_file, append_stream, append_tree};
use crate::temporary::{NewDirectory, NewFile};
use crate::tree::new_root;
use crate::{Error, ImageKind, Result, Store};

fn failed(source: std::io::Error) -> Error {
    Error::Stream {
        action: "write",
        source,
    }
}

/// Writes an uncompressed ACI: the manifest and the files below `rootfs`, which nobody changes
/// meanwhile. `owner` turns a user or group id on disk into the one in the image.
///
/// # Errors
/// A file that cannot be read, an output that cannot be written.
pub fn write_aci(
    manifest: &[u8],
    rootfs: &Path,
    owner: &dyn Fn(u32) -> u32,
    output: impl Write,
) -> Result<()> {
    let mut tar = tar::Builder::new(output);
    append_file(&mut tar, "manifest", manifest)
        .and_then(|()| append_tree(&mut tar, rootfs, Path::new("rootfs"), owner))
        .and_then(|()| tar.into_inner()?.flush())
        .map_err(failed)
}

impl Store {
    /// Writes an OCI image as an ACI: its layers put together, with the manifest that describes
    /// it. Only root can, since owners count.
    pub(crate) fn export_as_aci(&self, id: &Hash, output: impl Write) -> Result<()> {
        let manifest = self.manifest_bytes(id)?;
        let rendered = self.rendered_copy(id)?;
        write_aci(&manifest, &rendered.path().join("rootfs"), &|id| id, output)
    }

    /// A copy of the whole image, to be read and thrown away.
    fn rendered_copy(&self, id: &Hash) -> Result<NewDirectory> {
        if !Policy::of_this_process().owners {
            return Err(Error::NotRoot(id.clone()));
        }
        self.layout().create()?;
        let directory = NewDirectory::create(&self.layout().building())?;
        let root = new_root(&directory.path().join("rootfs"))?;
        match self.kind(id)? {
            ImageKind::Oci => self.write_merged(&self.parts(id)?, root)?,
            ImageKind::Aci => {
                let layers = self.layers(id, &self.manifest(id)?)?;
                self.write_layers(&layers, root)?
            }
        };
        Ok(directory)
    }

    /// Writes an image as an OCI archive, in which it has a name: an OCI image with the parts that
    /// were published, an ACI as one layer.
    ///
    /// # Errors
    /// A part was changed on disk; an ACI needs root, since owners count.
    pub fn export_oci(&self, id: &Hash, name: &str, output: impl Write) -> Result<()> {
        let id = self.require(id)?;
        self.touch(&id);
        let mut archive = Archive {
            tar: tar::Builder::new(output),
        };
        let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
        append_file(&mut archive.tar, "oci-layout", layout.as_bytes()).map_err(failed)?;
        let manifest = match self.kind(&id)? {
            ImageKind::Oci => {
                let parts = self.parts(&id)?;
                let mut written = std::collections::HashSet::new();
                for part in parts.manifest.blobs() {
                    if written.insert(&part.digest) {
                        let file = self.open_oci_blob(&part.digest)?;
                        archive.blob(&part.digest, file)?;
                    }
                }
                self.oci_manifest(&id)?
            }
            ImageKind::Aci => self.convert(&id, &mut archive)?,
        };
        let digest = sha256_bytes(&manifest);
        archive.bytes(&digest, &manifest)?;
        let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": [{
            "mediaType": media::MANIFEST, "digest": digest.as_str(), "size": manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": name},
        }]});
        append_file(&mut archive.tar, "index.json", index.to_string().as_bytes())
            .and_then(|()| archive.tar.into_inner()?.flush())
            .map_err(failed)
    }

    /// Writes an ACI's files as a layer, and a configuration; returns the manifest of both.
    fn convert(&self, id: &Hash, archive: &mut Archive<impl Write>) -> Result<Vec<u8>> {
        let rendered = self.rendered_copy(id)?;
        let layer = NewFile::create(&self.layout().temporary())?;
        let path = rendered.path().join("rootfs");
        let mut tar = tar::Builder::new(layer.file());
        append_tree(&mut tar, &path, Path::new(""), &|id| id)
            .and_then(|()| tar.into_inner()?.flush())
            .map_err(Error::io("write", &path))?;
        let mut file = layer.file();
        let rewind = |mut file: &File| file.seek(SeekFrom::Start(0)).map_err(failed);
        rewind(file)?;
        let digest = sha256_of(&mut file).map_err(failed)?;
        let size = rewind(file).and_then(|_| file.metadata().map_err(failed))?;
        append_stream(&mut archive.tar, &blob_name(&digest), size.len(), file).map_err(failed)?;
        let config = oci::from_appc(&self.manifest(id)?, &digest);
        let config_digest = sha256_bytes(&config);
        archive.bytes(&config_digest, &config)?;
        let describe = |kind: &str, digest: Digest, size: u64| Descriptor {
            media_type: kind.to_owned(),
            digest,
            size,
            platform: None,
            annotations: Default::default(),
        };
        let layers = [describe(media::LAYER, digest, size.len())];
        let config = describe(media::CONFIG, config_digest, config.len() as u64);
        Ok(Manifest::write(&config, &layers))
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

struct Archive<W: Write> {
    tar: tar::Builder<W>,
}

impl<W: Write> Archive<W> {
    fn bytes(&mut self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        append_file(&mut self.tar, &blob_name(digest), bytes).map_err(failed)
    }

    /// A blob of the store, which still is what its name says.
    fn blob(&mut self, digest: &Digest, file: File) -> Result<()> {
        let size = file.metadata().map_err(failed)?.len();
        let mut checked = Checked {
            file,
            hash: Sha256::new(),
        };
        append_stream(&mut self.tar, &blob_name(digest), size, &mut checked).map_err(failed)?;
        let found = Digest::from_sha256(&checked.hash.finish());
        match found == *digest {
            true => Ok(()),
            false => Err(Error::ChangedBlob {
                digest: digest.clone(),
                found: Some(found),
            }),
        }
    }
}

struct Checked {
    file: File,
    hash: Sha256,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

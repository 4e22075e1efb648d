//! OCI images on disk: image layouts, as directories or archives, and what `docker save` writes.

mod archive;
mod docker;
mod layout;

use std::path::Path;

use distribution::{Layout, LayoutKind};

use crate::{OciImage, Result};
use archive::Tarball;
use layout::Directory;

impl OciImage<'_> {
    /// Opens an image on disk. `scratch` is a directory for what has to be decompressed first.
    ///
    /// # Errors
    /// There is no such image, or it is not what it is called.
    pub fn open(image: &Layout, scratch: &Path) -> Result<Self> {
        let path = Path::new(&image.path);
        let wanted = image.reference.as_deref();
        match image.kind {
            LayoutKind::Oci => layout::open(Directory::new(path), image, wanted),
            LayoutKind::OciArchive => layout::open(
                Tarball::open(path, scratch, "an OCI archive")?,
                image,
                wanted,
            ),
            LayoutKind::DockerArchive => {
                let tarball = Tarball::open(path, scratch, "an archive of docker save")?;
                docker::open(tarball, image, wanted)
            }
        }
    }
}

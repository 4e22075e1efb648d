//! The names of images of registries. What several references lead to is one image in the store and
//! has the name there under which it came first; here it has that of each reference.

use appc::{ImageManifest, ImageName};
use distribution::{Distribution, Docker};
use oci::Origin;
use store::ImageId;

use crate::failure::{Doing, Failure};
use crate::images::Images;

impl Images {
    /// The images of the store that were fetched from registries, by each reference.
    pub(crate) fn aliases(&self) -> Result<Vec<(ImageId, Origin)>, Failure> {
        let remotes = self.store.remotes().doing("cannot look into the store")?;
        let aliases = remotes.into_iter().filter_map(|remote| {
            match Distribution::from_uri(&remote.url) {
                // A digest alone is no name.
                Ok(Distribution::Docker(image)) if image.tag.is_some() => {
                    Some((remote.image, fetch::origin(&image).ok()?))
                }
                _ => None,
            }
        });
        Ok(aliases.collect())
    }

    /// The image to which a registry gives this name.
    pub(crate) fn of_alias(&self, name: &ImageName) -> Result<Option<ImageId>, Failure> {
        for (id, origin) in self.aliases()? {
            if origin.name != name.name {
                continue;
            }
            let mut manifest = self.store.manifest(&id).doing("cannot read it")?;
            oci::name(&mut manifest, &origin).doing("cannot name it")?;
            if name.labels.satisfied_by(&manifest.labels) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

/// Gives an image's manifest the name by which a registry's image was asked for.
pub(crate) fn call(manifest: &mut ImageManifest, image: &Docker) -> Result<(), Failure> {
    let problem = || format!("cannot name image docker://{image}");
    let origin = fetch::origin(image).doing_with(problem)?;
    oci::name(manifest, &origin).doing_with(problem)
}

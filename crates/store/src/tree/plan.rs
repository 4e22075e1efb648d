//! From an image to its list of layers (specification, aci.md, "dependencies", "pathWhitelist").

use appc::{Dependency, Hash, ImageManifest};

use crate::digest::key;
use crate::layers::{Keep, Layer};
use crate::{Error, Result, Store};

/// Images below images below images.
const DEPTH: usize = 64;
/// Layers of one image, each counted as often as it is named.
const LAYERS: usize = 1024;

impl Store {
    /// The layers of an image, the lowest first: the dependencies in their order, each with its
    /// own dependencies below it, then the image itself. An image named twice is there twice.
    pub(crate) fn layers(&self, id: &Hash, manifest: &ImageManifest) -> Result<Vec<Layer>> {
        let mut plan = Plan {
            store: self,
            top: id,
            above: Vec::new(),
            layers: Vec::new(),
        };
        plan.add(id, manifest, &Keep::default())?;
        Ok(plan.layers)
    }

    /// The images that an image is rendered from, itself last.
    ///
    /// # Errors
    /// When an image is missing, is not the one its dependent describes, or depends on itself.
    pub fn rendered_from(&self, id: &Hash) -> Result<Vec<Hash>> {
        let layers = self.layers(id, &self.manifest(id)?)?;
        Ok(layers.into_iter().map(|layer| layer.id).collect())
    }

    /// The image that a dependency means.
    fn dependency(&self, image: &Hash, dependency: &Dependency) -> Result<(Hash, ImageManifest)> {
        let missing = || Error::MissingDependency {
            image: image.clone(),
            dependency: describe(dependency),
        };
        let id = match &dependency.image_id {
            Some(id) => match self.resolve(id) {
                Err(Error::NotFound(_)) => return Err(missing()),
                other => other?,
            },
            None => self
                .find_by_name(&dependency.image_name, &dependency.labels)?
                .ok_or_else(missing)?,
        };
        let manifest = self.manifest(&id)?;
        if !dependency.matches(&manifest, &id) {
            return Err(Error::WrongDependency {
                image: image.clone(),
                dependency: describe(dependency),
                found: id,
                name: manifest.name.to_string(),
            });
        }
        Ok((id, manifest))
    }
}

/// The tree store's name for a list of layers: the digest of the images' IDs, the image itself
/// first and the lowest last, joined by commas.
pub(crate) fn tree_id<'a>(layers: impl DoubleEndedIterator<Item = &'a Hash>) -> String {
    let ids: Vec<&str> = layers.rev().map(Hash::as_str).collect();
    format!("deps-{}", key(ids.join(",").as_bytes()))
}

struct Plan<'a> {
    store: &'a Store,
    top: &'a Hash,
    above: Vec<Hash>,
    layers: Vec<Layer>,
}

impl Plan<'_> {
    fn add(&mut self, id: &Hash, manifest: &ImageManifest, keep: &Keep) -> Result<()> {
        let wrong = |reason: String| Error::Dependencies {
            image: self.top.clone(),
            reason,
        };
        if self.above.contains(id) {
            return Err(wrong(format!("run in a circle through {id}")));
        }
        if self.above.len() == DEPTH {
            return Err(wrong(format!("are more than {DEPTH} levels deep")));
        }
        let keep = keep.and(&manifest.path_whitelist);
        self.above.push(id.clone());
        for dependency in &manifest.dependencies {
            let (id, manifest) = self.store.dependency(id, dependency)?;
            self.add(&id, &manifest, &keep)?;
        }
        self.above.pop();
        if self.layers.len() == LAYERS {
            return Err(Error::Dependencies {
                image: self.top.clone(),
                reason: format!("are more than {LAYERS}"),
            });
        }
        self.layers.push(Layer {
            id: id.clone(),
            keep,
        });
        Ok(())
    }
}

/// A dependency as a message names it.
fn describe(dependency: &Dependency) -> String {
    use std::fmt::Write;
    let mut text = dependency.image_name.to_string();
    for label in &dependency.labels {
        // Writing into a String cannot fail.
        let _ = write!(text, ",{}={}", label.name, label.value);
    }
    if let Some(id) = &dependency.image_id {
        let _ = write!(text, " ({id})");
    }
    text
}

//! The order in which images are laid over each other (aci.md, "dependencies" and
//! "pathWhitelist").

use crate::extract::Whitelist;
use crate::{Error, ImageId, Result, Store};

/// Deepest chain of dependencies.
const DEPTH_MAX: usize = 64;
/// Most images in one tree.
const LAYERS_MAX: usize = 512;

/// One image of a tree, with the lists that all images above it and itself let through.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) id: ImageId,
    pub(crate) lists: Vec<Whitelist>,
}

impl Store {
    /// The images that make up `id`'s tree, lowest first: each one's dependencies, in their order
    /// and depth first, come before it.
    pub(crate) fn layers(&self, id: &ImageId) -> Result<Vec<Layer>> {
        let mut walk = Walk {
            store: self,
            top: id,
            layers: Vec::new(),
        };
        walk.visit(id, &[], 0)?;
        Ok(walk.layers)
    }
}

struct Walk<'a> {
    store: &'a Store,
    top: &'a ImageId,
    layers: Vec<Layer>,
}

impl Walk<'_> {
    fn visit(&mut self, id: &ImageId, above: &[Whitelist], depth: usize) -> Result<()> {
        if depth > DEPTH_MAX || self.layers.len() >= LAYERS_MAX {
            return Err(Error::Circular(self.top.to_string()));
        }
        let manifest = self.store.manifest(id)?;
        let mut lists = above.to_vec();
        lists.extend(Whitelist::of(&manifest));
        for dependency in &manifest.dependencies {
            let found = self.find(id, dependency)?;
            self.visit(&found, &lists, depth + 1)?;
        }
        self.layers.push(Layer {
            id: id.clone(),
            lists,
        });
        Ok(())
    }

    fn find(&self, image: &ImageId, dependency: &appc::Dependency) -> Result<ImageId> {
        let name = || dependency.image_name.to_string();
        let missing = || Error::Dependency {
            image: image.to_string(),
            name: name(),
        };
        let found = match &dependency.image_id {
            Some(wanted) => self.store.resolve(wanted.as_ref()).map_err(|_| missing())?,
            None => self
                .store
                .find_by_name(&dependency.image_name, &dependency.labels)?
                .ok_or_else(missing)?,
        };
        let manifest = self.store.manifest(&found)?;
        if manifest.name != dependency.image_name {
            return Err(Error::WrongDependency {
                image: image.to_string(),
                name: name(),
                expected: name(),
                found: manifest.name.to_string(),
            });
        }
        Ok(found)
    }
}

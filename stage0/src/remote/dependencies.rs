//! What an image depends on is fetched with it.

use std::collections::HashSet;

use appc::{Dependency, ImageName};
use store::ImageId;

use super::archive::Wanted;
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::images::{Images, renders};

/// Images that one image may bring along.
const LIMIT: usize = 256;

impl Images {
    /// Fetches what an image depends on, each image once, and checks that all of it fits together.
    pub(crate) fn complete(&self, context: &Context, id: &ImageId) -> Result<(), Failure> {
        let mut seen: HashSet<String> = HashSet::new();
        let mut waiting = vec![id.clone()];
        while let Some(image) = waiting.pop() {
            let manifest = self.store.manifest(&image);
            let manifest = manifest.doing_with(|| format!("cannot read image {image}"))?;
            for dependency in &manifest.dependencies {
                let name = ImageName {
                    name: dependency.image_name.clone(),
                    labels: dependency.labels.clone(),
                };
                let key = match &dependency.image_id {
                    Some(id) => id.to_string(),
                    None => name.to_string(),
                };
                if !seen.insert(key) {
                    continue;
                }
                if seen.len() > LIMIT {
                    return Err(Failure::new(format!(
                        "image {id} brings more than {LIMIT} images along"
                    )));
                }
                let found = self.dependency(context, dependency, &name);
                waiting.push(found.map_err(|failure| {
                    let cause = failure.brief();
                    Failure::new(format!("image {image} depends on \"{name}\": {cause}"))
                })?);
            }
        }
        if !seen.is_empty() {
            let whole = self.store.rendered_from(id);
            whole.doing_with(|| format!("image {id} cannot be put together"))?;
            if renders() {
                let rendered = self.store.tree(id);
                rendered.doing_with(|| format!("cannot render image {id}"))?;
            }
        }
        Ok(())
    }

    fn dependency(
        &self,
        context: &Context,
        dependency: &Dependency,
        name: &ImageName,
    ) -> Result<ImageId, Failure> {
        let known = match &dependency.image_id {
            Some(id) => self.store.resolve(id.as_str()).ok(),
            None => self.stored_as(name)?,
        };
        if let Some(id) = known {
            return Ok(id);
        }
        let wanted = Wanted {
            signature: None,
            name: Some(name),
            id: dependency.image_id.clone(),
        };
        self.discover(context, &wanted, name)
    }
}

//! Collecting what nobody needs any more.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use appc::Hash;

use crate::lock::Lock;
use crate::temporary::collect;
use crate::{ImageInfo, Result, Store};

/// What a collection may take.
#[derive(Debug, Clone, Default)]
pub struct GcOptions {
    /// Images used within this time are kept, with their trees.
    pub grace: Duration,
    /// Images that pods refer to, running or not.
    pub images_in_use: HashSet<Hash>,
    /// Trees that pods refer to, running or not.
    pub trees_in_use: HashSet<String>,
}

/// What a collection took.
#[derive(Debug, Default)]
pub struct GcReport {
    /// Trees, by name.
    pub trees: Vec<String>,
    /// Images.
    pub images: Vec<ImageInfo>,
    /// Files and directories that killed writers had left.
    pub temporaries: usize,
}

impl Store {
    /// Removes trees and images that are neither in use nor used within the grace period, and
    /// what killed commands left. What a kept image depends on is kept. The caller keeps others
    /// from preparing pods meanwhile.
    pub fn gc(&self, options: &GcOptions) -> Result<GcReport> {
        let mut report = GcReport::default();
        if !self.layout().blobs().exists() {
            return Ok(report);
        }
        let layout = self.layout();
        report.temporaries = collect(&layout.temporary())?;
        if rustix::process::geteuid().is_root() {
            report.temporaries += collect(&layout.building())?;
        }
        self.index().reconcile()?;
        let images = self.list()?;
        let kept = self.kept(&images, options);
        // Trees before what they lie over, so that a killed collection leaves none in the air.
        let (images_trees, layers): (Vec<_>, Vec<_>) = self
            .trees()?
            .into_iter()
            .partition(|(_, image)| image.is_some());
        let mut needed = self.layer_trees(&kept);
        for (tree, image) in images_trees {
            let wanted = image.is_some_and(|image| kept.contains(&image));
            if wanted || options.trees_in_use.contains(&tree) {
                needed.extend(self.lowers(&tree)?);
            } else {
                self.remove_tree(&tree)?;
                report.trees.push(tree);
            }
        }
        // Layers of an image that is being taken in are not an image's yet.
        if let Some(_lock) = Lock::try_now(&self.layout().oci_lock())? {
            for (tree, _) in layers {
                if !needed.contains(&tree) && !options.trees_in_use.contains(&tree) {
                    self.remove_tree(&tree)?;
                    report.trees.push(tree);
                }
            }
        }
        for image in images {
            if !kept.contains(&image.id) {
                self.remove(&image.id)?;
                report.images.push(image);
            }
        }
        report.temporaries += self.collect_blobs()?;
        self.index().compact()?;
        Ok(report)
    }

    fn kept(&self, images: &[ImageInfo], options: &GcOptions) -> HashSet<Hash> {
        let now = SystemTime::now();
        let recent = |image: &ImageInfo| {
            let used = image.last_used.max(image.imported);
            // A time in the future counts as now.
            now.duration_since(used).unwrap_or_default() < options.grace
        };
        let mut kept: HashSet<Hash> = images
            .iter()
            .filter(|image| recent(image) || options.images_in_use.contains(&image.id))
            .map(|image| image.id.clone())
            .collect();
        let dependencies: Vec<Hash> = kept
            .iter()
            // An image that cannot be rendered any more needs nothing.
            .filter_map(|id| self.rendered_from(id).ok())
            .flatten()
            .collect();
        kept.extend(dependencies);
        kept
    }
}

//! The kind `paths`: where rkt keeps its things.

use std::path::PathBuf;

use crate::Result;
use crate::dirs::{Dirs, Layer, load};
use crate::entry::Entry;

/// Where rkt keeps its things, as far as it is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    /// Images and pods.
    pub data: Option<PathBuf>,
    /// Installed stage1 images.
    pub stage1_images: Option<PathBuf>,
    /// The files that define them.
    sources: [Option<PathBuf>; 2],
}

impl Paths {
    /// Reads the kind.
    ///
    /// # Errors
    /// As [`Credentials::load`](crate::Credentials::load).
    pub fn load(dirs: &Dirs) -> Result<Self> {
        load(dirs)
    }
}

impl Layer for Paths {
    const DIRECTORY: &'static str = "paths.d";

    fn add(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind() != "paths" {
            return Err(entry.misplaced(Self::DIRECTORY));
        }
        let places = [
            ("data", &mut self.data),
            ("stage1-images", &mut self.stage1_images),
        ];
        for ((field, place), source) in places.into_iter().zip(&mut self.sources) {
            let Some(path) = entry.optional(field)? else {
                continue;
            };
            if !path.starts_with('/') {
                return Err(entry.bad(field, "must be an absolute path"));
            }
            if let Some(earlier) = source.replace(entry.path.clone()) {
                return Err(entry.duplicate(format!("{field:?}"), &earlier));
            }
            *place = Some(path.into());
        }
        Ok(())
    }

    fn supersede(&mut self, higher: Self) {
        self.data = higher.data.or(self.data.take());
        self.stage1_images = higher.stage1_images.or(self.stage1_images.take());
    }
}

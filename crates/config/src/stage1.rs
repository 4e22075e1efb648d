//! The kind `stage1`: the default stage1 image.

use std::path::PathBuf;

use crate::Result;
use crate::dirs::{Dirs, Layer, load};
use crate::entry::Entry;

/// The default stage1 image, as far as it is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stage1 {
    /// Name and version, to look for in the store.
    pub image: Option<(String, String)>,
    /// Where it is fetched from when the store does not have it: a `file`, `http`, `https` or
    /// `docker` URL, or an absolute path.
    pub location: Option<String>,
    /// The files that define them.
    sources: [Option<PathBuf>; 2],
}

impl Stage1 {
    /// Reads the kind.
    ///
    /// # Errors
    /// As [`Credentials::load`](crate::Credentials::load).
    pub fn load(dirs: &Dirs) -> Result<Self> {
        load(dirs)
    }
}

impl Layer for Stage1 {
    const DIRECTORY: &'static str = "stage1.d";

    fn add(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind() != "stage1" {
            return Err(entry.misplaced(Self::DIRECTORY));
        }
        let [image_source, location_source] = &mut self.sources;
        match (entry.optional("name")?, entry.optional("version")?) {
            (None, None) => {}
            (Some(name), Some(version)) => {
                if let Some(earlier) = image_source.replace(entry.path.clone()) {
                    return Err(entry.duplicate("the image's name and version", &earlier));
                }
                self.image = Some((name.to_owned(), version.to_owned()));
            }
            (Some(_), None) => return Err(entry.bad("version", "must go with the name")),
            (None, Some(_)) => return Err(entry.bad("name", "must go with the version")),
        }
        if let Some(location) = entry.optional("location")? {
            if !is_location(location) {
                return Err(entry.bad(
                    "location",
                    "must be a file, http, https or docker URL or an absolute path",
                ));
            }
            if let Some(earlier) = location_source.replace(entry.path.clone()) {
                return Err(entry.duplicate("the image's location", &earlier));
            }
            self.location = Some(location.to_owned());
        }
        Ok(())
    }

    fn supersede(&mut self, higher: Self) {
        self.image = higher.image.or(self.image.take());
        self.location = higher.location.or(self.location.take());
    }
}

fn is_location(text: &str) -> bool {
    let schemes = ["/", "file:///", "http://", "https://", "docker://"];
    schemes.iter().any(|s| text.starts_with(s))
}

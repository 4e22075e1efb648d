//! Where a pod's cgroup will be.

use std::path::{Path, PathBuf};

use super::{is_v2, v1, v2};
use crate::error::{Context, Error};

/// Where a pod's cgroup will be.
#[derive(Debug)]
pub struct Location {
    /// The path in the hierarchy that systemd tracks.
    pub(super) path: PathBuf,
    /// Controllers and directory in every hierarchy; version 2 has one, without controllers.
    pub(super) places: Vec<(String, PathBuf)>,
    pub(super) v2: bool,
}

impl Location {
    /// Finds the place for the cgroup `name`, one path component, of a pod started by this
    /// process. `block`: block devices will be limited, which on version 1 takes one more
    /// hierarchy.
    ///
    /// # Errors
    /// Cgroups that are not mounted.
    pub fn find(name: &str, block: bool) -> Result<Self, Error> {
        let file = "/proc/self/cgroup";
        let own = std::fs::read_to_string(file).context("read", file)?;
        if is_v2()? {
            let path = v2::parent_for(&own)?.join(name);
            let places = vec![(String::new(), v2::below_mount(&path))];
            return Ok(Self {
                path,
                places,
                v2: true,
            });
        }
        let path = v1::tracked_path(&own).join(name);
        Ok(Self {
            path,
            places: v1::places(&own, name, block),
            v2: false,
        })
    }

    /// Whether this process may make the pod's cgroup: it is root of the host, or somebody delegated
    /// the place to its user.
    ///
    /// # Errors
    /// A directory that it may not write to.
    pub fn check_delegated(&self) -> Result<(), Error> {
        for (_, place) in &self.places {
            let parent = place.parent().unwrap_or(place);
            rustix::fs::access(parent, rustix::fs::Access::WRITE_OK)
                .context("make a cgroup in", parent.display())?;
        }
        Ok(())
    }

    /// The path in the hierarchy that systemd tracks, for the `subcgroup` file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directories that [`super::remove`] removes.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().map(|(_, path)| path.as_path())
    }
}

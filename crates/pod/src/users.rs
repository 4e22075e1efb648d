//! Host ids for pods with user namespaces.
//!
//! A range belongs to a pod exactly as long as the pod is there: `private-users/BLOCK` is a symbolic
//! link whose text is the pod's UUID, one for each block of 65,536 ids that the range touches, so
//! that a choice looks at one or two names however many pods there are. A link whose pod has gone
//! counts for nothing, so nothing has to be given back when a pod ends by a kill. Who chooses a range
//! holds a lock.

use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, flock, mkdirat, openat, readlinkat, statat,
    symlinkat, unlinkat,
};
use rustix::io::Errno;
use stage1_abi::{PrivateUsers, path};

use crate::error::Error;
use crate::pods::Pods;
use crate::state::Phase;
use crate::tree::Dir;

/// Ids of one pod.
pub const IDS: u32 = 65_536;
/// The lock, below the pods' directory.
const LOCK: &str = "private-users.lock";
/// Where ranges name their pods, below the pods' directory.
const LINKS: &str = "private-users";
/// Mode of the pods' files.
const FILE: u32 = 0o640;

/// Consecutive ids of the host.
pub type HostIds = std::ops::Range<u32>;

impl Pods {
    /// Chooses a range of [`IDS`] ids out of `free` that no pod here has, and names it in the
    /// directory of a new pod. `start` is any number: where the search begins, so that engines which
    /// do not know of each other seldom meet.
    ///
    /// # Errors
    /// No range is left; a directory that cannot be read or written.
    pub fn reserve_ids(
        &self,
        pod: &Dir,
        free: &[HostIds],
        start: u32,
    ) -> Result<PrivateUsers, Error> {
        let _lock = self.lock_ids()?;
        let slots = free.iter().flat_map(|range| {
            let count = (range.end - range.start) / IDS;
            (0..count).map(|n| range.start + n * IDS)
        });
        let count = slots.clone().count();
        let begin = start as usize % count.max(1);
        let mut shift = Err(Error::NoIds { count });
        for slot in slots.clone().skip(begin).chain(slots.take(begin)) {
            if self.is_free(slot)? {
                shift = Ok(slot);
                break;
            }
        }
        let shift = shift?;
        let users = PrivateUsers { shift, count: IDS };
        self.take(pod, shift)?;
        pod.write(
            path::PRIVATE_USERS_PREPARED,
            users.to_string().as_bytes(),
            FILE,
        )?;
        Ok(users)
    }

    fn is_free(&self, shift: u32) -> Result<bool, Error> {
        for link in links(shift) {
            if let Some(uuid) = self.owner(&link)?
                && self.is_there(&uuid)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The UUID that a link names.
    fn owner(&self, link: &Path) -> Result<Option<String>, Error> {
        match readlinkat(self.root()?, link, Vec::new()) {
            Ok(uuid) => Ok(Some(uuid.to_string_lossy().into_owned())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::io("read", self.path().join(link), error)),
        }
    }

    /// Whether a pod is there. One that moves to its next phase meanwhile is met there: phases are
    /// looked at in the order of a pod's life.
    fn is_there(&self, uuid: &str) -> Result<bool, Error> {
        for phase in Phase::ALL {
            let directory = Self::relative(phase, uuid);
            match statat(self.root()?, &directory, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => return Ok(true),
                Err(Errno::NOENT) => {}
                Err(error) => {
                    return Err(Error::io("look at", self.path().join(directory), error));
                }
            }
        }
        Ok(false)
    }

    /// Gives a free range to a pod.
    fn take(&self, pod: &Dir, shift: u32) -> Result<(), Error> {
        let root = self.root()?;
        let uuid = pod.path().file_name().unwrap_or_default();
        for link in links(shift) {
            let make = || symlinkat(uuid, root, &link);
            let made = match make() {
                // The directory is made by the first pod that wants ids.
                Err(Errno::NOENT) => match mkdirat(root, LINKS, Mode::from_raw_mode(0o750)) {
                    Ok(()) | Err(Errno::EXIST) => make(),
                    Err(error) => Err(error),
                },
                // It names a pod that has gone.
                Err(Errno::EXIST) => unlinkat(root, &link, AtFlags::empty()).and_then(|()| make()),
                other => other,
            };
            made.map_err(|e| Error::io("create", self.path().join(&link), e))?;
        }
        Ok(())
    }

    /// Takes away the links of a pod's range, once the pod has gone.
    pub(crate) fn give_back(&self, uuid: &str, users: PrivateUsers) -> Result<(), Error> {
        let _lock = self.lock_ids()?;
        for link in links(users.shift) {
            if self.owner(&link)?.as_deref() == Some(uuid) {
                let removed = unlinkat(self.root()?, &link, AtFlags::empty());
                removed.map_err(|e| Error::io("remove", self.path().join(&link), e))?;
            }
        }
        Ok(())
    }

    fn lock_ids(&self) -> Result<std::os::fd::OwnedFd, Error> {
        let path = self.path().join(LOCK);
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(CWD, &path, flags, Mode::from_raw_mode(FILE))
            .map_err(|e| Error::io("open", &path, e))?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(file),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io("lock", path, error)),
            }
        }
    }
}

/// The names of the blocks that a range of [`IDS`] ids touches, below the pods' directory.
fn links(shift: u32) -> impl Iterator<Item = PathBuf> {
    let last = shift.saturating_add(IDS - 1);
    (shift / IDS..=last / IDS).map(|block| PathBuf::from(format!("{LINKS}/{block}")))
}

/// Whether two ranges have an id in common.
pub fn overlap(a: &HostIds, b: &HostIds) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: [HostIds; 2] = [1_000_000..1_065_540, 2_000_000..2_065_536];

    #[test]
    fn a_range_is_taken_as_long_as_its_pod_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let pods = Pods::create(dir.path()).unwrap();
        let shift = |start| {
            let pod = pods.new_pod().unwrap();
            let users = pods.reserve_ids(pod.dir(), &TWO, start)?;
            assert_eq!(users.count, IDS);
            Ok::<_, Error>((pod, users.shift))
        };
        let (first, a) = shift(1).unwrap();
        let (_second, b) = shift(1).unwrap();
        assert_eq!([a, b], [2_000_000, 1_000_000]);
        let error = shift(0).unwrap_err().to_string();
        assert!(error.contains("all 2 ranges"), "{error}");
        first.abandon(&pods).unwrap();
        assert_eq!(shift(0).unwrap().1, 2_000_000);
    }

    #[test]
    fn ranges_that_share_a_block_are_not_given_twice() {
        let dir = tempfile::tempdir().unwrap();
        let pods = Pods::create(dir.path()).unwrap();
        let [pod, other] = [pods.new_pod().unwrap(), pods.new_pod().unwrap()];
        // It ends within the block in which the next begins.
        let (low, high) = (IDS * 20 - 5..IDS * 21 - 5, IDS * 20 + 5..IDS * 21 + 5);
        pods.reserve_ids(pod.dir(), std::slice::from_ref(&low), 0)
            .unwrap();
        let high = std::slice::from_ref(&high);
        assert!(pods.reserve_ids(other.dir(), high, 0).is_err());
        pod.abandon(&pods).unwrap();
        // Given back, even where nothing is left of the pod.
        assert_eq!(
            std::fs::read_dir(pods.path().join(LINKS)).unwrap().count(),
            0
        );
        pods.reserve_ids(other.dir(), high, 0).unwrap();
    }

    #[test]
    fn a_link_to_a_pod_that_was_killed_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let pods = Pods::create(dir.path()).unwrap();
        let pod = pods.new_pod().unwrap();
        let one = IDS..IDS * 2;
        let one = std::slice::from_ref(&one);
        pods.reserve_ids(pod.dir(), one, 3).unwrap();
        let next = pods.new_pod().unwrap();
        assert!(pods.reserve_ids(next.dir(), one, 3).is_err());
        std::fs::remove_dir_all(pods.path().join("prepare").join(pod.uuid())).unwrap();
        pods.reserve_ids(next.dir(), one, 3).unwrap();
    }

    #[test]
    fn without_ids_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let pods = Pods::create(dir.path()).unwrap();
        let pod = pods.new_pod().unwrap();
        let small = 5..70;
        assert!(pods.reserve_ids(pod.dir(), &[small], 7).is_err());
    }
}

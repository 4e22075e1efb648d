//! Host ids for pods with user namespaces.
//!
//! A range is in use exactly as long as a pod's directory names it (`private-users-prepared`), so
//! that there is nothing to give back when a pod is removed, however it ended. Who chooses one holds
//! a lock until its pod names it.

use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
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
        let used = self.used_ids()?;
        let mut slots = free.iter().flat_map(|range| {
            let count = (range.end - range.start) / IDS;
            (0..count).map(|n| range.start + n * IDS)
        });
        let count = slots.clone().count();
        let begin = start as usize % count.max(1);
        let is_free = |shift: &u32| !used.iter().any(|u| overlap(u, &(*shift..*shift + IDS)));
        let shift = slots
            .clone()
            .skip(begin)
            .find(is_free)
            .or_else(|| slots.find(is_free))
            .ok_or(Error::NoIds { count })?;
        let users = PrivateUsers { shift, count: IDS };
        pod.write(
            path::PRIVATE_USERS_PREPARED,
            users.to_string().as_bytes(),
            FILE,
        )?;
        Ok(users)
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

    /// The ranges that pods name. One that moves to its next phase meanwhile is met there: phases
    /// are read in the order of a pod's life.
    fn used_ids(&self) -> Result<Vec<HostIds>, Error> {
        let mut used = Vec::new();
        for phase in Phase::ALL {
            for uuid in self.names(phase)? {
                let file = Self::relative(phase, &uuid).join(path::PRIVATE_USERS_PREPARED);
                if let Some(users) = self.read_ids(&file)? {
                    used.push(users.shift..users.shift + users.count);
                }
            }
        }
        Ok(used)
    }

    fn read_ids(&self, file: &Path) -> Result<Option<PrivateUsers>, Error> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let failed = |e| Error::io("read", self.path().join(file), e);
        let fd = match openat(self.root()?, file, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // Two numbers of ten digits and a colon.
        let mut bytes = [0; 32];
        let length = rustix::io::read(&fd, &mut bytes).map_err(failed)?;
        let text = std::str::from_utf8(&bytes[..length]).unwrap_or_default();
        // One cut off by a kill belongs to a pod that will never run.
        Ok(text.trim().parse().ok())
    }
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
    fn without_ids_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let pods = Pods::create(dir.path()).unwrap();
        let pod = pods.new_pod().unwrap();
        let small = 5..70;
        assert!(pods.reserve_ids(pod.dir(), &[small], 7).is_err());
    }
}

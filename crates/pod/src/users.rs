//! Host ids for pods with user namespaces: ranges that pods reserve, by the blocks of 65,536 ids that a
//! range touches, so that a choice looks at one or two names however many pods there are.

use stage1_abi::{PrivateUsers, path};

use crate::error::Error;
use crate::pods::Pods;
use crate::reserve::Shared;
use crate::tree::Dir;

/// Ids of one pod.
pub const IDS: u32 = 65_536;
/// What pods have of the host's ids.
const IDS_SHARED: Shared = Shared {
    links: "private-users",
    lock: "private-users.lock",
};
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
        let _lock = self.lock_shared(&IDS_SHARED)?;
        let slots = free.iter().flat_map(|range| {
            let count = (range.end - range.start) / IDS;
            (0..count).map(|n| range.start + n * IDS)
        });
        let count = slots.clone().count();
        let begin = start as usize % count.max(1);
        let mut shift = Err(Error::NoIds { count });
        for slot in slots.clone().skip(begin).chain(slots.take(begin)) {
            if self.are_free(&IDS_SHARED, &blocks(slot))? {
                shift = Ok(slot);
                break;
            }
        }
        let shift = shift?;
        let users = PrivateUsers { shift, count: IDS };
        self.take(&IDS_SHARED, pod, &blocks(shift))?;
        pod.write(
            path::PRIVATE_USERS_PREPARED,
            users.to_string().as_bytes(),
            FILE,
        )?;
        Ok(users)
    }

    /// Takes away the links of a pod's range, once the pod has gone.
    pub(crate) fn give_back_ids(&self, uuid: &str, users: PrivateUsers) -> Result<(), Error> {
        self.give_back(&IDS_SHARED, uuid, &blocks(users.shift))
    }
}

/// The names of the blocks that a range of [`IDS`] ids touches.
fn blocks(shift: u32) -> Vec<String> {
    let last = shift.saturating_add(IDS - 1);
    (shift / IDS..=last / IDS)
        .map(|block| block.to_string())
        .collect()
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
            std::fs::read_dir(pods.path().join(IDS_SHARED.links))
                .unwrap()
                .count(),
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

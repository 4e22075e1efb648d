//! SELinux levels of pods: two categories each (page "rkt and SELinux").

use crate::error::Error;
use crate::pods::Pods;
use crate::reserve::Shared;
use crate::tree::Dir;

/// Categories that a policy has, usually: `c0` to `c1023`.
const CATEGORIES: u32 = 1024;
/// Pairs of two different ones.
const PAIRS: u32 = CATEGORIES * (CATEGORIES - 1) / 2;
/// What pods have of the host's levels.
const LEVELS: Shared = Shared {
    links: "selinux-levels",
    lock: "selinux-levels.lock",
};

impl Pods {
    /// Chooses two categories that no pod here has, `cA,cB` with A below B, and lets `note` keep
    /// them in the pod's directory. `start` is any number: where the search begins, so that engines
    /// which do not know of each other seldom meet.
    ///
    /// # Errors
    /// All are taken; a directory that cannot be read or written; what `note` returns.
    pub fn reserve_level<T>(
        &self,
        pod: &Dir,
        start: u32,
        note: impl FnOnce(&str) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _lock = self.lock_shared(&LEVELS)?;
        for n in 0..PAIRS {
            let level = pair((start % PAIRS + n) % PAIRS);
            let name = std::slice::from_ref(&level);
            if self.are_free(&LEVELS, name)? {
                self.take(&LEVELS, pod, name)?;
                return note(&level);
            }
        }
        Err(Error::NoLevels)
    }

    /// Takes away the link of a pod's level, once the pod has gone. `context` is one that has it.
    pub(crate) fn give_back_level(&self, uuid: &str, context: &str) -> Result<(), Error> {
        match context.rsplit_once(':') {
            Some((_, level)) if level.starts_with('c') && !level.contains('/') => {
                self.give_back(&LEVELS, uuid, &[level.to_owned()])
            }
            // The policy has no levels.
            _ => Ok(()),
        }
    }
}

/// The `n`th pair of categories, of [`PAIRS`].
fn pair(mut n: u32) -> String {
    let mut low = 0;
    // As many as there are above each.
    while n >= CATEGORIES - 1 - low {
        n -= CATEGORIES - 1 - low;
        low += 1;
    }
    format!("c{low},c{}", low + 1 + n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_pair_of_its_own() {
        assert_eq!(pair(0), "c0,c1");
        assert_eq!(pair(CATEGORIES - 2), "c0,c1023");
        assert_eq!(pair(CATEGORIES - 1), "c1,c2");
        assert_eq!(pair(PAIRS - 1), "c1022,c1023");
        let all: std::collections::BTreeSet<_> = (0..PAIRS).map(pair).collect();
        assert_eq!(all.len(), PAIRS as usize);
    }

    #[test]
    fn a_level_is_a_pods_as_long_as_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let pods = Pods::create(dir.path()).unwrap();
        let reserve = || {
            let pod = pods.new_pod().unwrap();
            let mut found = String::new();
            pods.reserve_level(pod.dir(), 7, |level| {
                found = level.to_owned();
                let context = format!("u:r:t:s0:{level}");
                let labels = stage1_abi::Labels {
                    process: context.clone(),
                    file: context,
                };
                pod.dir().write(
                    stage1_abi::path::SELINUX_PREPARED,
                    labels.to_string().as_bytes(),
                    0o640,
                )
            })
            .unwrap();
            (pod, found)
        };
        let (first, a) = reserve();
        let (_second, b) = reserve();
        assert_eq!([a.as_str(), b.as_str()], ["c0,c8", "c0,c9"]);
        first.abandon(&pods).unwrap();
        let left = std::fs::read_dir(pods.path().join(LEVELS.links)).unwrap();
        assert_eq!(left.count(), 1);
        assert_eq!(reserve().1, a);
    }
}

//! Which host ids a pod with a user namespace gets (devel-user-namespaces).

use std::os::fd::OwnedFd;
use std::path::Path;

use pod::{Dir, HostIds, Pods, overlap};
use rustix::fs::CWD;
use rustix::io::Errno;
use sandbox::ids::{self, IdRange};
use sandbox::mounts;
use stage1_abi::{PrivateUsers, path};

use crate::failure::{Doing, Failure};

/// Subordinate ids, as subuid(5) and subgid(5) give them out.
pub(crate) const SUBUID: &str = "/etc/subuid";
pub(crate) const SUBGID: &str = "/etc/subgid";
/// Whose ids are pods'; the first that is found there.
const OWNERS: [&str; 2] = ["rkt", "root"];
/// The ids that systemd keeps for containers: what pods get where nobody says otherwise.
const CONTAINERS: HostIds = 0x0008_0000..0x7000_0000;

/// Chooses ids for a new pod and names them in its directory.
pub(crate) fn reserve(pods: &Pods, pod: &Dir) -> Result<PrivateUsers, Failure> {
    let read = |file| match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        text => text.doing_with(|| format!("cannot read {file}")),
    };
    let free = free(&read(SUBUID)?, &read(SUBGID)?);
    let mut random = [0u8; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .doing("cannot choose ids for the user namespace")?;
    pods.reserve_ids(pod, &free, u32::from_ne_bytes(random))
        .doing("cannot choose ids for the user namespace")
}

/// The ids that a pod was prepared with.
pub(crate) fn of(pod: &Dir) -> Result<Option<PrivateUsers>, Failure> {
    let problem = || format!("cannot read {}", path::PRIVATE_USERS_PREPARED);
    match pod
        .read_text(path::PRIVATE_USERS_PREPARED)
        .doing_with(problem)?
    {
        None => Ok(None),
        // Without them the pod would run with the host's own ids.
        Some(text) => match text.parse() {
            Ok(users) => Ok(Some(users)),
            Err(()) => Err(Failure::new(format!("{}: {text:?} is no range", problem()))),
        },
    }
}

/// A namespace with a pod's ids, for mounts.
pub(crate) fn namespace(users: PrivateUsers) -> Result<OwnedFd, Failure> {
    let range = IdRange {
        inside: 0,
        outside: users.shift,
        count: users.count,
    };
    ids::namespace(&[range]).doing("cannot map the pod's ids")
}

/// Why trees below `directory` cannot be shown under other ids; `None` if they can.
pub(crate) fn cannot_map(directory: &Path, users: &OwnedFd) -> Option<String> {
    // Overlays take such mounts since Linux 5.19.
    if !kernel_is_at_least(5, 19) {
        return Some("the kernel is older than Linux 5.19".into());
    }
    let map = || mounts::idmap(mounts::copy(CWD, directory, false)?, users, false);
    match map() {
        Ok(()) => None,
        Err(Errno::INVAL) => Some("its file system cannot map ids".into()),
        Err(errno) => Some(std::io::Error::from(errno).to_string()),
    }
}

fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next()) >= (major, minor)
}

/// What pods may take: what both files give to the same owner, else the containers' ids but for
/// those that the files give to others.
fn free(subuid: &str, subgid: &str) -> Vec<HostIds> {
    for owner in OWNERS {
        let (users, groups) = (given_to(subuid, owner), given_to(subgid, owner));
        if !users.is_empty() || !groups.is_empty() {
            return common(&users, &groups);
        }
    }
    let mut free = vec![CONTAINERS];
    for (_, taken) in lines(subuid).chain(lines(subgid)) {
        free = free
            .into_iter()
            .flat_map(|range| without(range, &taken))
            .collect();
    }
    free
}

/// The ranges of an owner.
pub(crate) fn given_to(text: &str, owner: &str) -> Vec<HostIds> {
    let own = lines(text).filter(|(name, _)| *name == owner);
    own.map(|(_, range)| range).collect()
}

/// `NAME:FIRST:COUNT` each; what does not look so is nobody's.
fn lines(text: &str) -> impl Iterator<Item = (&str, HostIds)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().splitn(3, ':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let first: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        Some((name, first..first.saturating_add(count)))
    })
}

fn common(a: &[HostIds], b: &[HostIds]) -> Vec<HostIds> {
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
    pairs
        .filter(|(a, b)| overlap(a, b))
        .map(|(a, b)| a.start.max(b.start)..a.end.min(b.end))
        .collect()
}

fn without(range: HostIds, taken: &HostIds) -> Vec<HostIds> {
    if !overlap(&range, taken) {
        return vec![range];
    }
    [
        range.start..taken.start.max(range.start),
        taken.end.min(range.end)..range.end,
    ]
    .into_iter()
    .filter(|rest| !rest.is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rkts_own_ids_go_before_roots() {
        let text = "root:200000:65536\nrkt:300000:131072\n";
        let only = |free: Vec<HostIds>| (free.len(), free[0].start, free[0].end);
        assert_eq!(only(free(text, text)), (1, 300_000, 431_072));
        assert_eq!(only(free("root:1:5\n", "root:3:9\n")), (1, 3, 6));
        // Given for users only, there is nothing to share.
        assert!(free("rkt:300000:65536\n", "").is_empty());
    }

    #[test]
    fn the_default_range_leaves_others_their_ids() {
        assert_eq!(free("", ""), [CONTAINERS]);
        let free = free("joe:600000:65536\nbad\n", "sue:1879048190:65536\n:1:2\n");
        assert_eq!(free, [0x0008_0000..600_000, 665_536..1_879_048_190]);
    }

    #[test]
    fn every_kernel_has_a_version() {
        assert!(kernel_is_at_least(4, 0) && !kernel_is_at_least(99, 0));
    }
}

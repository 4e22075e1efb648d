//! The devices that a pod may use: those every app finds in `/dev`, terminals, and those that were
//! given to it as volumes.

use rustix::fs::{FileType, Stat};

/// Type, major and minor (`None` is any) of an allowed device.
pub(super) const ALLOWED: [(char, u32, Option<u32>); 9] = [
    ('c', 1, Some(3)),    // null
    ('c', 1, Some(5)),    // zero
    ('c', 1, Some(7)),    // full
    ('c', 1, Some(8)),    // random
    ('c', 1, Some(9)),    // urandom
    ('c', 5, Some(0)),    // tty
    ('c', 5, Some(2)),    // ptmx
    ('c', 10, Some(200)), // net/tun
    ('c', 136, None),     // pts/*
];

/// A device that apps are given as a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    block: bool,
    major: u32,
    minor: u32,
}

impl Device {
    /// The device that a node stands for; `None` for other files.
    pub fn of(node: &Stat) -> Option<Self> {
        let kind = FileType::from_raw_mode(node.st_mode);
        let device = matches!(kind, FileType::BlockDevice | FileType::CharacterDevice);
        device.then(|| Self {
            block: kind == FileType::BlockDevice,
            major: rustix::fs::major(node.st_rdev),
            minor: rustix::fs::minor(node.st_rdev),
        })
    }

    /// As version 1 writes it.
    pub(super) fn rule(&self) -> String {
        rule(self.entry())
    }

    fn entry(&self) -> (char, u32, Option<u32>) {
        let kind = if self.block { 'b' } else { 'c' };
        (kind, self.major, Some(self.minor))
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.block { "block" } else { "character" };
        write!(f, "{kind} device {}:{}", self.major, self.minor)
    }
}

/// All that may be used beside given devices.
pub(super) fn allowed(given: &[Device]) -> impl Iterator<Item = (char, u32, Option<u32>)> {
    ALLOWED.into_iter().chain(given.iter().map(Device::entry))
}

/// As version 1 writes it.
pub(super) fn rule((kind, major, minor): (char, u32, Option<u32>)) -> String {
    let minor = minor.map_or_else(|| "*".to_owned(), |m| m.to_string());
    format!("{kind} {major}:{minor} rwm")
}

/// The devices of the pod that are not the app's.
pub(super) fn others(pod: &[Device], own: &[Device]) -> Vec<Device> {
    let standard = |device: &Device| ALLOWED.contains(&device.entry());
    let foreign = |device: &&Device| !own.contains(device) && !standard(device);
    pod.iter().filter(foreign).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_kept_from_the_devices_of_others() {
        let null = Device::of(&rustix::fs::stat("/dev/null").unwrap()).unwrap();
        let fuse = Device {
            block: false,
            major: 10,
            minor: 229,
        };
        assert_eq!(fuse.rule(), "c 10:229 rwm");
        assert_eq!(others(&[null, fuse], &[]), [fuse]);
        assert_eq!(others(&[null, fuse], &[fuse]), []);
        assert!(Device::of(&rustix::fs::stat("/dev").unwrap()).is_none());
    }
}

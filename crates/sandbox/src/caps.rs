//! Capabilities of an app: names, the default set, and giving up all others.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
};

/// A set of capabilities; bit `n` is capability number `n` (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u64);

/// Names in the order of their numbers.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What an app may keep when nothing else is said (capabilities guide, "Default capabilities").
const DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETFCAP",
    "CAP_SYS_CHROOT",
];

impl Default for Capabilities {
    fn default() -> Self {
        DEFAULT
            .iter()
            .filter_map(|name| Self::number(name))
            .fold(Self(0), Self::with)
    }
}

impl Capabilities {
    /// The set with these bits.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Bit `n` is capability number `n`.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// None.
    pub const EMPTY: Self = Self(0);
    /// Every one this code knows.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// The number of a capability, by its full name in any case.
    pub fn number(name: &str) -> Option<u32> {
        NAMES
            .iter()
            .position(|n| n.eq_ignore_ascii_case(name))
            .map(|n| n as u32)
    }

    /// This set and one more capability.
    #[must_use]
    pub fn with(self, number: u32) -> Self {
        Self(self.0 | 1 << number)
    }

    /// This set without another.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether a capability is in the set.
    pub fn contains(self, name: &str) -> bool {
        Self::number(name).is_some_and(|n| self.0 & 1 << n != 0)
    }

    /// Reads names; the first unknown one is the error.
    ///
    /// # Errors
    /// The name that is not a capability's.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        names
            .into_iter()
            .try_fold(Self(0), |set, name| match Self::number(name) {
                Some(number) => Ok(set.with(number)),
                None => Err(name),
            })
    }

    fn kernel_set(self) -> CapabilitySet {
        CapabilitySet::from_bits_retain(self.0)
    }
}

/// Takes everything but `keep` out of the bounding set and empties the inheritable one, so that no
/// program started from here on, set-id ones included, can have more.
///
/// # Errors
/// As prctl(2) and capset(2).
pub fn bound(keep: Capabilities) -> Result<(), Errno> {
    for number in 0..64 {
        if keep.0 & 1 << number != 0 {
            continue;
        }
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // The kernel's last capability was the one before.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    clear_ambient_capability_set()?;
    let own = capabilities(None)?;
    set_capabilities(
        None,
        CapabilitySets {
            inheritable: CapabilitySet::empty(),
            ..own
        },
    )
}

/// Gives a process that is no longer root exactly `keep`, also across exec (ambient set). Root
/// needs none of it: exec gives it the bounding set.
///
/// # Errors
/// As capset(2) and prctl(2); the process must have kept its permitted set over setuid(2).
pub fn raise_ambient(keep: Capabilities) -> Result<(), Errno> {
    let set = keep.kernel_set();
    set_capabilities(
        None,
        CapabilitySets {
            effective: set,
            permitted: set,
            inheritable: set,
        },
    )?;
    for number in (0..NAMES.len()).filter(|n| keep.0 & 1 << n != 0) {
        configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_set_is_the_documented_one() {
        let set = Capabilities::default();
        assert_eq!(set.0.count_ones(), 14);
        assert!(set.contains("CAP_MKNOD") && !set.contains("CAP_SYS_ADMIN"));
    }

    #[test]
    fn names_are_read() {
        assert_eq!(
            Capabilities::from_names(["cap_kill"]),
            Ok(Capabilities(1 << 5))
        );
        assert_eq!(
            Capabilities::from_names(["CAP_KILL", "CAP_NONE"]),
            Err("CAP_NONE")
        );
        assert_eq!(Capabilities::number("CAP_CHECKPOINT_RESTORE"), Some(40));
    }
}

//! What a filter allows, in names, and its translation to numbers.

use std::collections::BTreeMap;

use super::Program;
use super::bpf::{Arch, Ranges, Verdict, assemble};
use super::{sets, systemd};

/// How the listed calls are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only these are allowed.
    Retain,
    /// All but these are allowed.
    Remove,
}

/// Why a filter cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// No architecture has a call, and no predefined set, of this name.
    #[error("unknown system call or set {0:?}")]
    Unknown(String),
    /// No table of system calls for the machine.
    #[error("system call filters are not supported on {0}")]
    Arch(&'static str),
}

/// A system call filter by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    mode: Mode,
    names: Vec<String>,
    /// What a denied call returns; without it the app is killed with SIGSYS.
    errno: Option<u16>,
    /// `clone` may make namespaces.
    namespaces: bool,
}

/// Flags of clone(2) that make namespaces.
const NEW_NAMESPACES: u32 = 0x7E02_0000;
/// `@docker/default-whitelist`, `@rkt/default-whitelist`, and the meaning of `@appc.io/empty`.
const DEFAULT_SETS: [&str; 2] = ["@rkt/default-whitelist", "@docker/default-whitelist"];

impl Default for Policy {
    /// The filter of apps that say nothing: calls outside the original's list are fatal, newer
    /// ones are allowed when harmless and answer `ENOSYS` when not, and `clone` makes no
    /// namespaces.
    fn default() -> Self {
        Self {
            mode: Mode::Retain,
            names: vec![DEFAULT_SETS[0].to_owned()],
            errno: None,
            namespaces: false,
        }
    }
}

impl Policy {
    /// A filter from an isolator's mode, list and errno (seccomp guide). `None` is no filter at
    /// all: `retain @appc.io/all`.
    pub fn new(mode: Mode, names: &[&str], errno: Option<u16>) -> Option<Self> {
        match (mode, names) {
            (Mode::Retain, names) if names.contains(&"@appc.io/all") => None,
            (Mode::Remove, ["@appc.io/empty"]) => Some(Self {
                errno,
                ..Self::default()
            }),
            _ => {
                let names = names.iter().map(|n| (*n).to_owned()).collect();
                Some(Self {
                    mode,
                    names,
                    errno,
                    namespaces: true,
                })
            }
        }
    }

    /// The same filter for an app that may make namespaces (it keeps CAP_SYS_ADMIN).
    #[must_use]
    pub fn with_namespaces(self) -> Self {
        Self {
            namespaces: true,
            ..self
        }
    }

    /// Compiles for the given architectures.
    ///
    /// # Errors
    /// A name that is neither a call nor a set; no architectures.
    pub fn compile(&self, archs: &[Arch]) -> Result<Program, PolicyError> {
        Ok(Program(assemble(&self.sections(archs)?)))
    }

    /// The same as one filter with `bound`: a call gets the stricter of both verdicts.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn compile_within(&self, bound: &Self, archs: &[Arch]) -> Result<Program, PolicyError> {
        let bounds = bound.sections(archs)?;
        let own = self.sections(archs)?.into_iter().zip(&bounds);
        let sections: Vec<_> = own
            .map(|((arch, ranges), (_, bound))| (arch, stricter(&ranges, bound)))
            .collect();
        Ok(Program(assemble(&sections)))
    }

    fn sections(&self, archs: &[Arch]) -> Result<Vec<(Arch, Ranges)>, PolicyError> {
        if archs.is_empty() {
            return Err(PolicyError::Arch(std::env::consts::ARCH));
        }
        let mut names = Vec::new();
        for name in &self.names {
            expand(name, &mut names)?;
        }
        let sections = archs.iter().map(|&arch| (arch, self.ranges(arch, &names)));
        Ok(sections.collect())
    }

    fn ranges(&self, arch: Arch, names: &[&str]) -> Ranges {
        let denied = self.errno.map_or(Verdict::Kill, Verdict::Errno);
        let (listed, other) = match self.mode {
            Mode::Retain => (Verdict::Allow, denied),
            Mode::Remove => (denied, Verdict::Allow),
        };
        let newer = if other == Verdict::Allow {
            other
        } else {
            Verdict::Errno(libc::ENOSYS as u16)
        };
        let mut table: BTreeMap<u32, Verdict> = names
            .iter()
            .filter_map(|name| Some((arch.number(name)?, listed)))
            .collect();
        if self.mode == Mode::Retain && !self.namespaces {
            if let Some(clone) = arch.number("clone").filter(|n| table.contains_key(n)) {
                table.insert(clone, Verdict::AllowWithoutBits(NEW_NAMESPACES));
            }
            // Its flags are behind a pointer, which a filter cannot read: the C library falls
            // back to clone.
            if let Some(clone3) = arch.number("clone3") {
                table.insert(clone3, Verdict::Errno(libc::ENOSYS as u16));
            }
        }
        spread(&table, arch.first_newer(), other, newer)
    }
}

/// Single numbers to ranges, neighbours with one verdict merged.
fn spread(
    table: &BTreeMap<u32, Verdict>,
    first_newer: u32,
    other: Verdict,
    newer: Verdict,
) -> Ranges {
    let unlisted = |n: u32| if n < first_newer { other } else { newer };
    let mut edges: Vec<u32> = vec![0, first_newer];
    edges.extend(table.keys().flat_map(|&n| [n, n + 1]));
    edges.sort_unstable();
    edges.dedup();
    let mut ranges = Ranges::new();
    for n in edges {
        let verdict = table.get(&n).copied().unwrap_or_else(|| unlisted(n));
        if ranges.last().is_none_or(|&(_, last)| last != verdict) {
            ranges.push((n, verdict));
        }
    }
    ranges
}

/// The stricter verdict of both for every number.
fn stricter(one: &Ranges, other: &Ranges) -> Ranges {
    let at = |ranges: &Ranges, number: u32| {
        let after = ranges.partition_point(|&(first, _)| first <= number);
        // The first range begins at 0, so there is one.
        after.checked_sub(1).map_or(Verdict::Kill, |n| ranges[n].1)
    };
    let mut edges: Vec<u32> = one.iter().chain(other).map(|&(first, _)| first).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut ranges = Ranges::new();
    for n in edges {
        let verdict = at(one, n).stricter(at(other, n));
        if ranges.last().is_none_or(|&(_, last)| last != verdict) {
            ranges.push((n, verdict));
        }
    }
    ranges
}

/// Adds the calls that `name`, a call or a set, stands for.
fn expand<'a>(name: &'a str, names: &mut Vec<&'a str>) -> Result<(), PolicyError> {
    match name {
        "@docker/default-whitelist" | "@rkt/default-whitelist" => {
            names.extend(sets::DOCKER_WHITE);
            names.extend(sets::NEWER);
            names.push("clone3");
            if cfg!(any(target_arch = "aarch64", target_arch = "arm")) {
                names.extend(sets::ARM);
            }
        }
        "@docker/default-blacklist" | "@rkt/default-blacklist" => names.extend(sets::DOCKER_BLACK),
        "@appc.io/empty" => {}
        group if group.starts_with("@systemd/") => {
            let members = systemd::group(group);
            let members = members.ok_or_else(|| PolicyError::Unknown(group.to_owned()))?;
            for member in members {
                expand(member, names)?;
            }
        }
        call if Arch::knows(call) => names.push(call),
        // Calls of the original's lists that today's tables dropped.
        call if sets::DOCKER_WHITE.contains(&call)
            || sets::DOCKER_BLACK.contains(&call)
            || sets::ARM.contains(&call)
            || systemd::knows(call) => {}
        unknown => return Err(PolicyError::Unknown(unknown.to_owned())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::bpf::tests::run;
    use super::*;

    const KILL: u32 = 0x8000_0000;
    const ALLOW: u32 = 0x7FFF_0000;
    const EPERM: u32 = 0x0005_0001;
    const ENOSYS: u32 = 0x0005_0026;

    fn answer(policy: &Policy, call: &str, arg0: u32) -> u32 {
        let program = policy.compile(&[Arch::X86_64, Arch::X86]).unwrap();
        run(
            program.as_bytes(),
            Arch::X86_64,
            Arch::X86_64.number(call).unwrap(),
            arg0,
        )
    }

    #[test]
    fn the_default_filter() {
        let policy = Policy::default();
        for call in ["read", "statx", "rseq", "chroot", "futex_waitv", "mknod"] {
            assert_eq!(answer(&policy, call, 0), ALLOW, "{call}");
        }
        for call in [
            "mount",
            "ptrace",
            "bpf",
            "keyctl",
            "setns",
            "unshare",
            "open_by_handle_at",
        ] {
            assert_eq!(answer(&policy, call, 0), KILL, "{call}");
        }
        assert_eq!(answer(&policy, "clone", 17), ALLOW);
        assert_eq!(answer(&policy, "clone", 0x1000_0000), EPERM);
        for call in ["clone3", "io_uring_setup", "mount_setattr", "fsopen"] {
            assert_eq!(answer(&policy, call, 0), ENOSYS, "{call}");
        }
        let program = policy.compile(&[Arch::X86_64, Arch::X86]).unwrap();
        assert_eq!(run(program.as_bytes(), Arch::X86_64, 4000, 0), ENOSYS);
        assert_eq!(
            run(program.as_bytes(), Arch::X86, 21, 0),
            KILL,
            "mount of 32-bit programs"
        );
        assert!(program.as_bytes().len() / 8 < 1000);
    }

    #[test]
    fn isolators() {
        let remove = Policy::new(
            Mode::Remove,
            &["chown", "@docker/default-blacklist"],
            Some(1),
        )
        .unwrap();
        assert_eq!(answer(&remove, "chown", 0), EPERM);
        assert_eq!(answer(&remove, "mount", 0), EPERM);
        assert_eq!(answer(&remove, "clone3", 0), ALLOW);
        let retain = Policy::new(Mode::Retain, &["read", "execve"], None).unwrap();
        assert_eq!(answer(&retain, "read", 0), ALLOW);
        assert_eq!(answer(&retain, "write", 0), KILL);
        assert_eq!(
            answer(&retain, "rseq", 0),
            ENOSYS,
            "the C library must be able to start"
        );
        let nested = Policy::new(Mode::Remove, &["@systemd/privileged"], Some(1)).unwrap();
        for call in ["chown", "swapon", "init_module", "acct"] {
            assert_eq!(answer(&nested, call, 0), EPERM, "{call}");
        }
        assert_eq!(answer(&nested, "read", 0), ALLOW);
        assert!(Policy::new(Mode::Retain, &["@appc.io/all"], None).is_none());
        assert_eq!(
            Policy::new(Mode::Remove, &["@appc.io/empty"], None),
            Some(Policy::default())
        );
        let unknown = Policy::new(Mode::Remove, &["no_such_call"], None).unwrap();
        let error = unknown.compile(&[Arch::X86_64]).unwrap_err().to_string();
        assert_eq!(error, "unknown system call or set \"no_such_call\"");
    }

    #[test]
    fn a_bound_takes_away_and_gives_nothing() {
        let x86 = |name| Arch::X86_64.number(name).unwrap();
        let bound = Policy::new(Mode::Remove, &["chown", "mount"], Some(1)).unwrap();
        let own = Policy::new(Mode::Retain, &["read", "chown"], None).unwrap();
        let both = own.compile_within(&bound, &[Arch::X86_64]).unwrap();
        let verdict = |name| run(both.as_bytes(), Arch::X86_64, x86(name), 0);
        assert_eq!(verdict("read"), ALLOW);
        assert_eq!(verdict("chown"), EPERM);
        // Its own word is stricter, or the only one.
        assert_eq!(verdict("mount"), KILL);
        assert_eq!(verdict("write"), KILL);
        let filter = Policy::default();
        let both = filter.compile_within(&bound, &[Arch::X86_64]).unwrap();
        let clone = x86("clone");
        assert_eq!(run(both.as_bytes(), Arch::X86_64, clone, 0), ALLOW);
        let flags = NEW_NAMESPACES;
        assert_eq!(run(both.as_bytes(), Arch::X86_64, clone, flags), EPERM);
    }
}

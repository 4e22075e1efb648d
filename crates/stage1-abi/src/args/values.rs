//! Values of the run entrypoint's options.

use std::str::FromStr;

use super::{ArgsError, Opt};

/// Host ids that a pod's user namespace starts at, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrivateUsers {
    /// Host id of the pod's id 0.
    pub shift: u32,
    /// Number of ids.
    pub count: u32,
}

impl PrivateUsers {
    /// What an id of the pod is on the host. Ids outside the namespace have no meaning there.
    pub fn on_host(self, id: u32) -> u32 {
        self.shift.saturating_add(id)
    }
}

impl FromStr for PrivateUsers {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        let (shift, count) = s.split_once(':').ok_or(())?;
        let shift: u32 = shift.parse().map_err(|_| ())?;
        let count: u32 = count.parse().map_err(|_| ())?;
        if count == 0 || shift.checked_add(count).is_none() {
            return Err(());
        }
        Ok(Self { shift, count })
    }
}

impl std::fmt::Display for PrivateUsers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.shift, self.count)
    }
}

/// Where a generated file such as `/etc/resolv.conf` comes from (interface version 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileMode {
    /// The host's file is bind-mounted.
    Host,
    /// The file that stage0 wrote below the stage1 root file system is mounted.
    Stage0,
    /// Nothing is mounted.
    None,
    /// Stage1's usual behaviour.
    #[default]
    Default,
}

impl FileMode {
    const NAMES: [(Self, &str); 4] = [
        (Self::Host, "host"),
        (Self::Stage0, "stage0"),
        (Self::None, "none"),
        (Self::Default, "default"),
    ];

    fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(mode, _)| *mode == self)
            .map_or("default", |(_, name)| name)
    }

    fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(mode, _)| *mode)
    }
}

/// `--dns-conf-mode=resolv=…,hosts=…` (interface version 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DnsConfMode {
    /// Source of `/etc/resolv.conf`.
    pub resolv: FileMode,
    /// Source of `/etc/hosts`.
    pub hosts: FileMode,
}

impl DnsConfMode {
    /// The names of both modes, `/etc/resolv.conf`'s first.
    pub fn names(self) -> (&'static str, &'static str) {
        (self.resolv.name(), self.hosts.name())
    }
}

impl FromStr for DnsConfMode {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        let mut mode = Self::default();
        for part in s.split(',') {
            let (key, value) = part.split_once('=').ok_or(())?;
            let value = FileMode::named(value).ok_or(())?;
            match key {
                "resolv" => mode.resolv = value,
                "hosts" if value != FileMode::None => mode.hosts = value,
                _ => return Err(()),
            }
        }
        Ok(mode)
    }
}

/// Security features that the user switched off for this pod (interface version 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InsecureOptions {
    /// Apps keep every capability.
    pub disable_capabilities: bool,
    /// `/proc` and `/sys` stay unmasked.
    pub disable_paths: bool,
    /// No system call filter.
    pub disable_seccomp: bool,
}

const DISABLE_CAPABILITIES: &str = "--disable-capabilities-restriction";
const DISABLE_PATHS: &str = "--disable-paths";
const DISABLE_SECCOMP: &str = "--disable-seccomp";

impl InsecureOptions {
    pub(super) fn flags(self) -> [(&'static str, bool); 3] {
        [
            (DISABLE_CAPABILITIES, self.disable_capabilities),
            (DISABLE_PATHS, self.disable_paths),
            (DISABLE_SECCOMP, self.disable_seccomp),
        ]
    }

    /// Reads an option if it is one of these; whether it was.
    pub(super) fn take(&mut self, option: &Opt<'_>) -> Result<bool, ArgsError> {
        let fields = [
            (DISABLE_CAPABILITIES, &mut self.disable_capabilities),
            (DISABLE_PATHS, &mut self.disable_paths),
            (DISABLE_SECCOMP, &mut self.disable_seccomp),
        ];
        for (name, field) in fields {
            if option.name == name.as_bytes() {
                *field = option.truth(name)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

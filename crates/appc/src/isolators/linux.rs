//! Isolators of Linux and other Unixes (specification, ace.md, "Linux Isolators" and "Unix
//! Isolators").

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Error;
use crate::check::{At, Check, no_nul, required};

/// A set of capability names, such as `CAP_NET_ADMIN`. Whether the kernel knows them is for who
/// applies the set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilitySet {
    /// The names; not empty.
    pub set: Vec<String>,
}

/// A set of system calls and what happens to a blocked one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyscallSet {
    /// Names of system calls, or of whole sets when they start with `@`; not empty.
    pub set: Vec<String>,
    /// The error name that a blocked call returns, such as `ENOTSUP`; the app is killed with
    /// SIGSYS when absent or empty (see [`SyscallSet::errno`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
}

/// A SELinux security context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelinuxContext {
    /// The user.
    pub user: String,
    /// The role.
    pub role: String,
    /// The type or domain.
    #[serde(rename = "type")]
    pub context_type: String,
    /// The level or range.
    pub level: String,
}

/// An AppArmor profile that is loaded on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppArmorProfile {
    /// The profile's name.
    pub profile: String,
}

impl SyscallSet {
    /// The error name of a blocked call; `None` when the app is to be killed.
    pub fn errno(&self) -> Option<&str> {
        self.errno.as_deref().filter(|name| !name.is_empty())
    }
}

impl std::fmt::Display for SelinuxContext {
    /// `user:role:type:level`, as the kernel takes it.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{}:{}:{}:{}",
            self.user, self.role, self.context_type, self.level
        )
    }
}

impl<'de> Deserialize<'de> for AppArmorProfile {
    /// The object `{"profile": NAME}`, or the name alone.
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a profile's name")]
        enum Written {
            Object { profile: String },
            Name(String),
        }
        Ok(match Written::deserialize(reader)? {
            Written::Object { profile } | Written::Name(profile) => AppArmorProfile { profile },
        })
    }
}

/// Names of a set: at least one, none empty.
fn names(set: &[String], at: &At<'_>) -> Result<(), Error> {
    let at = at.field("set");
    if set.is_empty() {
        return Err(at.fail("must not be empty"));
    }
    set.iter()
        .enumerate()
        .try_for_each(|(i, name)| required(name, &at.index(i)))
}

impl Check for CapabilitySet {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        names(&self.set, at)
    }
}

impl Check for SyscallSet {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        names(&self.set, at)?;
        let upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        match self.errno() {
            Some(errno) if !errno.starts_with('E') || !errno.bytes().all(upper) => Err(at
                .field("errno")
                .fail("must be the upper-case name of an error, such as EPERM")),
            _ => Ok(()),
        }
    }
}

impl Check for SelinuxContext {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        let parts = [
            ("user", &self.user),
            ("role", &self.role),
            ("type", &self.context_type),
        ];
        for (field, part) in parts {
            required(part, &at.field(field))?;
            if part.contains(':') {
                return Err(at.field(field).fail("must not contain :"));
            }
        }
        required(&self.level, &at.field("level"))
    }
}

impl Check for AppArmorProfile {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        required(&self.profile, &at.field("profile"))
    }
}

/// The kernel's range of `/proc/PID/oom_score_adj`.
pub(super) fn oom_score_adj(value: i64, at: &At<'_>) -> Result<i16, Error> {
    match i16::try_from(value) {
        Ok(adjustment @ -1000..=1000) => Ok(adjustment),
        _ => Err(at.fail("must be from -1000 to 1000")),
    }
}

/// The kernel's range of cgroup v1's `cpu.shares`.
pub(super) fn cpu_shares(value: i64, at: &At<'_>) -> Result<u32, Error> {
    match u32::try_from(value) {
        Ok(shares @ 2..=262_144) => Ok(shares),
        _ => Err(at.fail("must be from 2 to 262144")),
    }
}

/// Keys and values of kernel parameters. Which of them a pod may set is for who applies them; the
/// key must only be unable to leave `/proc/sys`.
pub(super) fn sysctl(
    parameters: BTreeMap<String, String>,
    at: &At<'_>,
) -> Result<BTreeMap<String, String>, Error> {
    for (key, value) in &parameters {
        let dots = key.split(['.', '/']).any(str::is_empty);
        if dots || key.contains('\0') {
            return Err(at.fail(format!("{key:?} is not the name of a kernel parameter")));
        }
        no_nul(value, at)?;
    }
    Ok(parameters)
}

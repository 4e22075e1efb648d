//! Isolators: what confines an app or a pod (specification, ace.md, "Isolators").

mod linux;
mod resource;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use linux::{AppArmorProfile, CapabilitySet, SelinuxContext, SyscallSet};
pub use resource::Resource;

use std::collections::BTreeMap;

use crate::check::{At, Check};
use crate::json::{Extra, list_type};
use crate::{AcIdentifier, Error};

/// One isolator, as it stands in a manifest. [`Isolator::decode`] gives its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolator {
    /// Which isolator.
    pub name: AcIdentifier,
    /// Its parameters, kept as they were read.
    #[serde(default)]
    pub value: Value,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The isolators of an app or a pod. A known isolator stands there once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Isolators(pub Vec<Isolator>);

list_type!(Isolators, Isolator);

/// What an isolator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IsolatorValue {
    /// `resource/cpu`: cores.
    Cpu(Resource),
    /// `resource/memory`: bytes.
    Memory(Resource),
    /// `resource/block-bandwidth`: bytes a second on all block devices.
    BlockBandwidth(Resource),
    /// `resource/block-iops`: operations a second on all block devices.
    BlockIops(Resource),
    /// `resource/network-bandwidth`: bytes a second on all interfaces but the loopback.
    NetworkBandwidth(Resource),
    /// `os/linux/capabilities-retain-set`: the capabilities to keep.
    CapabilitiesRetain(CapabilitySet),
    /// `os/linux/capabilities-remove-set`: the default capabilities to drop.
    CapabilitiesRemove(CapabilitySet),
    /// `os/linux/no-new-privileges`.
    NoNewPrivileges(bool),
    /// `os/linux/seccomp-retain-set`: the system calls to allow.
    SeccompRetain(SyscallSet),
    /// `os/linux/seccomp-remove-set`: the system calls to block.
    SeccompRemove(SyscallSet),
    /// `os/linux/oom-score-adj`: from -1000 to 1000.
    OomScoreAdj(i16),
    /// `os/linux/cpu-shares`: from 2 to 262144, 1024 being usual.
    CpuShares(u32),
    /// `os/linux/selinux-context`.
    SelinuxContext(SelinuxContext),
    /// `os/linux/apparmor-profile`.
    AppArmorProfile(AppArmorProfile),
    /// `os/unix/sysctl`: keys and their values.
    Sysctl(BTreeMap<String, String>),
    /// An isolator that the specification does not name.
    Unknown,
}

const CPU: &str = "resource/cpu";
const MEMORY: &str = "resource/memory";
const BLOCK_BANDWIDTH: &str = "resource/block-bandwidth";
const BLOCK_IOPS: &str = "resource/block-iops";
const NETWORK_BANDWIDTH: &str = "resource/network-bandwidth";
const CAPABILITIES_RETAIN: &str = "os/linux/capabilities-retain-set";
const CAPABILITIES_REMOVE: &str = "os/linux/capabilities-remove-set";
const NO_NEW_PRIVILEGES: &str = "os/linux/no-new-privileges";
const SECCOMP_RETAIN: &str = "os/linux/seccomp-retain-set";
const SECCOMP_REMOVE: &str = "os/linux/seccomp-remove-set";
const OOM_SCORE_ADJ: &str = "os/linux/oom-score-adj";
const CPU_SHARES: &str = "os/linux/cpu-shares";
const SELINUX_CONTEXT: &str = "os/linux/selinux-context";
const APPARMOR_PROFILE: &str = "os/linux/apparmor-profile";
const SYSCTL: &str = "os/unix/sysctl";

/// Isolators of which a list holds one or the other.
const EXCLUSIVE: [(&str, &str); 2] = [
    (CAPABILITIES_RETAIN, CAPABILITIES_REMOVE),
    (SECCOMP_RETAIN, SECCOMP_REMOVE),
];

impl Isolator {
    /// Reads the parameters. An isolator that the specification does not name is
    /// [`IsolatorValue::Unknown`]; wrong parameters of a known one are an error.
    pub fn decode(&self) -> Result<IsolatorValue, Error> {
        self.decode_at(&At::root().field("value"))
    }

    fn decode_at(&self, at: &At<'_>) -> Result<IsolatorValue, Error> {
        let value = &self.value;
        Ok(match self.name.as_str() {
            CPU => IsolatorValue::Cpu(Resource::guaranteed(value, at)?),
            MEMORY => IsolatorValue::Memory(Resource::guaranteed(value, at)?),
            BLOCK_BANDWIDTH => IsolatorValue::BlockBandwidth(Resource::limit_only(value, at)?),
            BLOCK_IOPS => IsolatorValue::BlockIops(Resource::limit_only(value, at)?),
            NETWORK_BANDWIDTH => IsolatorValue::NetworkBandwidth(Resource::limit_only(value, at)?),
            CAPABILITIES_RETAIN => IsolatorValue::CapabilitiesRetain(checked(value, at)?),
            CAPABILITIES_REMOVE => IsolatorValue::CapabilitiesRemove(checked(value, at)?),
            NO_NEW_PRIVILEGES => IsolatorValue::NoNewPrivileges(read(value, at)?),
            SECCOMP_RETAIN => IsolatorValue::SeccompRetain(checked(value, at)?),
            SECCOMP_REMOVE => IsolatorValue::SeccompRemove(checked(value, at)?),
            OOM_SCORE_ADJ => {
                IsolatorValue::OomScoreAdj(linux::oom_score_adj(read(value, at)?, at)?)
            }
            CPU_SHARES => IsolatorValue::CpuShares(linux::cpu_shares(read(value, at)?, at)?),
            SELINUX_CONTEXT => IsolatorValue::SelinuxContext(checked(value, at)?),
            APPARMOR_PROFILE => IsolatorValue::AppArmorProfile(checked(value, at)?),
            SYSCTL => IsolatorValue::Sysctl(linux::sysctl(read(value, at)?, at)?),
            _ => IsolatorValue::Unknown,
        })
    }
}

impl IsolatorValue {
    /// The isolator's name; `None` for [`IsolatorValue::Unknown`].
    pub fn name(&self) -> Option<&'static str> {
        Some(match self {
            IsolatorValue::Cpu(_) => CPU,
            IsolatorValue::Memory(_) => MEMORY,
            IsolatorValue::BlockBandwidth(_) => BLOCK_BANDWIDTH,
            IsolatorValue::BlockIops(_) => BLOCK_IOPS,
            IsolatorValue::NetworkBandwidth(_) => NETWORK_BANDWIDTH,
            IsolatorValue::CapabilitiesRetain(_) => CAPABILITIES_RETAIN,
            IsolatorValue::CapabilitiesRemove(_) => CAPABILITIES_REMOVE,
            IsolatorValue::NoNewPrivileges(_) => NO_NEW_PRIVILEGES,
            IsolatorValue::SeccompRetain(_) => SECCOMP_RETAIN,
            IsolatorValue::SeccompRemove(_) => SECCOMP_REMOVE,
            IsolatorValue::OomScoreAdj(_) => OOM_SCORE_ADJ,
            IsolatorValue::CpuShares(_) => CPU_SHARES,
            IsolatorValue::SelinuxContext(_) => SELINUX_CONTEXT,
            IsolatorValue::AppArmorProfile(_) => APPARMOR_PROFILE,
            IsolatorValue::Sysctl(_) => SYSCTL,
            IsolatorValue::Unknown => return None,
        })
    }

    /// The isolator for a manifest. Checks the parameters; [`IsolatorValue::Unknown`] has none.
    pub fn isolator(&self) -> Result<Isolator, Error> {
        let fail = |reason: String| Error::field("isolator", &reason);
        let name = self.name().ok_or_else(|| fail("has no name".to_owned()))?;
        let value = match self {
            IsolatorValue::Cpu(v)
            | IsolatorValue::Memory(v)
            | IsolatorValue::BlockBandwidth(v)
            | IsolatorValue::BlockIops(v)
            | IsolatorValue::NetworkBandwidth(v) => serde_json::to_value(v),
            IsolatorValue::CapabilitiesRetain(v) | IsolatorValue::CapabilitiesRemove(v) => {
                serde_json::to_value(v)
            }
            IsolatorValue::SeccompRetain(v) | IsolatorValue::SeccompRemove(v) => {
                serde_json::to_value(v)
            }
            IsolatorValue::NoNewPrivileges(v) => serde_json::to_value(v),
            IsolatorValue::OomScoreAdj(v) => serde_json::to_value(v),
            IsolatorValue::CpuShares(v) => serde_json::to_value(v),
            IsolatorValue::SelinuxContext(v) => serde_json::to_value(v),
            IsolatorValue::AppArmorProfile(v) => serde_json::to_value(v),
            IsolatorValue::Sysctl(v) => serde_json::to_value(v),
            IsolatorValue::Unknown => Ok(Value::Null),
        };
        let value = value.map_err(|cause| fail(cause.to_string()))?;
        let isolator = Isolator {
            name: AcIdentifier::parse(name)?,
            value,
            extra: Extra::new(),
        };
        isolator.decode()?;
        Ok(isolator)
    }
}

impl Isolators {
    /// The isolator with a name.
    pub fn get(&self, name: &str) -> Option<&Isolator> {
        self.iter().find(|i| i.name == name)
    }

    /// Sets an isolator, in the place of one with the same name and of its opposite set.
    pub fn set(&mut self, isolator: Isolator) {
        let opposite = opposite(&isolator.name);
        self.0.retain(|i| Some(i.name.as_str()) != opposite);
        match self.0.iter_mut().find(|i| i.name == isolator.name) {
            Some(place) => *place = isolator,
            None => self.0.push(isolator),
        }
    }

    /// Every isolator with its meaning, in the order of the manifest.
    pub fn decode(&self) -> Result<Vec<IsolatorValue>, Error> {
        let at = At::root();
        let at = at.field("isolators");
        self.iter()
            .enumerate()
            .map(|(i, isolator)| isolator.decode_at(&at.index(i).field("value")))
            .collect()
    }
}

fn opposite(name: &str) -> Option<&'static str> {
    EXCLUSIVE.iter().find_map(|&(a, b)| match name {
        _ if name == a => Some(b),
        _ if name == b => Some(a),
        _ => None,
    })
}

impl Check for Isolators {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        for (i, isolator) in self.iter().enumerate() {
            let at = at.index(i);
            if isolator.decode_at(&at.field("value"))? == IsolatorValue::Unknown {
                continue;
            }
            // At most one of each known isolator gets past here, so that this stays short.
            for earlier in &self.0[..i] {
                if earlier.name == isolator.name {
                    return Err(at.fail(format!("{} appears more than once", isolator.name)));
                }
                if Some(earlier.name.as_str()) == opposite(&isolator.name) {
                    let message = format!("cannot be used with {}", earlier.name);
                    return Err(at.fail(format!("{} {message}", isolator.name)));
                }
            }
        }
        Ok(())
    }
}

/// Reads parameters of one type; an error names the parameter.
fn read<T: DeserializeOwned>(value: &Value, at: &At<'_>) -> Result<T, Error> {
    serde_path_to_error::deserialize(value).map_err(|cause| {
        let reason = cause.inner().to_string();
        match cause.path().iter().next() {
            Some(_) => Error::field(&format!("{at}.{}", cause.path()), &reason),
            None => at.fail(reason),
        }
    })
}

fn checked<T: DeserializeOwned + Check>(value: &Value, at: &At<'_>) -> Result<T, Error> {
    let parameters: T = read(value, at)?;
    parameters.check(at)?;
    Ok(parameters)
}

#[cfg(test)]
mod tests;

//! Isolators of Linux security modules. The native stage1 puts no label on an app, and says which of
//! the host's modules would have taken it.

use std::path::Path;

use appc::IsolatorValue;

use super::outcome::Fate;

/// What becomes of an isolator of a security module; `None` if it is none.
pub(super) fn fate(value: &IsolatorValue) -> Option<Fate> {
    let (module, sign) = match value {
        IsolatorValue::SelinuxContext(_) => ("SELinux", "/sys/fs/selinux/enforce"),
        IsolatorValue::AppArmorProfile(_) => ("AppArmor", "/sys/kernel/security/apparmor"),
        _ => return None,
    };
    Some(Fate::unsupported(match Path::new(sign).exists() {
        true => format!("the native stage1 does not set {module} labels"),
        false => format!("{module} is not active on this host"),
    }))
}

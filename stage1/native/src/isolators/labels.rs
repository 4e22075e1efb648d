//! Isolators of Linux security modules: AppArmor's are applied to apps, SELinux's are not.

use std::path::Path;

use appc::IsolatorValue;

use super::outcome::Fate;

/// The profile of an app, by its isolator (`os/linux/apparmor-profile`).
pub(super) fn take(value: &IsolatorValue, profile: &mut Option<String>) -> Option<Fate> {
    match value {
        IsolatorValue::AppArmorProfile(wish) if sandbox::label::apparmor::is_active() => {
            *profile = Some(wish.profile.clone());
            Some(Fate::Applied)
        }
        _ => fate(value),
    }
}

/// What becomes of a security module's isolator where it cannot be applied; `None` if it is none.
pub(super) fn fate(value: &IsolatorValue) -> Option<Fate> {
    Some(Fate::unsupported(match value {
        IsolatorValue::AppArmorProfile(_) if sandbox::label::apparmor::is_active() => {
            "a profile is an app's to have, not the pod's"
        }
        IsolatorValue::AppArmorProfile(_) => "AppArmor is not active on this host",
        IsolatorValue::SelinuxContext(_) if Path::new("/sys/fs/selinux/enforce").exists() => {
            "the native stage1 does not set SELinux labels"
        }
        IsolatorValue::SelinuxContext(_) => "SELinux is not active on this host",
        _ => return None,
    }))
}

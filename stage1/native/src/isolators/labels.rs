//! Isolators of Linux security modules: AppArmor's are applied to apps, SELinux's are not.

use std::path::Path;

use appc::IsolatorValue;

use super::outcome::Fate;

/// What becomes of an isolator of a security module; `None` if it is none. `profile` is where an app's
/// AppArmor profile goes (`os/linux/apparmor-profile`); a pod has no place for one.
pub(super) fn fate(value: &IsolatorValue, profile: Option<&mut Option<String>>) -> Option<Fate> {
    Some(match value {
        IsolatorValue::AppArmorProfile(wish) => match (sandbox::label::has_apparmor(), profile) {
            (true, Some(profile)) => {
                *profile = Some(wish.profile.clone());
                Fate::Applied
            }
            (true, None) => Fate::unsupported("a profile is an app's to have, not the pod's"),
            (false, _) => Fate::unsupported("AppArmor is not active on this host"),
        },
        IsolatorValue::SelinuxContext(_) => {
            Fate::unsupported(match Path::new("/sys/fs/selinux/enforce").exists() {
                true => "the native stage1 does not set SELinux labels",
                false => "SELinux is not active on this host",
            })
        }
        _ => return None,
    })
}

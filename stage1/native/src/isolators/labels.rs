//! Isolators of Linux security modules, which label an app: an AppArmor profile, a SELinux context.

use std::path::Path;

use appc::{IsolatorValue, SelinuxContext};
use stage1_abi::Labels;

use super::PodIsolation;
use super::outcome::Fate;

/// What an app is labelled with.
#[derive(Debug, Default)]
pub(super) struct Labelled {
    /// The AppArmor profile that confines it.
    pub(super) apparmor: Option<String>,
    /// The SELinux context that it runs in.
    pub(super) process: Option<String>,
    /// That of what is mounted for it.
    pub(super) file: Option<String>,
}

impl Labelled {
    /// What an app has that says nothing: the pod's.
    pub(super) fn of_pod(pod: &PodIsolation) -> Self {
        Self {
            apparmor: None,
            process: pod.context.clone(),
            file: pod.labels.as_ref().map(|labels| labels.file.clone()),
        }
    }

    /// Takes an app's isolator (`os/linux/apparmor-profile`, `os/linux/selinux-context`); `None` if it
    /// is another.
    pub(super) fn take(&mut self, value: &IsolatorValue, pod: Option<&Labels>) -> Option<Fate> {
        match value {
            IsolatorValue::AppArmorProfile(wish) if sandbox::label::apparmor::is_active() => {
                self.apparmor = Some(wish.profile.clone());
                Some(Fate::Applied)
            }
            IsolatorValue::SelinuxContext(wish) if selinux_is_active() => {
                self.take_context(wish, pod);
                Some(Fate::Applied)
            }
            _ => fate(value),
        }
    }

    /// stage0 has the app's root file system at that level, too.
    fn take_context(&mut self, wish: &SelinuxContext, pod: Option<&Labels>) {
        self.process = Some(wish.to_string());
        self.file = pod.map(|labels| labels.file_at(&wish.level));
    }
}

pub(super) fn selinux_is_active() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// What becomes of a security module's isolator where it cannot be applied; `None` if it is none.
pub(super) fn fate(value: &IsolatorValue) -> Option<Fate> {
    Some(Fate::unsupported(match value {
        IsolatorValue::AppArmorProfile(_) if sandbox::label::apparmor::is_active() => {
            "a profile is an app's to have, not the pod's"
        }
        IsolatorValue::AppArmorProfile(_) => "AppArmor is not active on this host",
        IsolatorValue::SelinuxContext(_) => "SELinux is not active on this host",
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apps_context_takes_its_files_to_its_level() {
        let pod = Labels {
            process: "u:r:p:s0:c1,c2".into(),
            file: "u:o:f:s0:c1,c2".into(),
        };
        let mut app = Labelled::default();
        let wish = SelinuxContext {
            user: "u".into(),
            role: "r".into(),
            context_type: "free".into(),
            level: "s0-s0:c0.c1023".into(),
        };
        app.take_context(&wish, Some(&pod));
        assert_eq!(app.process.as_deref(), Some("u:r:free:s0-s0:c0.c1023"));
        assert_eq!(app.file.as_deref(), Some("u:o:f:s0"));
        // Where the policy has no contexts for containers, files keep their own.
        app.take_context(&wish, None);
        assert_eq!(app.file, None);
    }
}

//! Labels of Linux security modules.

use std::io;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat};
use rustix::io::Errno;

/// Where a thread says how the program that it executes next is confined.
const AT_EXEC: &str = "/proc/thread-self/attr/apparmor/exec";
/// The same before Linux 5.8; it belongs to whichever module came first.
const AT_EXEC_BEFORE: &str = "/proc/thread-self/attr/exec";

/// Whether the kernel confines programs by AppArmor profiles.
pub fn has_apparmor() -> bool {
    let parameter = Path::new("/sys/module/apparmor/parameters/enabled");
    std::fs::read(parameter).is_ok_and(|value| value.starts_with(b"Y"))
}

/// Has the program that this thread executes next confined by an AppArmor profile. To be done before
/// the thread gives its privileges up: with no-new-privileges the kernel refuses some profiles.
///
/// # Errors
/// The profile is not loaded, or something else than the kernel's `/proc` is in its place (an image
/// may mount there what it likes, and would be confined by nothing).
pub fn confine_at_exec(profile: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let open = |path| openat(CWD, path, flags, Mode::empty());
    let file = open(AT_EXEC).or_else(|_| open(AT_EXEC_BEFORE))?;
    if fstatfs(&file)?.f_type != PROC_SUPER_MAGIC {
        return Err(io::Error::other("/proc is not the kernel's"));
    }
    match rustix::io::write(&file, format!("exec {profile}").as_bytes()) {
        Ok(_) => Ok(()),
        Err(Errno::NOENT) => Err(io::Error::other(
            "no such profile is loaded on the host (apparmor_parser loads one)",
        )),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::confine_at_exec;

    /// Whether the kernel has AppArmor or not.
    #[test]
    fn what_cannot_confine_is_an_error() {
        assert!(confine_at_exec("rkt-no-such-profile").is_err());
    }
}

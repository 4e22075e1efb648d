//! Owners, modes, times, extended attributes and ACLs of written entries.

use std::os::fd::AsRawFd;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod,
    fchown, fgetxattr, flistxattr, fsetxattr, fstat, futimens, lsetxattr, utimensat,
};
use rustix::io::Errno;

use super::Policy;
use super::acl;
use crate::tar::Entry;

/// The attributes of one entry, kept when they can only be set later.
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    uid: u32,
    gid: u32,
    mode: Mode,
    times: Timestamps,
    extended: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// What is kept of an entry's attributes; an unreadable ACL is an error text.
    pub(super) fn of(entry: &Entry) -> Result<Self, String> {
        let time = Timespec {
            tv_sec: entry.modified.seconds,
            tv_nsec: i64::from(entry.modified.nanoseconds),
        };
        let mut extended: Vec<_> = entry
            .attributes
            .iter()
            .filter(|(name, _)| welcome(name))
            .cloned()
            .collect();
        for (text, name) in [
            (&entry.acl, &b"system.posix_acl_access"[..]),
            (&entry.default_acl, b"system.posix_acl_default"),
        ] {
            if let Some(text) = text {
                extended.extend(acl::encode(text)?.map(|value| (name.to_vec(), value)));
            }
        }
        Ok(Attributes {
            uid: entry.uid,
            gid: entry.gid,
            mode: Mode::from_raw_mode(entry.mode),
            times: Timestamps {
                last_access: time,
                last_modification: time,
            },
            extended,
        })
    }

    /// Sets everything on an open file or directory; what it has `now` costs no call.
    ///
    /// The order matters: a change of owner drops set-user-ID bits and capabilities, and an ACL
    /// replaces the group's bits.
    pub(super) fn set(
        &self,
        file: impl AsFd,
        now: Option<&Stat>,
        policy: Policy,
    ) -> Result<(), Errno> {
        let mut mode = now.map(|now| Mode::from_raw_mode(now.st_mode & 0o7777));
        let owner = now.map(|now| (now.st_uid, now.st_gid));
        if policy.sets_owners() && owner != Some((self.uid, self.gid)) {
            fchown(&file, Some(uid(self.uid)), Some(gid(self.gid)))?;
            mode = None;
        }
        if mode != Some(self.mode) {
            fchmod(&file, self.mode)?;
        }
        for (name, value) in &self.extended {
            let set = fsetxattr(&file, name.as_slice(), value, XattrFlags::empty());
            tolerate(set, name, policy)?;
        }
        futimens(&file, &self.times)
    }

    /// Sets everything on a file that this process has made with this mode and written; returns what
    /// came of it. Most files are what they are to be but for their times: that is seen afterwards, in
    /// the look that a checksum wants anyhow. Had one come before the writing, the file system would
    /// have noted an exact time for that (multigrain timestamps), which is one change more to keep.
    pub(super) fn set_new(&self, file: &OwnedFd, policy: Policy) -> Result<Stat, Errno> {
        let special = Mode::SUID | Mode::SGID | Mode::SVTX;
        let owned = |owner| !policy.sets_owners() || owner == (self.uid, self.gid);
        let as_made =
            owned(policy.own) && self.extended.is_empty() && !self.mode.intersects(special);
        if as_made {
            futimens(file, &self.times)?;
        }
        let stat = fstat(file)?;
        // The process's mask, or the directory's group or ACL, may have made something else of it.
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        if as_made && owned((stat.st_uid, stat.st_gid)) && mode == self.mode {
            return Ok(stat);
        }
        self.set(file, Some(&stat), policy)?;
        fstat(file)
    }

    /// Sets everything on what cannot be opened: a symbolic link, a device, a FIFO that this
    /// process has just made in `parent`.
    pub(super) fn set_at(
        &self,
        parent: &OwnedFd,
        name: &[u8],
        link: bool,
        policy: Policy,
    ) -> Result<(), Errno> {
        if policy.sets_owners() {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            chownat(
                parent,
                name,
                Some(uid(self.uid)),
                Some(gid(self.gid)),
                flags,
            )?;
        }
        if !link {
            chmodat(parent, name, self.mode, AtFlags::empty())?;
        }
        if !self.extended.is_empty() {
            let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
            path.extend_from_slice(name);
            for (key, value) in &self.extended {
                let set = lsetxattr(path.as_slice(), key.as_slice(), value, XattrFlags::empty());
                tolerate(set, key, policy)?;
            }
        }
        utimensat(parent, name, &self.times, AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// Gives one directory the owner, mode, time and attributes of another; both are open to read.
pub(crate) fn copy(from: impl AsFd, to: impl AsFd) -> Result<(), Errno> {
    let stat = fstat(&from)?;
    let mut names = vec![0; 64 << 10];
    let length = match flistxattr(&from, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let mut extended = Vec::new();
    for name in names[..length].split(|b| *b == 0) {
        if name.is_empty() || !welcome(name) {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = fgetxattr(&from, name, &mut value[..])?;
        value.truncate(length);
        extended.push((name.to_vec(), value));
    }
    let time = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: stat.st_mtime_nsec.cast_signed(),
    };
    let attributes = Attributes {
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: Mode::from_raw_mode(stat.st_mode & 0o7777),
        times: Timestamps {
            last_access: time,
            last_modification: time,
        },
        extended,
    };
    let policy = Policy::of_this_process();
    attributes.set(&to, None, policy)
}

/// Dates a directory 1970; it may be open without leave to read.
pub(super) fn set_epoch(directory: &OwnedFd) -> Result<(), Errno> {
    let epoch = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: epoch,
        last_modification: epoch,
    };
    utimensat(directory, ".", &times, AtFlags::empty())
}

fn uid(id: u32) -> Uid {
    Uid::from_raw(id)
}

fn gid(id: u32) -> Gid {
    Gid::from_raw(id)
}

/// Attributes that an image may bring. Not `trusted.*` and `user.overlay.*`, with which a tree
/// would give orders to the overlay it is mounted in, nor labels of the builder's machine.
pub(crate) fn welcome(name: &[u8]) -> bool {
    (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
        || name == b"security.capability"
        || name.starts_with(b"system.posix_acl_")
}

/// Whether an attribute is the machine's own: labels come and go with its policy.
pub(crate) fn is_label(name: &[u8]) -> bool {
    name.starts_with(b"security.selinux")
}

/// Whether an open file has no extended attributes but the machine's. The file system may have added
/// some of its own, such as an ACL that is inherited, so it is asked: of an open file that costs a
/// tenth of what it costs by name.
pub(super) fn is_plain(file: impl AsFd) -> bool {
    let mut names = [0; 256];
    match flistxattr(&file, &mut names[..]) {
        Ok(length) => names[..length]
            .split(|b| *b == 0)
            .all(|name| name.is_empty() || is_label(name)),
        Err(errno) => errno == Errno::OPNOTSUPP,
    }
}

/// A file system without user attributes or ACLs still holds the files. A capability that cannot
/// be set makes a program fail later, so it is an error for root.
fn tolerate(set: Result<(), Errno>, name: &[u8], policy: Policy) -> Result<(), Errno> {
    match set {
        Err(Errno::OPNOTSUPP) if name != b"security.capability" => Ok(()),
        Err(Errno::PERM | Errno::OPNOTSUPP) if !policy.owners => Ok(()),
        other => other,
    }
}

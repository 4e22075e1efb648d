//! Owner, mode, times and extended attributes of an entry, with what PAX headers add.

use std::io::Read;
use std::os::fd::BorrowedFd;

use rustix::fs::{
    AtFlags, Gid, Mode, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fsetxattr,
};
use rustix::io::Errno;

use super::archive::stream_error;
use super::files::{set_times, timespec};
use crate::{Error, Result};

/// Largest extended attribute the kernel takes.
const XATTR_MAX: usize = 64 << 10;
/// Most extended attributes of one entry.
const XATTRS_MAX: usize = 256;
/// Prefix of PAX keywords that carry extended attributes.
const PAX_XATTR: &str = "SCHILY.xattr.";

/// What an entry says besides its content.
pub(super) struct Attributes {
    uid: u32,
    gid: u32,
    mode: u32,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Attributes {
    pub(super) fn of(entry: &mut tar::Entry<'_, impl Read>) -> Result<Self> {
        let header = entry.header();
        let id = |field: std::io::Result<u64>| {
            let id = field.map_err(stream_error)?;
            u32::try_from(id).map_err(|_| Error::archive(format!("user or group id {id}")))
        };
        let mut attributes = Self {
            uid: id(header.uid())?,
            gid: id(header.gid())?,
            mode: header.mode().map_err(stream_error)? & 0o7777,
            modified: (header.mtime().map_err(stream_error)? as i64, 0),
            xattrs: Vec::new(),
        };
        attributes.read_pax(entry)?;
        Ok(attributes)
    }

    fn read_pax(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<()> {
        let Some(extensions) = entry.pax_extensions().map_err(stream_error)? else {
            return Ok(());
        };
        for extension in extensions {
            let extension = extension.map_err(stream_error)?;
            let (Ok(key), value) = (extension.key(), extension.value_bytes()) else {
                continue;
            };
            let text = || std::str::from_utf8(value).ok();
            match key {
                "uid" => self.uid = text().and_then(|t| t.parse().ok()).unwrap_or(self.uid),
                "gid" => self.gid = text().and_then(|t| t.parse().ok()).unwrap_or(self.gid),
                "mtime" => self.modified = text().and_then(pax_time).unwrap_or(self.modified),
                _ => {
                    if let Some(name) = key.strip_prefix(PAX_XATTR) {
                        self.add_xattr(name, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add_xattr(&mut self, name: &str, value: &[u8]) -> Result<()> {
        if value.len() > XATTR_MAX || self.xattrs.len() >= XATTRS_MAX || name.len() > 255 {
            return Err(Error::archive(
                "an entry with too many or too large extended attributes",
            ));
        }
        // Attributes of the kernel's own, of overlay mounts above all, would change what is seen.
        let kept = name.starts_with("user.")
            || name == "security.capability"
            || name.starts_with("system.posix_acl_");
        if kept {
            self.xattrs.push((name.to_owned(), value.to_vec()));
        }
        Ok(())
    }

    pub(super) fn times(&self) -> Timestamps {
        let time = timespec(self.modified.0, self.modified.1);
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }

    /// Applies all but the times to an open file or directory.
    pub(super) fn apply(
        &self,
        fd: BorrowedFd<'_>,
        privileged: bool,
    ) -> std::result::Result<(), Errno> {
        if privileged {
            fchown(
                fd,
                Some(Uid::from_raw(self.uid)),
                Some(Gid::from_raw(self.gid)),
            )?;
        }
        // After chown, which takes set-id bits away.
        fchmod(fd, Mode::from_raw_mode(self.mode))?;
        for (name, value) in &self.xattrs {
            match fsetxattr(fd, name.as_str(), value, XattrFlags::empty()) {
                // Capabilities and ACLs need root or a file system that has them.
                Err(Errno::PERM | Errno::OPNOTSUPP) if !privileged || name.starts_with("user.") => {
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Applies owner and times to a symlink, which has no mode.
    pub(super) fn apply_to_link(
        &self,
        parent: BorrowedFd<'_>,
        name: &str,
        privileged: bool,
    ) -> std::result::Result<(), Errno> {
        if privileged {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            chownat(
                parent,
                name,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        set_times(parent, name, &self.times())
    }

    /// Applies owner, mode and times to a device or FIFO just made, which is never opened.
    pub(super) fn apply_to_node(
        &self,
        parent: BorrowedFd<'_>,
        name: &str,
        privileged: bool,
    ) -> std::result::Result<(), Errno> {
        if privileged {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            chownat(
                parent,
                name,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        chmodat(
            parent,
            name,
            Mode::from_raw_mode(self.mode),
            AtFlags::empty(),
        )?;
        set_times(parent, name, &self.times())
    }
}

/// `SECONDS[.FRACTION]`, as PAX writes times.
fn pax_time(text: &str) -> Option<(i64, i64)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain(std::iter::repeat('0'))
        .take(9)
        .collect();
    let nanoseconds: i64 = digits.parse().ok()?;
    Some(match text.starts_with('-') && nanoseconds > 0 {
        true => (seconds - 1, 1_000_000_000 - nanoseconds),
        false => (seconds, nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_times() {
        assert_eq!(pax_time("12.5"), Some((12, 500_000_000)));
        assert_eq!(pax_time("12"), Some((12, 0)));
        assert_eq!(pax_time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(pax_time("x"), None);
    }
}

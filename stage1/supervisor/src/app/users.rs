//! Users and groups as the app's own files name them. The files are the image's: hostile.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, openat};

/// The user and the group with the number 0.
const ROOT: &str = "root";

/// Largest passwd or group file that is read.
const FILE_MAX: u64 = 4 << 20;

/// The process's own `/etc/passwd` and `/etc/group`; missing or odd files are empty ones.
#[derive(Debug)]
pub struct Users {
    passwd: String,
    group: String,
}

/// What is known of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Name, if the passwd file has one.
    pub name: Option<String>,
    /// Number.
    pub uid: u32,
    /// Home directory, if the passwd file has one.
    pub home: Option<String>,
    /// Login shell, if the passwd file has one.
    pub shell: Option<String>,
}

impl Users {
    /// Reads the files below the process's root.
    pub fn read() -> Self {
        Self {
            passwd: read("/etc/passwd"),
            group: read("/etc/group"),
        }
    }

    /// A user by number, by name, or by the owner of a file (a path from the root).
    ///
    /// # Errors
    /// Which user there is not.
    pub fn user(&self, text: &str) -> Result<User, String> {
        let uid = match text.parse::<u32>() {
            Ok(uid) => Some(uid),
            // Whatever files the image has (CHANGELOG, v1.5.0).
            Err(_) if text == ROOT => Some(0),
            Err(_) if text.starts_with('/') => Some(owner(text)?.0),
            Err(_) => None,
        };
        let found = entries(&self.passwd, 7).find(|fields| match uid {
            Some(uid) => fields[2].parse() == Ok(uid),
            None => fields[0] == text,
        });
        let known = |field: &str| Some(field.to_owned()).filter(|f| !f.is_empty());
        match (found, uid) {
            (Some(fields), _) => Ok(User {
                name: known(fields[0]),
                uid: fields[2]
                    .parse()
                    .map_err(|_| format!("user {text:?} has no number in /etc/passwd"))?,
                home: known(fields[5]),
                shell: known(fields[6]),
            }),
            (None, Some(uid)) => Ok(User {
                uid,
                ..User::default()
            }),
            (None, None) => Err(format!("no user {text:?} in /etc/passwd")),
        }
    }

    /// A group by number, by name, or by the group of a file (a path from the root).
    ///
    /// # Errors
    /// Which group there is not.
    pub fn group(&self, text: &str) -> Result<u32, String> {
        if let Ok(gid) = text.parse() {
            return Ok(gid);
        }
        if text == ROOT {
            return Ok(0);
        }
        if text.starts_with('/') {
            return Ok(owner(text)?.1);
        }
        let mut found = entries(&self.group, 4).filter(|fields| fields[0] == text);
        let fields = found
            .next()
            .ok_or_else(|| format!("no group {text:?} in /etc/group"))?;
        fields[2]
            .parse()
            .map_err(|_| format!("group {text:?} has no number in /etc/group"))
    }
}

/// Lines with that many fields at least.
fn entries(text: &str, fields: usize) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .filter(move |f| f.len() >= fields)
}

fn owner(path: &str) -> Result<(u32, u32), String> {
    let meta =
        std::fs::metadata(path).map_err(|e| format!("cannot read the owner of {path:?}: {e}"))?;
    Ok((meta.uid(), meta.gid()))
}

/// A regular file's text; a FIFO or a device of that name must not hold the pod up.
fn read(path: &str) -> String {
    let open = || {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = openat(CWD, Path::new(path), flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&fd).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return None;
        }
        let mut bytes = Vec::new();
        std::fs::File::from(fd)
            .take(FILE_MAX)
            .read_to_end(&mut bytes)
            .ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    open().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        Users {
            passwd: "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:44::/srv:\nbad:x:y:1::/:/\n"
                .into(),
            group: "root:x:0:\nweb:x:44:a,b\n".into(),
        }
    }

    #[test]
    fn users_by_name_number_and_owner() {
        let web = users().user("web").unwrap();
        assert_eq!(
            (web.uid, web.home.as_deref(), web.shell),
            (33, Some("/srv"), None)
        );
        assert_eq!(users().user("33").unwrap().name.as_deref(), Some("web"));
        assert_eq!(
            users().user("99").unwrap(),
            User {
                uid: 99,
                ..User::default()
            }
        );
        assert_eq!(
            users().user("/proc/self/stat").unwrap().uid,
            rustix::process::getuid().as_raw()
        );
        assert_eq!(
            users().user("nobody").unwrap_err(),
            "no user \"nobody\" in /etc/passwd"
        );
        assert!(users().user("bad").is_err());
        let nobody_at_all = Users {
            passwd: String::new(),
            group: String::new(),
        };
        assert_eq!(nobody_at_all.user("root").unwrap().uid, 0);
        assert_eq!(nobody_at_all.group("root"), Ok(0));
    }

    #[test]
    fn groups_by_name_and_number() {
        assert_eq!(users().group("web"), Ok(44));
        assert_eq!(users().group("7"), Ok(7));
        assert!(users().group("wheel").is_err());
    }
}

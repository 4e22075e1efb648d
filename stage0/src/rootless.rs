//! Commands of ordinary users on a data directory of their own: they run in a user namespace, as
//! its root, with the ids that `/etc/subuid` and `/etc/subgid` give to the user, or the user's own
//! alone. Files that the pods' other users own belong to those ids on the host.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use pod::{HostIds, Pod};
use rustix::process::{Pid, getegid, geteuid};
use sandbox::ids;

use crate::commands::Entry;
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::private_users::{SUBGID, SUBUID, given_to};

/// What gives a user namespace the ids of these files; Debian's `uidmap` has them.
const PROGRAMS: [(&str, &str); 2] = [("newuidmap", SUBUID), ("newgidmap", SUBGID)];
/// Where they are looked for: set-id programs are not taken from a user's own PATH.
const PLACES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"];

/// Gets an ordinary user the privileges that a command needs, as far as there are any to get.
pub(crate) fn enter(context: &Context, entry: &Entry) -> Result<(), Failure> {
    if geteuid().is_root() {
        return match entry.needs_root {
            true => refuse_others(&context.data_dir),
            false => Ok(()),
        };
    }
    if !is_own(&context.data_dir) {
        return match entry.needs_root {
            false => Ok(()),
            true => Err(Failure::new(
                "cannot run as unprivileged user: pods of one's own need a data directory of one's own, see --dir",
            )),
        };
    }
    // It goes where its pod is.
    if entry.joins {
        return Ok(());
    }
    match new_namespace() {
        // Images can be fetched without.
        Err(_) if !entry.needs_root => Ok(()),
        other => other,
    }
}

/// Enters the user namespace of a running pod of an ordinary user's.
pub(crate) fn join(context: &Context, pod: &Pod) -> Result<(), Failure> {
    if geteuid().is_root() || !is_own(&context.data_dir) {
        return Ok(());
    }
    let pid = crate::commands::pid_of(pod)?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::new("the pod's pid is none"))?;
    ids::enter_that_of(pid).doing_with(|| format!("cannot join pod {:?}", pod.uuid()))
}

/// Root runs nothing that somebody else may have put into a pod's directory.
pub(crate) fn refuse_others(directory: &Path) -> Result<(), Failure> {
    match directory.metadata() {
        Ok(meta) if meta.uid() != 0 && geteuid().is_root() => Err(Failure::new(format!(
            "the data directory {} belongs to user {}: root does not run what is in it; run the command as that user, or give another directory with --dir",
            directory.display(),
            meta.uid()
        ))),
        _ => Ok(()),
    }
}

/// Whether the directory is this user's, or will be.
fn is_own(directory: &Path) -> bool {
    match directory.metadata() {
        Ok(meta) => meta.uid() == geteuid().as_raw(),
        Err(_) => directory
            .ancestors()
            .skip(1)
            .find(|a| a.exists())
            .is_some_and(|above| rustix::fs::access(above, rustix::fs::Access::WRITE_OK).is_ok()),
    }
}

fn new_namespace() -> Result<(), Failure> {
    let maps = Maps::read();
    if let Err(reason) = &maps {
        crate::output::note(&format!(
            "pods have the user's own id only, as root's: {reason}"
        ));
    }
    let give = |pid: Pid| match &maps {
        Ok(maps) => maps.give(pid),
        Err(_) => ids::map_own(pid)
            .map_err(|error| crate::output::note(&error.to_string()))
            .is_ok(),
    };
    ids::enter_new(give).doing("cannot make a user namespace for an ordinary user's pods")
}

/// The arguments of both programs but for the process.
struct Maps([(String, Vec<String>); 2]);

impl Maps {
    /// What the files give to this user; else why there is nothing.
    fn read() -> Result<Self, String> {
        let user = geteuid().as_raw();
        let (uid, name) = (user.to_string(), name_of(user));
        let map = |(program, file): (&str, &str), own: u32| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let mut ranges = given_to(&text, &uid);
            ranges.extend(name.iter().flat_map(|name| given_to(&text, name)));
            if ranges.is_empty() {
                return Err(format!("{file} gives none to the user"));
            }
            let places = PLACES.iter().map(|place| format!("{place}/{program}"));
            let found = places.into_iter().find(|place| Path::new(place).exists());
            let found = found.ok_or(format!("there is no {program}"))?;
            Ok((found, arguments(own, &ranges)))
        };
        Ok(Self([
            map(PROGRAMS[0], user)?,
            map(PROGRAMS[1], getegid().as_raw())?,
        ]))
    }

    /// Gives the process its ids; whether that worked.
    fn give(&self, pid: Pid) -> bool {
        self.0.iter().all(|(program, arguments)| {
            let mut command = Command::new(program);
            command
                .arg(pid.as_raw_nonzero().to_string())
                .args(arguments);
            let status = command.stdin(std::process::Stdio::null()).status();
            let failed = match status {
                Ok(status) if status.success() => return true,
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            crate::output::note(&format!("{program}: {failed}"));
            false
        })
    }
}

/// Root is the user, the ids from 1 on are those of the ranges.
fn arguments(own: u32, ranges: &[HostIds]) -> Vec<String> {
    let mut all = vec![0, own, 1];
    let mut next = 1u32;
    for range in ranges {
        let count = (range.end - range.start).min(u32::MAX - next);
        if count > 0 {
            all.extend([next, range.start, count]);
            next += count;
        }
    }
    all.iter().map(u32::to_string).collect()
}

/// The user's name in `/etc/passwd`; who is known elsewhere only goes by the number.
fn name_of(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let uid = uid.to_string();
    let line = text
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_each_other() {
        let arguments = arguments(1000, &[5000..5010, 7..7, 9000..9001]);
        assert_eq!(
            arguments,
            ["0", "1000", "1", "1", "5000", "10", "11", "9000", "1"]
        );
    }
}

//! The end of a cgroup: its processes are killed, its directories removed.

use std::path::Path;

use rustix::process::Pid;

use super::MOUNT;
use crate::error::{Context, Error};

/// Kills all processes of a cgroup and waits until they are gone. One that is gone already is no
/// error.
///
/// # Errors
/// Processes that do not end within a second.
pub fn end(directory: &Path) -> Result<(), Error> {
    kill_all(directory);
    let procs = directory.join("cgroup.procs");
    for _ in 0..100 {
        let Ok(text) = std::fs::read_to_string(&procs) else {
            return Ok(());
        };
        let pids: Vec<Pid> = text
            .lines()
            .filter_map(|line| line.parse().ok().and_then(Pid::from_raw))
            .collect();
        if pids.is_empty() {
            return Ok(());
        }
        for pid in pids {
            // One that ends meanwhile is what is wanted.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(rustix::io::Errno::BUSY).context("end the processes of", directory.display())
}

/// On version 2, kills all processes of a cgroup and of those below it at once, however quickly they
/// make others. Version 1, and Linux before 5.14, have no such file.
fn kill_all(directory: &Path) {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    // Who asks goes on to see what is left.
    let _ = openat(CWD, directory.join("cgroup.kill"), flags, Mode::empty())
        .and_then(|fd| rustix::io::write(fd, b"1"));
}

/// Removes a cgroup and those below it, children first; `directory` is one that
/// [`super::Location::directories`] gave. One that is gone already is no error.
///
/// # Errors
/// As rmdir(2), `EBUSY` while a process is left; `EINVAL` for a directory outside the hierarchies.
pub fn remove(directory: &Path) -> Result<(), Error> {
    use std::path::Component;
    let inside = directory.strip_prefix(MOUNT).is_ok_and(|relative| {
        let mut components = relative.components();
        relative.components().count() > 0 && components.all(|c| matches!(c, Component::Normal(_)))
    });
    if !inside {
        return Err(rustix::io::Errno::INVAL).context("remove cgroup", directory.display());
    }
    remove_tree(directory)
}

fn remove_tree(dir: &Path) -> Result<(), Error> {
    use rustix::io::Errno;
    match rustix::fs::rmdir(dir) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        Err(errno) => return Err(errno).context("remove cgroup", dir.display()),
    }
    for entry in std::fs::read_dir(dir).context("read cgroup", dir.display())? {
        let entry = entry.context("read cgroup", dir.display())?;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match rustix::fs::rmdir(dir) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).context("remove cgroup", dir.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::is_v2;
    use std::path::PathBuf;

    /// On a host with version 1 the tree of version 2 is beside it, without controllers.
    fn unified() -> PathBuf {
        match is_v2().unwrap() {
            true => PathBuf::from(MOUNT),
            false => Path::new(MOUNT).join("unified"),
        }
    }

    #[test]
    fn one_word_kills_what_is_in_a_cgroup_and_below_it() {
        let top = unified().join(format!("rkt-test-{}", std::process::id()));
        let below = top.join("below");
        std::fs::create_dir_all(&below).unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        std::fs::write(below.join("cgroup.procs"), child.id().to_string()).unwrap();
        kill_all(&top);
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        end(&below).unwrap();
        remove(&top).unwrap();
        // One that is gone is no error.
        kill_all(&top);
        end(&top).unwrap();
    }
}

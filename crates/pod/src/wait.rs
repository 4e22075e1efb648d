//! Waiting for a pod to end or to be ready, without polling.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{FlockOperation, flock, readlinkat};
use rustix::io::Errno;
use stage1_abi::path;

use crate::error::Error;
use crate::pod::Pod;
use crate::pods::Pods;
use crate::state::State;

/// Waiting longer than this is waiting for ever.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

impl Pods {
    /// Waits until the pod is over, through all the states it still has before it, and returns it
    /// in its new state.
    ///
    /// # Errors
    /// `limit` ran out, or the pod was removed meanwhile.
    pub fn wait_finished(&self, pod: Pod, limit: Option<Duration>) -> Result<Pod, Error> {
        let deadline = Instant::now() + limit.unwrap_or(FOREVER);
        let mut pod = pod;
        while !pod.state().is_finished() {
            match pod.state() {
                State::Prepared | State::Embryo => wait_moved(&pod, deadline)?,
                _ => wait_unlocked(&pod, deadline)?,
            }
            pod = self.find(pod.uuid())?;
        }
        Ok(pod)
    }

    /// Waits until the pod's supervisor reports that it is ready.
    ///
    /// # Errors
    /// `limit` ran out, or the pod ended before.
    pub fn wait_ready(&self, pod: Pod, limit: Option<Duration>) -> Result<Pod, Error> {
        let deadline = Instant::now() + limit.unwrap_or(FOREVER);
        let mut pod = pod;
        loop {
            match pod.state() {
                State::Running => {
                    if pod.is_ready()? {
                        return Ok(pod);
                    }
                    wait_status_change(&pod, deadline)?;
                }
                State::Prepared | State::Embryo => wait_moved(&pod, deadline)?,
                State::Preparing => wait_unlocked(&pod, deadline)?,
                _ => return Err(Error::EndedEarly(pod.uuid)),
            }
            pod = self.find(pod.uuid())?;
        }
    }
}

impl Pod {
    /// Whether `rkt/supervisor-status` points to `ready`.
    ///
    /// # Errors
    /// The kernel refuses to look.
    pub fn is_ready(&self) -> Result<bool, Error> {
        let link = self.stage1_written()?.join(path::SUPERVISOR_STATUS);
        match readlinkat(self.dir.fd(), &link, Vec::new()) {
            Ok(target) => Ok(target.to_bytes() == path::SUPERVISOR_READY.as_bytes()),
            Err(Errno::NOENT | Errno::INVAL | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(Error::io("read link", self.dir.path().join(link), error)),
        }
    }
}

/// Runs a blocking call in a thread and waits for it until the deadline. A thread that is still
/// blocked then is left to end with the process: a lock that it gets later does no harm.
fn blocking(
    pod: &Pod,
    deadline: Instant,
    calls: Vec<Box<dyn FnOnce() -> Result<(), Errno> + Send>>,
) -> Result<(), Error> {
    let (done, wait) = mpsc::channel();
    for call in calls {
        let done = done.clone();
        std::thread::Builder::new()
            .spawn(move || {
                // The receiver is gone when the time ran out.
                let _ = done.send(call());
            })
            .map_err(|e| Error::io("wait for pod", pod.dir().path(), e))?;
    }
    let left = deadline.saturating_duration_since(Instant::now());
    match wait.recv_timeout(left) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Error::io("wait for pod", pod.dir().path(), error)),
        Err(_) => Err(Error::TimedOut(pod.uuid().to_owned())),
    }
}

fn duplicate(pod: &Pod) -> Result<OwnedFd, Error> {
    // A description of its own: a lock taken by a thread must not be this pod's lock.
    crate::pods::open_dir(pod.dir().fd(), Path::new("."))
        .map_err(|e| Error::io("open pod", pod.dir().path(), e))
}

fn until_unlocked(fd: OwnedFd) -> Box<dyn FnOnce() -> Result<(), Errno> + Send> {
    Box::new(move || {
        loop {
            match flock(&fd, FlockOperation::LockShared) {
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    })
}

fn wait_unlocked(pod: &Pod, deadline: Instant) -> Result<(), Error> {
    blocking(pod, deadline, vec![until_unlocked(duplicate(pod)?)])
}

fn watch(pod: &Pod, what: &Path, events: WatchFlags) -> Result<OwnedFd, Error> {
    let failed = |e: Errno| Error::io("watch", pod.dir().path().join(what), e);
    let watcher = inotify::init(CreateFlags::CLOEXEC).map_err(failed)?;
    inotify::add_watch(&watcher, pod.dir().path().join(what), events).map_err(failed)?;
    Ok(watcher)
}

fn until_event(watcher: OwnedFd) -> Box<dyn FnOnce() -> Result<(), Errno> + Send> {
    Box::new(move || {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 512];
        loop {
            match inotify::Reader::new(watcher.as_fd(), &mut buffer).next() {
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {}
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    })
}

/// Waits until a pod leaves the phase it is in.
fn wait_moved(pod: &Pod, deadline: Instant) -> Result<(), Error> {
    let events = WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
    let watcher = match watch(pod, Path::new(""), events) {
        Err(error) if error.is_gone() => return Ok(()),
        other => other?,
    };
    // It may have moved between being looked at and being watched.
    if pod.dir().path().symlink_metadata().is_err() {
        return Ok(());
    }
    blocking(pod, deadline, vec![until_event(watcher)])
}

/// Waits until something changes beside `rkt/supervisor-status`, or the pod ends.
fn wait_status_change(pod: &Pod, deadline: Instant) -> Result<(), Error> {
    let status = pod.stage1_written()?.join(path::SUPERVISOR_STATUS);
    let events = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVE_SELF;
    // A directory that is not there yet appears in the nearest one that is.
    let mut dirs = status.ancestors().skip(1);
    let mut missing = None;
    let watcher = loop {
        let Some(dir) = dirs.next() else {
            return Ok(());
        };
        match watch(pod, dir, events) {
            Err(error) if error.is_gone() => missing = Some(dir),
            other => break other?,
        }
    };
    // What was missing may have come before the watch did: no event tells of it any more.
    let came = missing.is_some_and(|dir| pod.dir().path().join(dir).symlink_metadata().is_ok());
    if came || pod.is_ready()? {
        return Ok(());
    }
    let end = until_unlocked(duplicate(pod)?);
    blocking(pod, deadline, vec![end, until_event(watcher)])
}

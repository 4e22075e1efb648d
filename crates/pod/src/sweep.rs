//! Garbage collection: mark by renaming, sweep after a grace period.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use stage1_abi::{Labels, path};

use crate::error::Error;
use crate::pod::{LockedPod, Pod};
use crate::pods::Pods;
use crate::remove::remove_tree;
use crate::state::{Phase, State};

/// Pods that are removed at once.
const WORKERS: usize = 16;

/// What a pod was marked as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkedAs {
    /// It ran and exited.
    Exited,
    /// Its preparation was aborted.
    Aborted,
    /// It was prepared and never run.
    Expired,
}

impl Pods {
    /// The first pass: moves exited pods to exited-garbage, aborted and expired ones to garbage.
    /// `report` hears of each pod moved.
    ///
    /// # Errors
    /// A directory cannot be read. Pods that move meanwhile are somebody else's.
    pub fn mark(
        &self,
        expire_prepared: Duration,
        mut report: impl FnMut(&Pod, MarkedAs),
    ) -> Result<(), Error> {
        for phase in [Phase::Prepare, Phase::Prepared, Phase::Run] {
            for name in self.names(phase)? {
                let Some(pod) = self.open_in(phase, &name)? else {
                    continue;
                };
                let (to, marked) = match pod.state() {
                    State::AbortedPrepare => (Phase::Garbage, MarkedAs::Aborted),
                    State::Exited => (Phase::ExitedGarbage, MarkedAs::Exited),
                    State::Prepared if older(&pod, expire_prepared)? => {
                        (Phase::Garbage, MarkedAs::Expired)
                    }
                    _ => continue,
                };
                if let Some(pod) = self.move_marked(pod, to)? {
                    report(&pod, marked);
                }
            }
        }
        Ok(())
    }

    /// Moves a pod to a garbage phase under its lock. `None` when somebody else was quicker.
    fn move_marked(&self, pod: Pod, to: Phase) -> Result<Option<Pod>, Error> {
        let mut locked = match pod.lock(self) {
            Ok(locked) => locked,
            Err(Error::Locked(_)) => return Ok(None),
            Err(error) if error.is_gone() => return Ok(None),
            Err(error) => return Err(error),
        };
        match locked.pod.rename(self, to, false) {
            Ok(()) => Ok(Some(locked.pod)),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The second pass: removes marked pods whose grace period is over, and embryos that lost their
    /// maker. Each is locked; `collect` gets it before it is removed (to run stage1's gc). The
    /// errors of single pods go to `failed`, and the next pod follows.
    ///
    /// Several pods are removed at once: a removal mostly waits, for the disk (on a file system
    /// that discards, each freed block is a request of its own) and for stage1's gc.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn sweep(
        &self,
        grace: Duration,
        collect: impl Fn(&LockedPod) + Sync,
        failed: impl Fn(&str, Error) + Sync,
    ) -> Result<(), Error> {
        let mut candidates = Vec::new();
        for phase in [Phase::ExitedGarbage, Phase::Garbage, Phase::Embryo] {
            let names = self.names(phase)?;
            candidates.extend(names.into_iter().map(|name| (phase, name)));
        }
        let sweep_one = |(phase, name): &(Phase, String)| {
            if let Err(error) = self.sweep_pod(*phase, name, grace, &collect) {
                failed(name, error);
            }
        };
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(one) = candidates.get(next.fetch_add(1, Ordering::Relaxed)) {
                sweep_one(one);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..candidates.len().min(WORKERS) {
                // Without another thread the others do its work.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        Ok(())
    }

    /// Removes one pod if it is due and nobody else has it.
    fn sweep_pod(
        &self,
        phase: Phase,
        name: &str,
        grace: Duration,
        collect: impl Fn(&LockedPod),
    ) -> Result<(), Error> {
        let Some(pod) = self.open_in(phase, name)? else {
            return Ok(());
        };
        if phase != Phase::Garbage && !older(&pod, grace)? {
            return Ok(());
        }
        match pod.lock(self) {
            Ok(locked) => {
                collect(&locked);
                self.remove(locked)
            }
            Err(Error::Locked(_)) => Ok(()),
            Err(error) if error.is_gone() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes a pod's directory for good. Stage1's gc entrypoint must have run before.
    ///
    /// # Errors
    /// The kernel refuses to remove something.
    pub fn remove(&self, locked: LockedPod) -> Result<(), Error> {
        let relative = Self::relative(locked.pod.phase, &locked.pod.uuid);
        // Not to be read is no reason to keep the pod: its links count for nothing without it.
        let ids = locked.pod.dir().read_text(path::PRIVATE_USERS_PREPARED);
        let labels = locked.pod.dir().read_text(path::SELINUX_PREPARED);
        remove_tree(self.root()?, &relative)?;
        if let Some(users) = ids.ok().flatten().and_then(|text| text.parse().ok()) {
            self.give_back_ids(&locked.pod.uuid, users)?;
        }
        let labels = labels.ok().flatten();
        match labels.and_then(|text| text.parse::<Labels>().ok()) {
            Some(labels) => self.give_back_level(&locked.pod.uuid, &labels.process),
            None => Ok(()),
        }
    }

    /// Takes a pod that is not running out of circulation, for `rkt rm`: the lock is taken and the
    /// pod moved to its garbage phase, so that nothing starts or enters it any more.
    ///
    /// # Errors
    /// The pod is running, being prepared or being deleted.
    pub fn retire(&self, pod: Pod) -> Result<LockedPod, Error> {
        let to = match pod.state() {
            State::AbortedPrepare | State::Prepared => Phase::Garbage,
            State::Exited => Phase::ExitedGarbage,
            State::ExitedGarbage | State::Garbage => pod.phase(),
            state => {
                return Err(Error::WrongState {
                    uuid: pod.uuid,
                    state,
                });
            }
        };
        let mut locked = self.lock_patiently(pod)?;
        if locked.pod.phase() != to {
            locked.pod.rename(self, to, true)?;
        }
        Ok(locked)
    }
}

impl Pods {
    /// Takes the lock of a pod that nobody holds for long: `list` and `status` hold it for
    /// microseconds while they look.
    fn lock_patiently(&self, pod: Pod) -> Result<LockedPod, Error> {
        let uuid = pod.uuid().to_owned();
        let mut attempt = pod.lock(self);
        for _ in 0..20 {
            match attempt {
                Err(Error::Locked(_)) => {}
                done => return done,
            }
            std::thread::sleep(Duration::from_millis(2));
            attempt = self.find(&uuid)?.lock(self);
        }
        attempt
    }
}

/// Whether the directory's last change is at least `age` ago. A clock set back counts as no age.
fn older(pod: &Pod, age: Duration) -> Result<bool, Error> {
    let age_now = SystemTime::now()
        .duration_since(pod.marked_at()?)
        .unwrap_or(Duration::ZERO);
    Ok(age_now >= age)
}

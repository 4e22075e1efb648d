//! Where a pod is in its life.

use std::fmt;

/// The directory below `pods/` that holds the pod ("Life-cycle of a pod", table of phases).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The directory exists, the lock is not taken yet.
    Embryo,
    /// Images and manifests are being put in place.
    Prepare,
    /// Ready for `run-prepared`.
    Prepared,
    /// Started.
    Run,
    /// Exited and marked by a garbage collection.
    ExitedGarbage,
    /// Never started, and marked by a garbage collection.
    Garbage,
}

impl Phase {
    /// In the order a pod passes them: looking for a pod in this order cannot miss one that moves.
    pub const ALL: [Self; 6] = [
        Self::Embryo,
        Self::Prepare,
        Self::Prepared,
        Self::Run,
        Self::ExitedGarbage,
        Self::Garbage,
    ];

    /// Where the UUIDs that a person may name are looked up.
    pub const NAMED: [Self; 4] = [
        Self::Prepare,
        Self::Prepared,
        Self::Run,
        Self::ExitedGarbage,
    ];

    /// Name of the directory.
    pub fn dir(self) -> &'static str {
        match self {
            Self::Embryo => "embryo",
            Self::Prepare => "prepare",
            Self::Prepared => "prepared",
            Self::Run => "run",
            Self::ExitedGarbage => "exited-garbage",
            Self::Garbage => "garbage",
        }
    }

    /// Whether a lock on the pod's directory says anything in this phase.
    pub(crate) fn has_lock_meaning(self) -> bool {
        !matches!(self, Self::Embryo | Self::Prepared)
    }
}

/// A pod's state: its phase, and whether a process holds its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Just made.
    Embryo,
    /// Being prepared by a living process.
    Preparing,
    /// The preparing process failed or was killed.
    AbortedPrepare,
    /// Waiting for `run-prepared`.
    Prepared,
    /// Its main process lives.
    Running,
    /// Never started; being deleted.
    Deleting,
    /// Exited; being deleted.
    ExitedDeleting,
    /// Exited, not marked yet.
    Exited,
    /// Exited and marked; status can still be asked for.
    ExitedGarbage,
    /// Never started and marked.
    Garbage,
}

impl State {
    /// The state that a phase and a lock make.
    pub fn of(phase: Phase, locked: bool) -> Self {
        match (phase, locked) {
            (Phase::Embryo, _) => Self::Embryo,
            (Phase::Prepare, true) => Self::Preparing,
            (Phase::Prepare, false) => Self::AbortedPrepare,
            (Phase::Prepared, _) => Self::Prepared,
            (Phase::Run, true) => Self::Running,
            (Phase::Run, false) => Self::Exited,
            (Phase::ExitedGarbage, true) => Self::ExitedDeleting,
            (Phase::ExitedGarbage, false) => Self::ExitedGarbage,
            (Phase::Garbage, true) => Self::Deleting,
            (Phase::Garbage, false) => Self::Garbage,
        }
    }

    /// The name that `list` and `status` print.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embryo => "embryo",
            Self::Preparing => "preparing",
            Self::AbortedPrepare => "aborted prepare",
            Self::Prepared => "prepared",
            Self::Running => "running",
            Self::Deleting => "deleting",
            Self::ExitedDeleting => "exited deleting",
            Self::Exited => "exited",
            Self::ExitedGarbage => "exited garbage",
            Self::Garbage => "garbage",
        }
    }

    /// The pod ran and is over.
    pub fn is_exited(self) -> bool {
        matches!(
            self,
            Self::Exited | Self::ExitedGarbage | Self::ExitedDeleting
        )
    }

    /// Nothing will happen to the pod any more, except its removal.
    pub fn is_finished(self) -> bool {
        self.is_exited() || matches!(self, Self::AbortedPrepare | Self::Garbage | Self::Deleting)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_documented_ones() {
        let names: Vec<_> = Phase::ALL
            .into_iter()
            .flat_map(|p| [State::of(p, true), State::of(p, false)])
            .map(State::as_str)
            .collect();
        assert_eq!(
            names,
            [
                "embryo",
                "embryo",
                "preparing",
                "aborted prepare",
                "prepared",
                "prepared",
                "running",
                "exited",
                "exited deleting",
                "exited garbage",
                "deleting",
                "garbage"
            ]
        );
    }
}

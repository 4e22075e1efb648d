//! What can go wrong with a pod directory.

use std::path::PathBuf;

use crate::state::State;

/// An operation on a pod failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a file or directory failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// What was given does not look like a UUID or the beginning of one.
    #[error("invalid UUID: {0:?}")]
    InvalidUuid(String),
    /// No pod has this UUID or prefix.
    #[error("no matches found for {0:?}")]
    NotFound(String),
    /// More than one pod begins with the prefix.
    #[error("ambiguous UUID {prefix:?}: {} pods match ({})", matches.len(), matches.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The UUIDs, at most a handful.
        matches: Vec<String>,
    },
    /// A manifest in the pod directory cannot be understood.
    #[error("invalid {file} of pod {uuid}")]
    Manifest {
        /// The pod.
        uuid: String,
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: appc::Error,
    },
    /// Another file in the pod directory is not what it should be.
    #[error("invalid {file} of pod {uuid}: {reason}")]
    Malformed {
        /// The pod.
        uuid: String,
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The pod is in a state that does not allow the operation.
    #[error("pod {uuid:?} is {state}")]
    WrongState {
        /// The pod.
        uuid: String,
        /// Its state when it was looked at.
        state: State,
    },
    /// Another process holds the pod.
    #[error("pod {0:?} is locked by another process")]
    Locked(String),
    /// Pods have all the ids there are for their user namespaces.
    #[error(
        "all {count} ranges of 65536 ids are in use: remove pods, or give \"rkt\" more in /etc/subuid and /etc/subgid"
    )]
    NoIds {
        /// How many ranges there are.
        count: usize,
    },
    /// Pods have all the levels there are.
    #[error("all pairs of SELinux categories are in use: remove pods")]
    NoLevels,
    /// A limit on time ran out.
    #[error("timed out waiting for pod {0:?}")]
    TimedOut(String),
    /// The pod ended before it was ready.
    #[error("pod {0:?} ended before it became ready")]
    EndedEarly(String),
}

impl Error {
    /// Wraps a failed system call.
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<std::io::Error>,
    ) -> Self {
        Self::Io {
            operation,
            path: path.into(),
            source: source.into(),
        }
    }

    /// True when the file or directory was not there: usual when commands run side by side.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

//! Why an entrypoint failed.

use std::ffi::OsString;
use std::path::PathBuf;

/// A failure of an entrypoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no entrypoint {0:?}")]
    Entrypoint(OsString),
    #[error(transparent)]
    Args(#[from] stage1_abi::ArgsError),
    #[error("cannot read {path}: {source}", path = .path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {path}: {source}", path = .path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {source}", path = .path.display())]
    Manifest { path: PathBuf, source: appc::Error },
    #[error("{0} is not the descriptor of the pod's lock")]
    Lock(&'static str),
    #[error("app {app:?}: {reason}")]
    App { app: String, reason: String },
    #[error("{0}")]
    Unsupported(String),
    #[error(transparent)]
    Kernel(#[from] sandbox::Error),
    #[error("cannot set up the pod's networks: {0}")]
    Network(String),
    #[error("pod {0} is not running")]
    NotRunning(String),
    #[error("{0}")]
    Enter(String),
    #[error("{0} is not the pid of a pod")]
    EnterPid(&'static str),
    #[error("cannot attach to app {app:?}: {reason}")]
    Attach { app: String, reason: String },
}

impl Error {
    /// An error in what the pod manifest wants of an app.
    pub(crate) fn app(app: &str, reason: impl Into<String>) -> Self {
        Self::App {
            app: app.to_owned(),
            reason: reason.into(),
        }
    }
}

//! What can go wrong with a pod's networks.

use std::io;
use std::path::PathBuf;

/// An error of this crate. The message names the operation, the object and the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The `--net` option cannot be understood.
    #[error("--net={option}: {problem}")]
    Selection {
        /// The option's value, cut to a readable length.
        option: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No configuration has the name that was asked for.
    #[error("network {name:?} not found: no configuration in {directory:?} has that name")]
    NotFound {
        /// The network.
        name: String,
        /// Where configurations are looked for.
        directory: PathBuf,
    },
    /// A configuration file is not acceptable.
    #[error("network configuration {file:?}: {problem}")]
    File {
        /// The file, or the name of a built-in one.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A field of a configuration is not acceptable.
    #[error("network configuration {file:?}: field {field:?}: {problem}")]
    Field {
        /// The file, or the name of a built-in one.
        file: PathBuf,
        /// The field with the way to it, `ipam.ranges[0][1].subnet`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("cannot {operation} {path:?}: {source}")]
    Io {
        /// What was tried: "read", "write", "lock"…
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel refused a change of the network.
    #[error("cannot {operation}: {source}")]
    Kernel {
        /// What was tried, with the object.
        operation: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel's answer could not be understood.
    #[error("cannot {operation}: the kernel's answer is not understood: {problem}")]
    Answer {
        /// What was tried.
        operation: String,
        /// What was wrong.
        problem: &'static str,
    },
    /// No address is left, or the wanted one cannot be had.
    #[error("network {network:?}: {problem}")]
    Address {
        /// The network.
        network: String,
        /// What is wrong.
        problem: String,
    },
    /// An interface in a pod has no address.
    #[error("the pod's interface {interface} has no address")]
    NoAddress {
        /// The interface.
        interface: String,
    },
    /// A port of the host cannot be forwarded.
    #[error("cannot forward host port {port}: {problem}")]
    Port {
        /// `tcp 8080`, with the address when there is one.
        port: String,
        /// What is wrong.
        problem: String,
    },
    /// A plugin, built in or not, failed.
    #[error("network {network:?}: plugin {plugin:?}: {problem}")]
    Plugin {
        /// The network.
        network: String,
        /// The plugin's type.
        plugin: String,
        /// What it said.
        problem: String,
        /// The CNI error code; 0 where there was none.
        code: u32,
    },
}

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The error for an outside plugin that is nowhere.
    pub(crate) fn missing_plugin(network: &str, kind: &str, paths: &crate::Paths) -> Self {
        Self::Plugin {
            network: network.to_owned(),
            plugin: kind.to_owned(),
            problem: format!(
                "no such plugin, neither built in nor in {:?}",
                paths.plugins
            ),
            code: 0,
        }
    }

    /// An I/O error with its operation and path; for `map_err`.
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }

    /// As [`Error::io`], for rustix's errors.
    pub(crate) fn os(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.into();
        move |errno| Self::Io {
            operation,
            path,
            source: errno.into(),
        }
    }

    /// The kernel's error number, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<rustix::io::Errno> {
        match self {
            Self::Io { source, .. } | Self::Kernel { source, .. } => {
                rustix::io::Errno::from_io_error(source)
            }
            _ => None,
        }
    }
}

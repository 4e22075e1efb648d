//! Why a pod could not be measured.

use std::path::PathBuf;

use crate::log::Fault;

/// A failed measurement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The module did not take or answer a command.
    #[error("cannot {0}: the TPM does not answer")]
    Silent(&'static str, #[source] std::io::Error),
    /// The module refused a command.
    #[error("cannot {0}: the TPM answers with code {1:#x}")]
    Refused(&'static str, u32),
    /// The module's answer is none.
    #[error("cannot {0}: the TPM's answer is malformed")]
    Malformed(&'static str),
    /// The PCR is in no bank that can be extended.
    #[error("PCR 15 is in no active bank of the TPM")]
    NoBank,
    /// A bank that would stay behind the others.
    #[error(
        "PCR 15 is in a bank of algorithm {0:#06x}, which rkt cannot compute: deactivate it in the machine's firmware"
    )]
    Bank(u16),
    /// `tpmd` cannot be reached.
    #[error(
        "cannot reach tpmd at {address}: start it, or configure measurements otherwise (tpm.d)"
    )]
    Unreachable {
        /// Where it should listen.
        address: String,
        /// The cause.
        source: Box<ureq::Error>,
    },
    /// `tpmd` refused.
    #[error("tpmd at {address} answers {status}: {text}")]
    Tpmd {
        /// Where it listens.
        address: String,
        /// The status of the answer.
        status: u16,
        /// What it says.
        text: String,
    },
    /// The log is damaged.
    #[error("the log of measurements {} is damaged", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// Where and why.
        source: Fault,
    },
}

impl Error {
    /// Whether it is certain that the PCR was not extended.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(..) | Self::Tpmd { .. } => true,
            Self::Unreachable { source, .. } => match &**source {
                ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => true,
                ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
                _ => false,
            },
            _ => false,
        }
    }

    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }
}

//! The pod's network, between the stages' arguments and the `net` crate.

use std::os::fd::OwnedFd;
use std::path::Path;

use appc::PodManifest;
use sandbox::{Context, netns};
use stage1_abi::RunArgs;

use crate::error::Error;

/// The network that a pod will have.
#[derive(Debug)]
pub(crate) enum Network {
    /// That of who runs rkt.
    Host,
    /// A namespace of its own.
    Own,
}

impl Network {
    /// Reads and checks what `--net` wants, before anything is touched.
    pub(crate) fn plan(args: &RunArgs) -> Result<Self, Error> {
        match args.net.as_str() {
            "host" => Ok(Self::Host),
            _ => Ok(Self::Own),
        }
    }

    /// Makes the pod's network namespace; `None` for the host's.
    pub(crate) fn namespace(&self) -> Result<Option<OwnedFd>, Error> {
        match self {
            Self::Host => Ok(None),
            Self::Own => Ok(Some(
                netns::create().context("make", "a network namespace")?,
            )),
        }
    }

    /// Sets the networks up in the namespace.
    pub(crate) fn set_up(
        &self,
        _args: &RunArgs,
        _pod: &PodManifest,
        _namespace: Option<&OwnedFd>,
    ) -> Result<(), Error> {
        Ok(())
    }
}

/// Takes the pod's networks down; the errors on the way.
pub(crate) fn tear_down(_uuid: &str, _local_config: Option<&Path>) -> Vec<String> {
    Vec::new()
}

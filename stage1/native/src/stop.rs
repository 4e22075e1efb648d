//! The stop entrypoint: asks the supervisor to end the pod, or ends it.

use std::ffi::OsString;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use sandbox::{Context, signals};
use stage1_abi::{StopArgs, path};

use crate::error::Error;

/// Stops the running pod in the working directory.
pub(crate) fn stop(args: impl IntoIterator<Item = OsString>) -> Result<u8, Error> {
    let args = StopArgs::parse(args)?;
    let signal = if args.force {
        Signal::KILL
    } else {
        Signal::TERM
    };
    let pid = supervisor_pid(&args.uuid)?;
    match pidfd_open(pid, PidfdFlags::empty()) {
        // It ended in the meantime, which is what was wanted.
        Err(Errno::SRCH) => Ok(0),
        Err(errno) => Err(errno)
            .context("open process", pid.as_raw_nonzero())
            .map_err(Error::from),
        Ok(pidfd) => {
            signals::send(pidfd, signal).context("signal process", pid.as_raw_nonzero())?;
            Ok(0)
        }
    }
}

fn supervisor_pid(uuid: &str) -> Result<Pid, Error> {
    let text =
        std::fs::read_to_string(path::PID).map_err(|_| Error::NotRunning(uuid.to_owned()))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| Error::NotRunning(uuid.to_owned()))
}

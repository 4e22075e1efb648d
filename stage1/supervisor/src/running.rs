//! One app of a running pod, from its clone to its recorded status.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use sandbox::clone::{Cloned, Namespaces, clone};
use sandbox::{Context, Error};

use crate::app::{Channel, Streams, run_handler, start};
use crate::output::{Sink, Source};
use crate::plan::AppPlan;
use crate::status::StatusDirectory;

/// One app, from its clone to its recorded status.
pub(crate) struct App {
    pub(crate) plan: AppPlan,
    pub(crate) pid: Pid,
    pub(crate) state: State,
    /// Open until the app's program runs.
    pub(crate) channel: Option<Channel>,
    pub(crate) sources: [Option<Source>; 2],
    /// Kept for the post-stop handler.
    pub(crate) mounts: Option<OwnedFd>,
    pub(crate) failed_to_start: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// The app ended; its post-stop handler runs as this process.
    Stopping(Pid),
    Exited,
}

impl App {
    /// Clones the app's process. Its program waits for [`Self::release`].
    pub(crate) fn start(plan: AppPlan, interactive: bool, debug: bool) -> Result<Self, Error> {
        let (ours, theirs) = Channel::pair().context("make a channel for app", &plan.name)?;
        let (streams, pipes) = match interactive {
            true if rustix::termios::isatty(rustix::stdio::stdin()) => (Streams::Terminal, None),
            true => (Streams::Inherited, None),
            false => {
                let (out, stdout) = pipe().context("make a pipe for app", &plan.name)?;
                let (err, stderr) = pipe().context("make a pipe for app", &plan.name)?;
                (Streams::Piped { stdout, stderr }, Some((out, err)))
            }
        };
        let child = start(&plan, &streams, &theirs, debug).context("start app", &plan.name)?;
        let source = |fd| Source::new(fd, &plan.name, child.pid.as_raw_nonzero().get());
        let sources = match pipes {
            Some((out, err)) => [Some(source(out)), Some(source(err))],
            None => [None, None],
        };
        Ok(Self {
            pid: child.pid,
            state: State::Running,
            channel: Some(ours),
            sources,
            mounts: None,
            failed_to_start: false,
            plan,
        })
    }

    /// Lets the app's program take over, in the app's cgroup.
    pub(crate) fn release(&self, status: &StatusDirectory) -> Result<(), Error> {
        if let Some(cgroup) = &self.plan.cgroup {
            match cgroup.join(self.pid) {
                // It died while it was set up; reaping it tells why.
                Err(error) if error.errno == Errno::SRCH => {}
                other => other?,
            }
        }
        status.started(&self.plan.name, self.pid.as_raw_nonzero().get())?;
        if let Some(channel) = &self.channel {
            // An app that is gone already has said why on the channel.
            let _ = channel.go();
        }
        Ok(())
    }

    pub(crate) fn pump(&mut self, stream: usize, sink: &mut Sink) {
        if self.sources[stream]
            .as_mut()
            .is_some_and(|source| !source.pump(sink))
        {
            self.sources[stream] = None;
        }
    }

    /// Starts the post-stop handler in the mounts that the app left.
    pub(crate) fn start_post_stop(&mut self) -> Option<Pid> {
        let mounts = self.mounts.take()?;
        let handler = self.plan.post_stop.clone()?;
        // SAFETY: the supervisor has one thread.
        match unsafe { clone(Namespaces::empty(), None) } {
            Ok(Cloned::Parent(child)) => Some(child.pid),
            Ok(Cloned::Child) => {
                let entered = sandbox::clone::enter(mounts.as_fd(), Namespaces::MOUNT).is_ok();
                let done = entered && run_handler("post-stop", &handler, &self.plan).is_ok();
                sandbox::exec::exit_now(u8::from(!done))
            }
            Err(_) => None,
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

//! One app of a running pod, from its clone to its recorded status.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use sandbox::clone::{Cloned, Namespaces, clone};
use sandbox::{Context, Error};

use crate::app::{Channel, Stdio, Streams, run_handler, start};
use crate::attach::{Attachable, Ends};
use crate::control::Asker;
use crate::log::{KubernetesLog, Log, Sockets};
use crate::notify::Readiness;
use crate::output::{Output, Sink, Source};
use crate::plan::{AppPlan, StreamMode};
use crate::status::StatusDirectory;

/// One app, from its clone to its recorded status.
pub(crate) struct App {
    pub(crate) plan: AppPlan,
    pub(crate) pid: Pid,
    pub(crate) state: State,
    /// Open until the app's program runs.
    pub(crate) channel: Option<Channel>,
    /// What it writes to the log: standard output and error.
    pub(crate) sources: [Option<Source>; 2],
    /// Its ways to the pod's log.
    pub(crate) sockets: Sockets,
    /// Where it says that it is ready, if it does.
    pub(crate) readiness: Option<Readiness>,
    /// What clients attach to.
    pub(crate) attachable: Attachable,
    /// Kept for the post-stop handler, as are the app's ends of its streams.
    pub(crate) mounts: Option<OwnedFd>,
    streams: Option<Streams>,
    /// Why its program could not be executed.
    pub(crate) failure: Option<String>,
    /// Who waits for its program to run.
    pub(crate) starter: Option<Asker>,
    /// Who waits for its end.
    pub(crate) stoppers: Vec<Asker>,
    /// When it is killed, after it was asked to end.
    pub(crate) deadline: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// The app ended; its post-stop handler runs as this process.
    Stopping(Pid),
    Exited,
}

/// An app whose process could not be made. It can be tried again.
pub(crate) struct NotStarted {
    pub(crate) plan: AppPlan,
    pub(crate) error: Error,
}

/// An app's process, and what leads to it.
struct Begun {
    pid: Pid,
    channel: Channel,
    sockets: Sockets,
    readiness: Option<Readiness>,
    /// The app's ends of its streams.
    streams: Streams,
    sources: [Option<Source>; 2],
    attachable: Attachable,
}

impl App {
    /// Clones the app's process. Its program waits for [`Self::release`].
    pub(crate) fn start(
        mut plan: AppPlan,
        debug: bool,
        log: &mut Log,
    ) -> Result<Self, Box<NotStarted>> {
        let begun = match Begun::of(&plan, debug, log) {
            Ok(begun) => begun,
            Err(error) => return Err(Box::new(NotStarted { plan, error })),
        };
        // They are the app's, and go with it.
        plan.devices = None;
        Ok(Self {
            pid: begun.pid,
            state: State::Running,
            channel: Some(begun.channel),
            sources: begun.sources,
            sockets: begun.sockets,
            readiness: begun.readiness,
            attachable: begun.attachable,
            mounts: None,
            streams: plan.post_stop.is_some().then_some(begun.streams),
            failure: None,
            starter: None,
            stoppers: Vec::new(),
            deadline: None,
            plan,
        })
    }

    /// Takes the master of the terminal that the app opened, to be attached to.
    pub(crate) fn open_terminal(&mut self, master: OwnedFd) -> Result<(), Error> {
        let ends = Ends {
            terminal: Some(master),
            ..Ends::default()
        };
        self.attachable.open(&self.plan.name, ends)
    }

    /// Whether nothing is to be waited for before the pod is ready.
    pub(crate) fn is_ready(&self) -> bool {
        let waited_for = |readiness: &Readiness| !readiness.reached && self.state == State::Running;
        self.channel.is_none() && !self.readiness.as_ref().is_some_and(waited_for)
    }

    /// Lets the app's program take over.
    pub(crate) fn release(&self, status: &StatusDirectory) -> Result<(), Error> {
        status.started(&self.plan.name, self.pid.as_raw_nonzero().get())?;
        if let Some(channel) = &self.channel {
            // An app that is gone already has said why on the channel.
            let _ = channel.go();
        }
        Ok(())
    }

    /// Ends an app whose program was not released.
    pub(crate) fn give_up(self, error: Error) -> Box<NotStarted> {
        // One that is gone already is what is wanted.
        let _ = kill_process(self.pid, Signal::KILL);
        Box::new(NotStarted {
            plan: self.plan,
            error,
        })
    }

    pub(crate) fn pump(&mut self, stream: usize, sink: &mut Sink, log: &mut Log) {
        if self.sources[stream]
            .as_mut()
            .is_some_and(|source| !source.pump(sink, log))
        {
            self.sources[stream] = None;
        }
    }

    /// Starts the post-stop handler in the mounts that the app left.
    pub(crate) fn start_post_stop(&mut self, log: &mut Log) -> Option<Pid> {
        let streams = self.streams.take();
        let mounts = self.mounts.take()?;
        let handler = self.plan.post_stop.clone()?;
        log.end_thread();
        // SAFETY: the supervisor has one thread but for its log's, which has ended.
        match unsafe { clone(Namespaces::empty(), None) } {
            Ok(Cloned::Parent(child)) => Some(child.pid),
            Ok(Cloned::Child) => {
                let entered = sandbox::clone::enter(mounts.as_fd(), Namespaces::MOUNT).is_ok();
                let led = streams.is_none_or(|s| s.lead_to_log(self.plan.streams).is_ok());
                let done = entered && led && run_handler("post-stop", &handler, &self.plan).is_ok();
                sandbox::exec::exit_now(u8::from(!done))
            }
            Err(_) => None,
        }
    }
}

impl Begun {
    /// All that may fail comes before the clone.
    fn of(plan: &AppPlan, debug: bool, log: &mut Log) -> Result<Self, Error> {
        let (ours, theirs) =
            Channel::pair(plan.sockets.len()).context("make a channel for app", &plan.name)?;
        let sockets = Sockets::open(&plan.name)?;
        let readiness = match plan.notify {
            true => Some(Readiness::open(&plan.name)?),
            false => None,
        };
        let modes = plan.streams;
        let files = match &plan.log_file {
            Some(file) if modes.has(StreamMode::Log) || modes.has(StreamMode::Stream) => {
                KubernetesLog::open(file)?.map(Some)
            }
            _ => [None, None],
        };
        let (streams, mut ends) =
            streams(plan, files).context("make a pipe for app", &plan.name)?;
        let logged = [
            (modes.stdout, &mut ends.stdout),
            (modes.stderr, &mut ends.stderr),
        ];
        let [stdout, stderr] = logged.map(|(mode, end)| end.take_if(|_| mode == StreamMode::Log));
        let mut attachable = Attachable::default();
        if modes.has(StreamMode::Stream) {
            attachable.open(&plan.name, ends)?;
        }
        let child = start(plan, &streams, &theirs, debug, log).context("start app", &plan.name)?;
        let pid = child.pid.as_raw_nonzero().get();
        let source = |output: Option<Output>, stream| {
            output.map(|output| Source::new(output, &plan.name, stream, pid))
        };
        Ok(Self {
            pid: child.pid,
            channel: ours,
            sockets,
            readiness,
            streams,
            sources: [source(stdout, "stdout"), source(stderr, "stderr")],
            attachable,
        })
    }
}

/// What the app gets as standard streams, and the supervisor's ends of them.
fn streams(plan: &AppPlan, files: [Option<KubernetesLog>; 2]) -> Result<(Streams, Ends), Errno> {
    let modes = plan.streams;
    let mut ends = Ends::default();
    if modes.has(StreamMode::Interactive) {
        let stdio = match rustix::termios::isatty(rustix::stdio::stdin()) {
            true => || Stdio::Terminal,
            false => || Stdio::Inherited,
        };
        return Ok((Streams([stdio(), stdio(), stdio()]), ends));
    }
    let stdin = match modes.stdin {
        StreamMode::Stream => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&write, true)?;
            ends.stdin = Some(write);
            Stdio::Pipe(read)
        }
        StreamMode::Terminal => Stdio::Terminal,
        _ => Stdio::Null,
    };
    let output = |mode, file, end: &mut Option<Output>| match mode {
        StreamMode::Log | StreamMode::Stream => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&read, true)?;
            *end = Some(Output { pipe: read, file });
            Ok::<_, Errno>(Stdio::Pipe(write))
        }
        StreamMode::Terminal => Ok(Stdio::Terminal),
        _ => Ok(Stdio::Null),
    };
    let [out, err] = files;
    let stdout = output(modes.stdout, out, &mut ends.stdout)?;
    let stderr = output(modes.stderr, err, &mut ends.stderr)?;
    Ok((Streams([stdin, stdout, stderr]), ends))
}

//! The enter entrypoint: a command inside a running app, with the app's own identity, environment,
//! limits and filters.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use appc::App;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use sandbox::Context;
use sandbox::clone::{Child, Cloned, Namespaces, clone};
use sandbox::signals::{self, SignalFd};
use stage1_abi::{EnterArgs, InsecureOptions, path};
use supervisor::terminal::{Inner, Mode, Relay, Relayed};
use supervisor::{AppPlan, Identity, KILLED_BY_SIGNAL, StreamModes, Users, environment, launch};

use crate::error::Error;
use crate::{FAILURE, isolators, manifest, plan, runtime_config};

/// Runs the command in the app and passes its exit status on.
pub(crate) fn enter(args: impl IntoIterator<Item = OsString>) -> Result<u8, Error> {
    let args = EnterArgs::parse(args)?;
    let plan = plan(&args)?;
    let pid = app_process(args.pid, &plan.name)?;
    let pidfd =
        pidfd_open(pid, PidfdFlags::empty()).context("open process", pid.as_raw_nonzero())?;
    // An ordinary user's pod without a cgroup of its own is where its caller was.
    let limited = sandbox::ids::is_hosts() || !crate::gc::cgroups().is_empty();
    if !args.privileged && limited {
        sandbox::cgroup::join_those_of(pid)?;
    }
    let mut namespaces = Namespaces::all();
    let user_namespace = in_user_namespace(pid)?;
    // A process cannot enter the user namespace that it is in.
    namespaces.set(Namespaces::USER, user_namespace);
    sandbox::clone::enter(pidfd.as_fd(), namespaces).context("enter app", &plan.name)?;
    if user_namespace {
        // The host's ids mean nobody here.
        sandbox::ids::become_root().context("become", "the pod's root")?;
    }
    let signals = SignalFd::block_all().context("block", "signals")?;
    let mode = Mode::raw();
    let terminal = match mode {
        Some(_) => Some(Inner::open().context("open", "a terminal in the app")?),
        None => None,
    };
    let (master, slave) = terminal.map_or((None, None), |t| (Some(t.master), Some(t.slave)));
    // SAFETY: this process has one thread.
    match unsafe { clone(Namespaces::empty(), None) }.context("start", "the command")? {
        Cloned::Child => {
            let Err(reason) = become_command(&plan, slave);
            let line = format!("rkt: {reason}\n");
            // Without standard error there is nobody to tell.
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
            sandbox::exec::exit_now(FAILURE)
        }
        Cloned::Parent(child) => {
            drop(slave);
            attend(&child, &signals, master.map(Relay::new))
        }
    }
}

/// Whether a process is in another user namespace than this one.
fn in_user_namespace(pid: Pid) -> Result<bool, Error> {
    let identity = |fd: OwnedFd| {
        let stat = rustix::fs::fstat(&fd).context("inspect", "a user namespace")?;
        Ok::<_, sandbox::Error>((stat.st_dev, stat.st_ino))
    };
    let own = identity(sandbox::ids::of(rustix::process::getpid())?)?;
    Ok(identity(sandbox::ids::of(pid)?)? != own)
}

/// What the command may do: what the app may.
fn plan(args: &EnterArgs) -> Result<AppPlan, Error> {
    let pod = manifest::pod()?;
    let runtime = pod
        .app(&args.app)
        .ok_or_else(|| Error::Enter(format!("there is no app {:?} in the pod", args.app)))?;
    let mut app: App = manifest::app_of(runtime)?;
    let (mut run_args, mut labels) = runtime_config::read("")?;
    let mut insecure = run_args.insecure;
    if args.privileged {
        insecure = ALL_INSECURE;
        app = as_root(app);
        labels = None;
    }
    run_args.insecure = insecure;
    let means = isolators::Means {
        cgroups: true,
        own_network: true,
    };
    let isolation = isolators::of_pod(&pod, &run_args, means, labels.as_ref())?;
    let isolation = isolators::of_app(&args.app, &app, &isolation)?;
    let text = |arg: &OsString| arg.clone().into_string();
    let command: Result<Vec<String>, _> = args.command.iter().map(text).collect();
    let exec = command.map_err(|arg| Error::Enter(format!("argument {arg:?} is not UTF-8")))?;
    let mut variables = plan::environment(&app);
    plan::name_terminal(&mut variables);
    Ok(AppPlan {
        name: args.app.clone(),
        exec,
        environment: variables,
        working_directory: PathBuf::from(app.working_directory()),
        user: app.user,
        group: app.group,
        supplementary_gids: app.supplementary_gids,
        pre_start: None,
        post_stop: None,
        streams: StreamModes::INTERACTIVE,
        log_file: None,
        notify: false,
        sockets: Vec::new(),
        operations: Vec::new(),
        security: isolation.security,
        file_context: None,
        user_namespace: false,
        devices: None,
        cgroup: None,
    })
}

/// No restriction at all.
const ALL_INSECURE: InsecureOptions = InsecureOptions {
    disable_capabilities: true,
    disable_paths: true,
    disable_seccomp: true,
};

/// The app as the original entered it: as root, with nothing of its own but its files.
fn as_root(mut app: App) -> App {
    app.user = "0".into();
    app.group = "0".into();
    app.supplementary_gids.clear();
    app.isolators = Default::default();
    app.environment = Default::default();
    app.working_directory = None;
    app
}

/// The host's pid of the app's main process: the child of the supervisor that has, inside the
/// pod, the pid that the supervisor wrote down.
fn app_process(supervisor: u32, app: &str) -> Result<Pid, Error> {
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })
    };
    let not_running = || Error::Enter(format!("app {app:?} is not running"));
    let note = PathBuf::from(format!(
        "/proc/{supervisor}/root/{}/{app}.pid",
        path::STATUS
    ));
    let inside: i32 = read(note)
        .map_err(|_| not_running())?
        .trim()
        .parse()
        .map_err(|_| not_running())?;
    let children = read(format!("/proc/{supervisor}/task/{supervisor}/children").into())?;
    children
        .split_whitespace()
        .filter_map(|child| child.parse::<i32>().ok())
        .find(|child| {
            let status =
                std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            ids.and_then(|ids| ids.split_whitespace().last()) == Some(inside.to_string().as_str())
        })
        .and_then(Pid::from_raw)
        .ok_or_else(not_running)
}

fn become_command(
    plan: &AppPlan,
    slave: Option<OwnedFd>,
) -> Result<std::convert::Infallible, String> {
    let say = |e: Errno| format!("cannot set up the command: {}", std::io::Error::from(e));
    if let Some(slave) = slave {
        rustix::process::setsid().map_err(say)?;
        rustix::process::ioctl_tiocsctty(&slave).map_err(say)?;
        rustix::stdio::dup2_stdin(&slave).map_err(say)?;
        rustix::stdio::dup2_stdout(&slave).map_err(say)?;
        rustix::stdio::dup2_stderr(&slave).map_err(say)?;
    }
    let users = Users::read();
    let user = users.user(&plan.user)?;
    let identity = Identity {
        uid: user.uid,
        gid: users.group(&plan.group)?,
        groups: plan.supplementary_gids.clone(),
    };
    let environment = environment(plan, &user);
    launch(
        &plan.exec,
        &plan.working_directory,
        environment,
        &identity,
        &plan.security,
        &[],
    )
}

/// Relays terminal and signals until the command ends.
fn attend(child: &Child, signals: &SignalFd, mut relay: Option<Relay>) -> Result<u8, Error> {
    loop {
        let mut fds = vec![
            PollFd::new(&child.pidfd, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        if let Some(relay) = &relay {
            fds.extend(relay.poll_fds());
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(errno)
                    .context("wait for", "the command")
                    .map_err(Error::from);
            }
        }
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        forward(child, signals, relay.as_ref())?;
        if let (Some(open), [_, _, a, b, c]) = (&mut relay, ready.as_slice()) {
            match open.pump([*a, *b, *c]) {
                Relayed::Open => {}
                Relayed::HungUp => relay = None,
                Relayed::Escaped => {
                    signals::send(&child.pidfd, rustix::process::Signal::KILL)
                        .context("end", "the command")?;
                }
            }
        }
        if !ready[0].is_empty() {
            if let Some(relay) = relay {
                relay.finish();
            }
            return status(child);
        }
    }
}

/// With a terminal of its own the command gets the keys' signals from there.
fn forward(child: &Child, signals: &SignalFd, relay: Option<&Relay>) -> Result<(), Error> {
    while let Some(received) = signals.read().context("read", "signals")? {
        match rustix::process::Signal::from_named_raw(received.signal) {
            Some(rustix::process::Signal::WINCH) => {
                if let Some(relay) = relay {
                    relay.resize();
                }
            }
            Some(rustix::process::Signal::CHILD) => {}
            _ if received.from_kernel => {}
            _ => {
                signals::forward(&child.pidfd, received.signal).context("signal", "the command")?
            }
        }
    }
    Ok(())
}

fn status(child: &Child) -> Result<u8, Error> {
    let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
        .context("wait for", "the command")?;
    Ok(status.map_or(FAILURE, |s| {
        match (s.exit_status(), s.terminating_signal()) {
            (Some(code), _) => code as u8,
            (_, Some(signal)) => KILLED_BY_SIGNAL.wrapping_add(signal as u8),
            _ => FAILURE,
        }
    }))
}

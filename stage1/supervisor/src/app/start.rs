//! The steps of an app's process, from the clone to exec.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::Pid;
use sandbox::clone::{Child, Cloned, Namespaces, clone, unshare};
use sandbox::exec::{StringVec, close_on_exec_from, exec};
use sandbox::label::{apparmor, selinux};
use sandbox::root::Root;
use sandbox::{Context, signals};

use super::channel::Channel;
use super::devices::Nodes;
use super::diagnose;
use super::filesystem::{Roots, open_root};
use super::identity::{Identity, become_user, set_oom_score};
use super::users::{User, Users};
use crate::log::Log;
use crate::plan::{AppPlan, PassedSocket, Security, StreamMode, StreamModes};
use crate::status::FAILED_TO_START;
use crate::terminal::Inner;

/// What an app gets as standard input, output and error.
#[derive(Debug)]
pub(crate) struct Streams(pub(crate) [Stdio; 3]);

impl Streams {
    /// Makes them the calling process's, a handler's that runs when the app has ended: what went to
    /// the log goes there, and what clients would have read goes nowhere.
    pub(crate) fn lead_to_log(&self, modes: StreamModes) -> Result<(), Errno> {
        let [_, stdout, stderr] = &self.0;
        let end = |stdio: &Stdio, mode| match stdio {
            Stdio::Inherited | Stdio::Terminal => Ok(None),
            Stdio::Pipe(pipe) if mode == StreamMode::Log => dup(pipe.as_fd()).map(Some),
            Stdio::Pipe(_) | Stdio::Null => null().map(Some),
        };
        let (stdout, stderr) = (end(stdout, modes.stdout)?, end(stderr, modes.stderr)?);
        stdout.map_or(Ok(()), rustix::stdio::dup2_stdout)?;
        stderr.map_or(Ok(()), rustix::stdio::dup2_stderr)
    }
}

/// What an app gets as one of its standard streams.
#[derive(Debug)]
pub(crate) enum Stdio {
    /// `/dev/null`.
    Null,
    /// Its end of a pipe.
    Pipe(OwnedFd),
    /// A terminal of its own, whose master goes to the supervisor.
    Terminal,
    /// The supervisor's own stream.
    Inherited,
}

/// Starts an app's process: it makes its file system at once, and waits for the channel's go
/// before its program takes over.
pub(crate) fn start(
    plan: &AppPlan,
    streams: &Streams,
    channel: &Channel,
    debug: bool,
    log: &mut Log,
) -> Result<Child, Errno> {
    log.end_thread();
    // SAFETY: the supervisor has one thread but for its log's, which has ended.
    match unsafe { clone(Namespaces::MOUNT, plan.born_in()) }? {
        Cloned::Parent(child) => Ok(child),
        Cloned::Child => {
            let Err(reason) = become_app(plan, streams, channel, debug);
            channel.failed(&reason);
            sandbox::exec::exit_now(FAILED_TO_START)
        }
    }
}

fn become_app(
    plan: &AppPlan,
    streams: &Streams,
    channel: &Channel,
    debug: bool,
) -> Result<Infallible, String> {
    let say = |error: sandbox::Error| error.to_string();
    rustix::process::setsid()
        .context("start", "a session")
        .map_err(say)?;
    if let Some(cgroup) = plan.cgroup.as_ref().filter(|_| plan.born_in().is_none()) {
        cgroup.join().map_err(say)?;
    }
    make_root(plan, debug).map_err(say)?;
    let streams =
        open_streams(streams, channel).map_err(|e| format!("cannot open streams: {}", io(e)))?;
    if plan.post_stop.is_some() {
        hand_over_mounts(channel).map_err(|e| format!("cannot keep mounts: {}", io(e)))?;
    }
    if !channel.wait() {
        return Err("the pod ended before the app was started".into());
    }
    unshare(Namespaces::CGROUP)
        .context("make", "a cgroup namespace")
        .map_err(say)?;
    use_streams(streams)
        .context("set", "standard streams")
        .map_err(say)?;
    set_oom_score(plan.security.oom_score_adj).map_err(say)?;
    if let Some(handler) = &plan.pre_start {
        run_handler("pre-start", handler, plan)?;
    }
    let users = Users::read();
    let user = users.user(&plan.user)?;
    let identity = Identity {
        uid: user.uid,
        gid: users.group(&plan.group)?,
        groups: plan.supplementary_gids.clone(),
    };
    let mut environment = environment(plan, &user);
    announce(&plan.sockets, &mut environment);
    let sockets: Vec<_> = plan.sockets.iter().map(|s| s.fd.as_fd()).collect();
    launch(
        &plan.exec,
        &plan.working_directory,
        environment,
        &identity,
        &plan.security,
        &sockets,
    )
}

/// Tells the app of its sockets, as sd_listen_fds(3) looks for them.
fn announce(sockets: &[PassedSocket], environment: &mut Vec<(String, String)>) {
    if sockets.is_empty() {
        return;
    }
    let names: Vec<_> = sockets.iter().map(|s| s.name.as_str()).collect();
    environment.extend([
        ("LISTEN_FDS".into(), sockets.len().to_string()),
        ("LISTEN_FDNAMES".into(), names.join(":")),
        ("LISTEN_PID".into(), std::process::id().to_string()),
    ]);
}

fn io(errno: Errno) -> std::io::Error {
    errno.into()
}

fn make_root(plan: &AppPlan, debug: bool) -> Result<(), sandbox::Error> {
    let path = Path::new("/").join(stage1_abi::path::app_rootfs(&plan.name));
    // Opened anew: a descriptor from before the clone is on a mount of the supervisor's namespace.
    let stage1 = Root::open(Path::new("/"))?;
    let roots = Roots {
        stage1,
        app: open_root(&path, plan.user_namespace)?,
        user_namespace: plan.user_namespace,
        context: plan.file_context.as_deref(),
        nodes: match &plan.devices {
            _ if !plan.user_namespace => Nodes::Made,
            Some(dev) => Nodes::Given(dev.as_fd()),
            None => Nodes::Bound,
        },
    };
    for operation in &plan.operations {
        if debug {
            // A trace nobody reads must not stop the app.
            let line = format!("rkt: app {:?}: {operation:?}\n", plan.name);
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
        }
        roots.perform(operation)?;
    }
    sandbox::mounts::pivot(&roots.app)
}

/// Standard input, output and error, opened inside the app's file system; `None` stays as it is.
struct OpenStreams {
    fds: [Option<OwnedFd>; 3],
    terminal: Option<OwnedFd>,
}

fn open_streams(streams: &Streams, channel: &Channel) -> Result<OpenStreams, Errno> {
    let wants_terminal = streams.0.iter().any(|s| matches!(s, Stdio::Terminal));
    let terminal = wants_terminal.then(|| open_terminal(channel)).transpose()?;
    let open = |stdio: &Stdio| match (stdio, &terminal) {
        (Stdio::Inherited, _) => Ok(None),
        (Stdio::Pipe(pipe), _) => dup(pipe.as_fd()).map(Some),
        (Stdio::Terminal, Some(slave)) => dup(slave.as_fd()).map(Some),
        (Stdio::Null | Stdio::Terminal, _) => null().map(Some),
    };
    let [stdin, stdout, stderr] = &streams.0;
    Ok(OpenStreams {
        fds: [open(stdin)?, open(stdout)?, open(stderr)?],
        terminal,
    })
}

/// The app's own `/dev/null`.
fn null() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(CWD, "/dev/null", flags, Mode::empty())
}

fn dup(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

/// A new terminal of the app's own `/dev/pts`; its master goes to the supervisor.
fn open_terminal(channel: &Channel) -> Result<OwnedFd, Errno> {
    let Inner {
        master,
        slave,
        path,
    } = Inner::open()?;
    let path = Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()));
    if let Ok(console) = openat(
        CWD,
        "/dev/console",
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        sandbox::mounts::copy(CWD, path, false)
            .and_then(|m| sandbox::mounts::attach(m, console))?;
    }
    channel.terminal(master.as_fd())?;
    Ok(slave)
}

fn hand_over_mounts(channel: &Channel) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mounts = openat(CWD, "/proc/self/ns/mnt", flags, Mode::empty())?;
    channel.mounts(mounts.as_fd())
}

fn use_streams(streams: OpenStreams) -> Result<(), Errno> {
    let [stdin, stdout, stderr] = streams.fds;
    stdin.map_or(Ok(()), rustix::stdio::dup2_stdin)?;
    stdout.map_or(Ok(()), rustix::stdio::dup2_stdout)?;
    stderr.map_or(Ok(()), rustix::stdio::dup2_stderr)?;
    match streams.terminal {
        Some(slave) => rustix::process::ioctl_tiocsctty(slave),
        None => Ok(()),
    }
}

/// Runs an event handler to its end, as root, in the app's file system and environment.
pub(crate) fn run_handler(event: &str, exec: &[String], plan: &AppPlan) -> Result<(), String> {
    // SAFETY: called in processes with one thread.
    let child = match unsafe { clone(Namespaces::empty(), None) } {
        Ok(Cloned::Parent(child)) => child,
        Ok(Cloned::Child) => {
            let root = Identity {
                uid: 0,
                gid: 0,
                groups: Vec::new(),
            };
            let user = Users::read().user("0").unwrap_or_default();
            let Err(reason) = launch(
                exec,
                &plan.working_directory,
                environment(plan, &user),
                &root,
                &plan.security,
                &[],
            );
            let line = format!("rkt: app {:?}: {event} handler: {reason}\n", plan.name);
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
            sandbox::exec::exit_now(FAILED_TO_START);
        }
        Err(errno) => return Err(format!("cannot start the {event} handler: {}", io(errno))),
    };
    match wait(child.pid) {
        Some(0) => Ok(()),
        Some(code) => Err(format!(
            "the {event} handler {:?} failed with status {code}",
            exec[0]
        )),
        None => Err(format!("the {event} handler {:?} was killed", exec[0])),
    }
}

fn wait(pid: Pid) -> Option<i32> {
    loop {
        match rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()) {
            Ok(Some((_, status))) => return status.exit_status(),
            Err(Errno::INTR) | Ok(None) => {}
            Err(_) => return None,
        }
    }
}

/// The variables of an app: the manifest's, then the documented defaults for what it leaves open.
pub fn environment(plan: &AppPlan, user: &User) -> Vec<(String, String)> {
    let name = stage1_abi::env::AC_APP_NAME;
    let given = plan.environment.iter().filter(|(n, _)| n != name);
    let mut variables: Vec<_> = given.cloned().collect();
    let mut default = |name: &str, value: &str| {
        if !variables.iter().any(|(n, _)| n == name) {
            variables.push((name.to_owned(), value.to_owned()));
        }
    };
    default(name, &plan.name);
    default("container", "rkt");
    let name = user.name.as_deref();
    for (variable, fallback) in stage1_abi::env::APP_DEFAULTS {
        let known = match variable {
            "SHELL" => user.shell.as_deref(),
            "USER" | "LOGNAME" => name,
            "HOME" => user.home.as_deref(),
            _ => None,
        };
        default(variable, known.unwrap_or(fallback));
    }
    variables
}

/// Becomes the program: directory, sockets, ids, privileges, exec. Returns the reason it could not.
///
/// # Errors
/// Always; on success it does not return.
pub fn launch(
    command: &[String],
    directory: &Path,
    environment: Vec<(String, String)>,
    identity: &Identity,
    security: &Security,
    sockets: &[BorrowedFd<'_>],
) -> Result<Infallible, String> {
    let program = command.first().ok_or("there is nothing to execute")?;
    rustix::process::chdir(directory).map_err(|e| {
        format!(
            "cannot enter the working directory {directory:?}: {}",
            io(e)
        )
    })?;
    let path = environment
        .iter()
        .find(|(n, _)| n == "PATH")
        .map_or("", |(_, v)| v.as_str());
    let program = find(program, path)?;
    let nul = |e: Errno| format!("an argument or variable holds a NUL byte: {}", io(e));
    let args = StringVec::new(command.iter().map(String::as_str)).map_err(nul)?;
    let variables = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let env = StringVec::new(variables).map_err(nul)?;
    let file = CString::new(program.as_os_str().as_bytes())
        .map_err(|_| "the program's name holds a NUL byte")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    if let Some(context) = &security.selinux {
        // Where the policy does not allow it the app finds its keyring closed, as it would without.
        let _ = selinux::create_keys_in(context);
    }
    sandbox::exec::leave_session_keyring();
    close_on_exec_from(3)
        .context("close", "descriptors")
        .map_err(|e| e.to_string())?;
    sandbox::exec::pass(sockets)
        .context("pass", "sockets")
        .map_err(|e| e.to_string())?;
    signals::reset();
    if let Some(context) = &security.selinux {
        selinux::execute_in(context)
            .map_err(|e| format!("cannot run it in the SELinux context {context:?}: {e}"))?;
    }
    if let Some(profile) = &security.apparmor {
        apparmor::confine_at_exec(profile)
            .map_err(|e| format!("cannot confine it by the AppArmor profile {profile:?}: {e}"))?;
    }
    become_user(identity, security).map_err(|e| e.to_string())?;
    let Err(errno) = exec(&file, &args, &env);
    let mut reason = diagnose::explain(&program, errno);
    if let Some(context) = security.selinux.as_ref().filter(|_| errno == Errno::ACCESS) {
        reason.push_str(&format!(
            " (or SELinux does not let it run in the context {context:?}: the kernel's log says so)"
        ));
    }
    Err(reason)
}

/// A bare name is looked up in the app's own PATH.
fn find(program: &str, path: &str) -> Result<PathBuf, String> {
    if program.contains('/') {
        return Ok(PathBuf::from(program));
    }
    use std::os::unix::fs::PermissionsExt;
    path.split(':')
        .map(|dir| Path::new(dir).join(program))
        .find(|file| {
            std::fs::metadata(file)
                .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| format!("cannot execute {program:?}: not found in PATH {path:?}"))
}

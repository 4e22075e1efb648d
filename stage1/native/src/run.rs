//! The run entrypoint: the pod's main process. It makes what lives outside the pod (cgroups,
//! networks), clones the supervisor, keeps the pod's lock, passes signals in and the exit status
//! out, and takes away what it made.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use appc::PodManifest;
use net::PodNetworks;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use sandbox::Context;
use sandbox::cgroup::{Device, Limits, Location, PodCgroup};
use sandbox::clone::Child;
use sandbox::ids;
use sandbox::memory::poll_at_rest;
use sandbox::signals::{self, SignalFd};
use stage1_abi::{Labels, RunArgs, env, path};
use supervisor::terminal::Mode;
use supervisor::{KILLED_BY_SIGNAL, Links, StreamMode};

use crate::birth::Birth;
use crate::error::Error;
use crate::host::{self, Telling};
use crate::isolators::{self, Means};
use crate::network::{Connection, End, Network};
use crate::sockets::{self, Socket};
use crate::{FAILURE, gc, manifest, mounts, network, plan, runtime_config};

/// Signals that end a pod when they reach its main process.
const ENDING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// A pod that lasts this long is worth letting go of memory for.
const SETTLING: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Runs the pod in the working directory to its end.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> Result<u8, Error> {
    let sockets = sockets::take();
    let args = RunArgs::parse(args)?;
    check_lock()?;
    // The pod's users read what is written for them, whatever the caller keeps to itself.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let mut namespace = None;
    let result = start(&args, sockets, &mut namespace).and_then(Running::wait);
    // Also after a failure: what was made until then goes.
    let end = End::Now(namespace.as_ref().map(AsFd::as_fd));
    gc::clean_up(&args.uuid, args.local_config.as_deref(), end);
    result
}

/// A pod whose apps were let go.
struct Running {
    supervisor: Child,
    signals: SignalFd,
    /// The terminal's mode while the pod runs.
    _mode: Option<Mode>,
    /// The pod's ports on the host, and its leases of DHCP servers.
    networks: Option<PodNetworks>,
    /// What connects an ordinary user's pod.
    _connection: Option<Connection>,
    /// Where the pod's readiness is told.
    telling: Option<Telling>,
}

/// Starts the pod. Its network namespace is left in `held`, for the tear-down.
fn start(
    args: &RunArgs,
    mut sockets: Vec<Socket>,
    held: &mut Option<OwnedFd>,
) -> Result<Running, Error> {
    let pod = manifest::pod()?;
    let network = Network::plan(args, &pod)?;
    // Else the pod is an ordinary user's, in a user namespace that this process is in already.
    let hosts = ids::is_hosts();
    if hosts {
        host::enter_scope(&args.uuid);
    }
    let devices = mounts::devices_of_pod(&pod);
    let location = find_cgroup(args, &pod, hosts)?;
    let means = Means {
        cgroups: location.is_some(),
        own_network: network.is_own(),
    };
    let labels = labels();
    let isolation = isolators::of_pod(&pod, args, means, labels.as_ref())?;
    let cgroup = match &location {
        Some(location) => Some(make_cgroup(location, &isolation.limits, &devices)?),
        None => None,
    };
    runtime_config::write(args, labels.as_ref())?;
    let planned = plan::Pod {
        args,
        manifest: &pod,
        own_network: network.is_own(),
        user_namespace: plan::has_user_namespace(args, hosts),
        devices: &devices,
        isolation: &isolation,
    };
    let mut plan = planned.plan(&|app, limits, devices| match &cgroup {
        Some(cgroup) => cgroup.app(app, limits, devices).map(Some),
        None => Ok(None),
    })?;
    if !sockets.is_empty() {
        for (planned, runtime) in plan.apps.iter_mut().zip(&pod.apps) {
            let app = manifest::app_of(runtime)?;
            planned.sockets = sockets::of_app(&pod, &app, &mut sockets);
        }
    }
    // Apps that have ids of their own have a network namespace that belongs to those: it is made
    // with the supervisor.
    let user_namespace = plan.user_namespace;
    if !user_namespace {
        *held = network.namespace()?;
    }
    let interactive = plan
        .apps
        .iter()
        .any(|app| app.streams.has(StreamMode::Interactive));
    let mode = if interactive {
        Mode::raw()
    } else {
        Mode::unbuffered()
    };
    let signals = SignalFd::block_all().context("block", "signals")?;
    let set_up = |namespace: Option<&OwnedFd>| {
        let networks = network.set_up(namespace)?;
        if let Some(networks) = &networks {
            network::write_resolv_conf(args, networks)?;
        }
        Ok((networks, network.connect(namespace)?))
    };
    // Usually beside the making of the apps' file systems.
    let mut early = match network.comes_first(args) && !user_namespace {
        true => Some(set_up(held.as_ref())?),
        false => None,
    };
    let (go_read, go) = pipe_with(PipeFlags::CLOEXEC).context("make", "a pipe")?;
    let (telling, ready) = Telling::new()?.unzip();
    let links = Links {
        go: go_read,
        ready,
        watch_input: mode.is_some() && !interactive,
    };
    let birth = Birth {
        args,
        network: held.as_ref(),
        own_network: network.is_own(),
        cgroup: cgroup.as_ref(),
    };
    let (supervisor, nameless) = birth.clone_supervisor(plan, links, &go)?;
    if let Some(nameless) = nameless {
        let named = (|| {
            *held = nameless.name(network.is_own())?;
            if network.comes_first(args) {
                early = Some(set_up(held.as_ref())?);
            }
            nameless.go_on()
        })();
        if let Err(error) = named {
            // The supervisor ends when its pipes close without a word.
            drop(go);
            wait_for(&supervisor)?;
            return Err(error);
        }
    }
    let namespace = held.as_ref();
    replace_file(path::PID, &supervisor.pid.as_raw_nonzero().to_string())?;
    let pid = supervisor.pid.as_raw_nonzero().get().unsigned_abs();
    if hosts {
        host::register(&args.uuid, pid);
    }
    match early.map_or_else(|| set_up(namespace), Ok) {
        Ok((networks, connection)) => {
            rustix::io::write(&go, b"G").context("start", "the apps")?;
            Ok(Running {
                supervisor,
                signals,
                _mode: mode,
                networks,
                _connection: connection,
                telling,
            })
        }
        Err(error) => {
            // The supervisor ends when the pipe closes without a word.
            drop(go);
            wait_for(&supervisor)?;
            Err(error)
        }
    }
}

/// The SELinux contexts that stage0 chose.
fn labels() -> Option<Labels> {
    Some(Labels {
        process: std::env::var(env::SELINUX_CONTEXT).ok()?,
        file: std::env::var(env::SELINUX_MOUNT_CONTEXT).ok()?,
    })
}

/// The lock must be the inherited one, and stays open as long as this process.
fn check_lock() -> Result<(), Error> {
    let number = std::env::var(env::LOCK_FD)
        .ok()
        .and_then(|n| n.parse::<u32>().ok());
    let number = number.ok_or(Error::Lock(env::LOCK_FD))?;
    match std::fs::metadata(format!("/proc/self/fd/{number}")) {
        Ok(meta) if meta.is_dir() => Ok(()),
        _ => Err(Error::Lock(env::LOCK_FD)),
    }
}

/// Where the pod's cgroup will be. Where cgroups are not to be had, a pod runs without, and says so.
fn find_cgroup(args: &RunArgs, pod: &PodManifest, hosts: bool) -> Result<Option<Location>, Error> {
    // Apps that come later may want it.
    let block = args.mutable || isolators::limits_block_devices(pod)?;
    let found = Location::find(&format!("machine-rkt-{}.slice", args.uuid), block);
    let found = found.and_then(|location| match hosts {
        true => Ok(location),
        false => location.check_delegated().map(|()| location),
    });
    Ok(match found {
        Ok(location) => Some(location),
        Err(error) => {
            eprintln!("rkt: the pod runs without cgroups: {error}");
            None
        }
    })
}

/// Makes the pod's cgroup.
fn make_cgroup(
    location: &Location,
    limits: &Limits,
    devices: &[Device],
) -> Result<PodCgroup, Error> {
    // Written first: who cleans up after a kill must find what there may be.
    let directories: Vec<String> = location
        .directories()
        .map(|d| format!("{}\n", d.display()))
        .collect();
    // Cut off by a kill, they name less than was made: nothing was made yet.
    write_file(path::CGROUPS, &directories.concat())?;
    write_file(path::SUBCGROUP, &location.path().to_string_lossy())?;
    Ok(PodCgroup::create(location, limits, devices)?)
}

/// Writes a file of the pod directory.
pub(crate) fn write_file(name: &str, text: &str) -> Result<(), Error> {
    std::fs::write(name, text).map_err(|source| Error::Write {
        path: name.into(),
        source,
    })
}

/// Writes a file of the pod directory so that a reader finds all of it or nothing.
pub(crate) fn replace_file(name: impl AsRef<Path>, text: &str) -> Result<(), Error> {
    let name = name.as_ref();
    let mut temporary = name.as_os_str().to_owned();
    temporary.push(".new");
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, name))
        .map_err(|source| Error::Write {
            path: name.into(),
            source,
        })
}

impl Running {
    /// Waits for the end of the pod; passes signals in and keeps its leases meanwhile.
    fn wait(mut self) -> Result<u8, Error> {
        let mut settled = false;
        loop {
            let keepers = self.networks.iter().flat_map(|n| &n.keepers);
            let (limit, answers) = network::waits_of(keepers);
            let mut fds = vec![
                PollFd::new(&self.supervisor.pidfd, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            fds.extend(
                answers
                    .into_iter()
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            );
            let ready = self.telling.as_ref().and_then(|t| t.ready.as_ref());
            let ready = ready.map(|fd| PollFd::new(fd, PollFlags::IN));
            fds.extend(ready);
            let polled = match settled {
                true => poll_at_rest(&mut fds, limit.as_ref()),
                false => poll(
                    &mut fds,
                    Some(limit.as_ref().map_or(&SETTLING, |l| l.min(&SETTLING))),
                ),
            };
            match polled {
                Ok(ready) => settled |= ready == 0,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(errno)
                        .context("wait for", "the pod")
                        .map_err(Error::from);
                }
            }
            let ended = !fds[0].revents().is_empty();
            let told = self.telling.as_ref().is_some_and(|t| t.ready.is_some())
                && fds.last().is_some_and(|fd| !fd.revents().is_empty());
            drop(fds);
            if let Some(telling) = self.telling.as_mut().filter(|_| told) {
                telling.hear();
            }
            self.forward()?;
            let keepers = self.networks.iter_mut().flat_map(|n| &mut n.keepers);
            if ended {
                let status = wait_for(&self.supervisor);
                network::give_back(self.networks.take());
                return status;
            }
            for said in keepers.filter_map(net::Keeper::turn) {
                eprintln!("rkt: pod network {said}");
            }
        }
    }

    /// The terminal's signals reach the supervisor by themselves; it is in the same process group.
    fn forward(&self) -> Result<(), Error> {
        while let Some(received) = self.signals.read().context("read", "signals")? {
            let ending = ENDING.iter().any(|s| s.as_raw() == received.signal);
            if ending {
                self.telling.iter().for_each(Telling::stopping);
            }
            if ending && !received.from_kernel {
                signals::forward(&self.supervisor.pidfd, received.signal)
                    .context("signal", "the supervisor")?;
            }
        }
        Ok(())
    }
}

fn wait_for(child: &Child) -> Result<u8, Error> {
    let options = WaitIdOptions::EXITED;
    let status = loop {
        match waitid(WaitId::PidFd(child.pidfd.as_fd()), options) {
            Err(Errno::INTR) => {}
            other => break other.context("wait for", "the supervisor")?,
        }
    };
    let code = status.and_then(|s| match (s.exit_status(), s.terminating_signal()) {
        (Some(code), _) => Some(code as u8),
        (_, Some(signal)) => Some(KILLED_BY_SIGNAL.wrapping_add(signal as u8)),
        _ => None,
    });
    Ok(code.unwrap_or(FAILURE))
}

//! The pod's networks, between the stages' arguments and the `net` crate.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use appc::{IsolatorValue, PodManifest};
use net::{Forward, HostPort, Limits, NetInfo, NetList, Paths, PodNetworks, Protocol, Request};
use rustix::event::Timespec;
use sandbox::clone::Attendant;
use sandbox::{Context, netns};
use stage1_abi::{FileMode, RunArgs, path};

use crate::error::Error;
use crate::manifest;
use crate::{pasta, relay};

/// The local configuration directory unless stage0 names another.
const LOCAL_CONFIG: &str = "/etc/rkt";
/// Where rkt's own outside plugins lie.
const SYSTEM_CONFIG: &str = "/usr/lib/rkt";

/// The network that pods have where nobody says otherwise.
const DEFAULT: &str = "default";

/// What connects an ordinary user's pod; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    _relay: Option<Attendant>,
    _pasta: Attendant,
}

/// The networks that a pod will have, checked before anything is touched.
#[derive(Debug)]
pub(crate) struct Network {
    plan: net::Plan,
    /// The pod shares the network of who runs rkt.
    host: bool,
    /// The pod is an ordinary user's, and these ports lead to it.
    passed_on: Option<Vec<Forward>>,
}

impl Network {
    /// Reads what `--net` and the pod's ports want.
    pub(crate) fn plan(args: &RunArgs, pod: &PodManifest) -> Result<Self, Error> {
        let nets = NetList::parse(&args.net).map_err(said)?;
        let forwards = forwards(pod)?;
        // `pasta` connects the pod of who has no privileges on the host.
        let outside = matches!(nets, NetList::Networks { .. }) && !sandbox::ids::is_hosts();
        if outside {
            can_be_connected(&nets, &forwards)?;
        }
        let (ours, ports, bandwidth) = match outside {
            true => (&NetList::None, &[][..], None),
            false => (&nets, &*forwards, bandwidth(pod)?),
        };
        let local_config = local_config(args.local_config.as_deref());
        let request = Request {
            pod: &args.uuid,
            nets: ours,
            local_config: &local_config,
            ports,
            bandwidth,
            paths: &paths(&local_config),
        };
        let plan = net::plan(&request).map_err(said)?;
        for warning in &plan.warnings {
            eprintln!("rkt: {warning}");
        }
        Ok(Self {
            plan,
            host: nets == NetList::Host,
            passed_on: outside.then_some(forwards),
        })
    }

    /// Connects an ordinary user's pod, and notes what it got.
    pub(crate) fn connect(&self, namespace: Option<&OwnedFd>) -> Result<Option<Connection>, Error> {
        let (Some(forwards), Some(namespace)) = (&self.passed_on, namespace) else {
            return Ok(None);
        };
        let sockets = net::bind_ports(forwards).map_err(said)?;
        let pasta = pasta::start(namespace)?;
        let info = NetInfo {
            net_name: DEFAULT.to_owned(),
            net_conf: String::new(),
            if_name: pasta::INTERFACE.to_owned(),
            args: Vec::new(),
            result: None,
            ports: forwards.clone(),
        };
        let info = net::note_connected(Path::new("."), namespace.as_fd(), info).map_err(said)?;
        let relay = match info.ip() {
            Some(pod) if !sockets.is_empty() => Some(relay::start(namespace, pod, sockets)?),
            _ => None,
        };
        Ok(Some(Connection {
            _relay: relay,
            _pasta: pasta,
        }))
    }

    /// Whether the pod has a network stack of its own.
    pub(crate) fn is_own(&self) -> bool {
        !self.host
    }

    /// Whether the networks must be up before the apps' file systems are made: what they say about
    /// name servers belongs into those.
    pub(crate) fn comes_first(&self, args: &RunArgs) -> bool {
        args.dns_conf_mode.resolv == FileMode::Default && self.plan.may_give_dns()
    }

    /// Makes the pod's network namespace; `None` for the host's.
    pub(crate) fn namespace(&self) -> Result<Option<OwnedFd>, Error> {
        match self.host {
            true => Ok(None),
            false => Ok(Some(
                netns::create().context("make", "a network namespace")?,
            )),
        }
    }

    /// Sets the networks up in the namespace. What is returned holds the pod's ports on the host.
    pub(crate) fn set_up(&self, namespace: Option<&OwnedFd>) -> Result<Option<PodNetworks>, Error> {
        let Some(namespace) = namespace else {
            return Ok(None);
        };
        net::set_up(&self.plan, Path::new("."), namespace.as_fd())
            .map(Some)
            .map_err(said)
    }
}

/// Whether `pasta` can give an ordinary user's pod these networks and ports.
fn can_be_connected(nets: &NetList, forwards: &[Forward]) -> Result<(), Error> {
    if *nets != NetList::parse(DEFAULT).map_err(said)? {
        return Err(Error::Network(
            "an ordinary user cannot attach a pod to the host's networks: give none of them, --net=none or --net=host"
                .into(),
        ));
    }
    if forwards.iter().any(|f| f.from.protocol == Protocol::Sctp) {
        return Err(Error::Network(
            "ports of an ordinary user's pod are of TCP or UDP".into(),
        ));
    }
    pasta::check()
}

/// Writes the resolv.conf that a network gave, where the apps' file systems take it from; the
/// command line's goes before (networking-dns, "Precedence").
pub(crate) fn write_resolv_conf(args: &RunArgs, networks: &PodNetworks) -> Result<(), Error> {
    let Some((network, dns)) = &networks.dns else {
        return Ok(());
    };
    if args.dns_conf_mode.resolv != FileMode::Default {
        return Ok(());
    }
    let path = Path::new(path::STAGE1_ROOTFS).join(path::RESOLV_CONF);
    let write = || {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(&path, dns.resolv_conf(network))?;
        match args.private_users {
            // The pod's root may write to what is its own.
            Some(users) => std::os::unix::fs::chown(&path, Some(users.shift), Some(users.shift)),
            None => Ok(()),
        }
    };
    write().map_err(|source| Error::Write {
        path: path.clone(),
        source,
    })
}

/// How long the keepers of leases have nothing to do, and where they expect answers.
pub(crate) fn waits_of<'a>(
    keepers: impl Iterator<Item = &'a net::Keeper>,
) -> (Option<Timespec>, Vec<BorrowedFd<'a>>) {
    let (mut limit, mut answers) = (None, Vec::new());
    for keeper in keepers {
        limit = match (limit, keeper.deadline()) {
            (Some(a), Some(b)) => Some(std::cmp::min::<Duration>(a, b)),
            (a, b) => a.or(b),
        };
        answers.extend(keeper.fd());
    }
    let limit = limit.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    (limit, answers)
}

/// Gives back what a pod's networks lent it for its life.
pub(crate) fn give_back(networks: Option<PodNetworks>) {
    for keeper in networks.into_iter().flat_map(|n| n.keepers) {
        keeper.release();
    }
}

/// What there is of a pod when its networks are taken down.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End<'a> {
    /// It has just ended; its network namespace, if it had one, is still held.
    Now(Option<BorrowedFd<'a>>),
    /// It ended some time ago, perhaps by a kill: also what should have gone by itself is looked
    /// for.
    LongAgo,
}

/// Takes the networks of the pod in the working directory down; the errors on the way.
pub(crate) fn tear_down(uuid: &str, local: Option<&Path>, end: End<'_>) -> Vec<String> {
    let paths = paths(&local_config(local));
    let pod_dir = Path::new(".");
    let errors = match end {
        End::Now(netns) => net::tear_down(pod_dir, uuid, &paths, netns),
        End::LongAgo => net::collect(pod_dir, uuid, &paths),
    };
    errors.iter().map(ToString::to_string).collect()
}

fn local_config(given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| LOCAL_CONFIG.into(), Path::to_path_buf)
}

fn paths(local_config: &Path) -> Paths {
    Paths::new(local_config, Path::new(SYSTEM_CONFIG))
}

fn said(error: net::Error) -> Error {
    Error::Network(error.to_string())
}

/// The limit of the pod's isolator `resource/network-bandwidth` (specification, ace.md), in either
/// direction. An app's own holds for a pod that has no other app: the apps of a pod share its
/// interfaces.
fn bandwidth(pod: &PodManifest) -> Result<Option<Limits>, Error> {
    const NAME: &str = "resource/network-bandwidth";
    let mut found = pod.isolators.get(NAME).cloned();
    for runtime in &pod.apps {
        let own = manifest::app_of(runtime)?.isolators.get(NAME).cloned();
        match (own, pod.apps.len()) {
            (None, _) => {}
            (own, 1) => found = found.or(own),
            // `isolators` says so.
            _ => {}
        }
    }
    let Some(isolator) = found else {
        return Ok(None);
    };
    let value = isolator
        .decode()
        .map_err(|e| Error::Network(e.to_string()))?;
    let IsolatorValue::NetworkBandwidth(resource) = value else {
        return Ok(None);
    };
    let bytes = resource.limit.as_ref().map_or(0, |limit| limit.value());
    let bits = u64::try_from(bytes).unwrap_or_default().saturating_mul(8);
    Ok((bits > 0).then_some(Limits {
        ingress_rate: bits,
        egress_rate: bits,
        ..Limits::default()
    }))
}

/// The ports of the host that lead to the pod: each exposed one is the port of that name of an
/// app, or of the pod (networking-overview, "Exposing container ports on the host").
fn forwards(pod: &PodManifest) -> Result<Vec<Forward>, Error> {
    let mut forwards = Vec::new();
    for exposed in &pod.ports {
        let port = match &exposed.pod_port {
            Some(port) => port.clone(),
            None => port_of_an_app(pod, exposed.name.as_str())?,
        };
        // Ports of socket-activated apps are the activator's: it listens, nothing is forwarded.
        if port.socket_activated {
            continue;
        }
        let protocol = Protocol::parse(&port.protocol).ok_or_else(|| {
            Error::Network(format!(
                "port {:?}: unknown protocol {:?}",
                exposed.name, port.protocol
            ))
        })?;
        for n in 0..port.count.max(1) {
            let number = |base: u16| {
                base.checked_add(n).ok_or_else(|| {
                    Error::Network(format!(
                        "port {:?}: {base} and the {n} ports after it are too many",
                        exposed.name
                    ))
                })
            };
            let from = HostPort {
                protocol,
                addr: exposed.host_ip.filter(|a| !a.is_unspecified()),
                port: number(exposed.host_port)?,
            };
            forwards.push(Forward {
                from,
                pod_port: number(port.port)?,
            });
        }
    }
    Ok(forwards)
}

fn port_of_an_app(pod: &PodManifest, name: &str) -> Result<appc::Port, Error> {
    for runtime in &pod.apps {
        let app = manifest::app_of(runtime)?;
        if let Some(port) = app.ports.into_iter().find(|p| p.name == *name) {
            return Ok(port);
        }
    }
    Err(Error::Network(format!(
        "no app of the pod has a port {name:?}"
    )))
}

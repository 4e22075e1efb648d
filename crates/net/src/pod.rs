//! The networks of one pod: planned, set up, torn down.
//!
//! Before anything is touched the configurations are copied to `net/` in the pod's directory.
//! That folder is the journal: as long as it is there, something may have to be torn down, and it
//! tells which networks. What was given is in `net-info.json`; where that is missing (a killed
//! set-up), each network type looks for what belongs to the pod.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::attachment::{Attachment, Kernel, Paths, Runtime};
use crate::cni::{CniResult, Dns};
use crate::config::{self, Network};
use crate::error::{Error, Result};
use crate::info::{self, NetInfo};
use crate::kind::bandwidth::{self, Limits};
use crate::kind::{self, Driver};
use crate::portmap::{self, Forward};
use crate::rtnl::{Changes, LOOPBACK, Rtnl};
use crate::select::NetList;

/// In the pod's directory: the configurations of its networks.
const CONF_DIR: &str = "net";

/// Its name once the networks are down, until the collector has seen the interfaces gone.
const DOWN_DIR: &str = "net.down";

/// Networks of one pod.
const MOST_NETWORKS: usize = 256;

/// What is wanted for a pod.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The pod's UUID.
    pub pod: &'a str,
    /// `--net`.
    pub nets: &'a NetList,
    /// The local configuration directory, usually `/etc/rkt`.
    pub local_config: &'a Path,
    /// Ports of the host that shall lead to the pod.
    pub ports: &'a [Forward],
    /// Limits for each of the pod's networks (isolator `resource/network-bandwidth`).
    pub bandwidth: Option<Limits>,
    /// Where things are on the host.
    pub paths: &'a Paths,
}

/// A pod's networks, validated, nothing touched yet.
#[derive(Debug)]
pub struct Plan {
    pod: String,
    own_namespace: bool,
    networks: Vec<Planned>,
    ports: Vec<Forward>,
    bandwidth: Option<Limits>,
    paths: Paths,
}

#[derive(Debug)]
struct Planned {
    index: usize,
    network: Network,
    ifname: String,
    args: Vec<(String, String)>,
    drivers: Vec<Box<dyn Driver>>,
}

/// A pod's networks, ready.
#[derive(Debug)]
pub struct PodNetworks {
    /// One entry for each network, as in `net-info.json`.
    pub networks: Vec<NetInfo>,
    /// Name servers that a network gave, with its name: the first one that gave any.
    pub dns: Option<(String, Dns)>,
    /// The host's ports, held until this is dropped (see [`portmap::reserve`]).
    pub held_ports: Vec<OwnedFd>,
}

/// Reads and validates everything that the pod's networks need. Touches nothing.
///
/// # Errors
/// [`Error::NotFound`], [`Error::File`] and [`Error::Field`] for configurations.
pub fn plan(request: &Request<'_>) -> Result<Plan> {
    let mut networks = Vec::new();
    if matches!(request.nets, NetList::Networks { .. }) {
        let available = config::available(request.local_config)?;
        let picked = request.nets.pick(available, request.local_config)?;
        for (index, (network, args)) in picked.into_iter().enumerate().take(MOST_NETWORKS) {
            networks.push(Planned::new(network, index, args)?);
        }
    }
    if networks.is_empty() && !request.ports.is_empty() && *request.nets != NetList::Host {
        return Err(Error::Selection {
            option: "none".to_owned(),
            problem: "ports can only be forwarded to a pod that has a network".to_owned(),
        });
    }
    Ok(Plan {
        pod: request.pod.to_owned(),
        own_namespace: *request.nets != NetList::Host,
        networks,
        // A pod in the host's network has its ports there anyway.
        ports: if *request.nets == NetList::Host {
            Vec::new()
        } else {
            request.ports.to_vec()
        },
        bandwidth: request.bandwidth,
        paths: request.paths.clone(),
    })
}

impl Planned {
    fn new(network: Network, index: usize, args: Vec<(String, String)>) -> Result<Self> {
        let drivers = (0..network.plugins.len()).map(|place| kind::parse(&network, place));
        let drivers = drivers.collect::<Result<_>>()?;
        Ok(Self {
            network,
            index,
            ifname: ifname(index),
            args,
            drivers,
        })
    }

    /// The configuration's name in the pod's directory: in order, and never twice.
    fn journal_name(&self) -> String {
        let ending = if self.network.is_list {
            "conflist"
        } else {
            "conf"
        };
        format!("{:03}-{}.{ending}", self.index, self.network.name)
    }

    fn info(&self, result: Option<CniResult>) -> NetInfo {
        NetInfo {
            net_name: self.network.name.clone(),
            net_conf: format!("{CONF_DIR}/{}", self.journal_name()),
            if_name: self.ifname.clone(),
            args: self.args.clone(),
            result,
            ports: Vec::new(),
        }
    }
}

impl Plan {
    /// Whether the pod gets a network namespace of its own.
    #[must_use]
    pub fn own_namespace(&self) -> bool {
        self.own_namespace
    }

    /// The network that forwarded ports lead through: the first that masquerades, else the last
    /// (networking-overview, "Network used for forwarded ports").
    fn forwarding(&self) -> Option<usize> {
        let masquerades = |planned: &Planned| planned.drivers.iter().any(|d| d.masquerades());
        let first = self.networks.iter().position(masquerades);
        first.or_else(|| self.networks.len().checked_sub(1))
    }
}

/// Sets the networks up in the namespace `netns`, which must be new. Writes `net-info.json` into
/// `pod_dir`. On an error everything is taken back.
///
/// # Errors
/// The first one; what the way back met with is added to none, since the same is tried again by
/// the collector.
pub fn set_up(plan: &Plan, pod_dir: &Path, netns: BorrowedFd<'_>) -> Result<PodNetworks> {
    let held_ports = portmap::reserve(&plan.ports)?;
    if plan.networks.is_empty() {
        let mut pod = Rtnl::open_in(netns)?;
        loopback(&mut pod)?;
        return Ok(PodNetworks {
            networks: Vec::new(),
            dns: None,
            held_ports,
        });
    }
    write_journal(plan, pod_dir)?;
    let mut session = Session::new(&plan.pod, &plan.paths, Some(netns));
    match session.set_up(plan, pod_dir) {
        Ok(networks) => {
            let mut dns = networks.iter().filter_map(|info| {
                let dns = &info.result.as_ref()?.dns;
                (!dns.is_empty()).then(|| (info.net_name.clone(), dns.clone()))
            });
            Ok(PodNetworks {
                dns: dns.next(),
                networks,
                held_ports,
            })
        }
        Err(error) => {
            let _ = fs::remove_file(pod_dir.join(info::NET_INFO));
            if session.undo(plan) {
                let _ = fs::remove_dir_all(pod_dir.join(CONF_DIR));
            }
            Err(error)
        }
    }
}

/// Gives back what an ended pod had of the host: addresses, firewall rules, outside plugins'
/// things. Used when the pod ends and, after a kill, by the collector. May be called any number of
/// times. Interfaces go with the pod's namespace, some milliseconds after its last process;
/// [`collect`] looks after those.
///
/// # Errors
/// All that were met; it goes on after each. What could not be taken down is tried again by the
/// next call.
#[must_use]
pub fn tear_down(pod_dir: &Path, pod: &str, paths: &Paths) -> Vec<Error> {
    let journal = match journal(&pod_dir.join(CONF_DIR), pod_dir) {
        Ok(Some(journal)) => journal,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![error],
    };
    let mut errors = Vec::new();
    let infos = info::read(pod_dir).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    let mut session = Session::new(pod, paths, None);
    session.namespace_ends = true;
    for (index, network) in journal.into_iter().rev() {
        let info = infos.iter().find(|info| info.if_name == ifname(index));
        let args = info.map(|info| info.args.clone()).unwrap_or_default();
        match Planned::new(network, index, args) {
            Ok(planned) => errors.extend(session.detach(&planned, info)),
            Err(error) => errors.push(error),
        }
    }
    session.kernel.close();
    if errors.is_empty() {
        let (from, to) = (pod_dir.join(CONF_DIR), pod_dir.join(DOWN_DIR));
        let renamed = fs::rename(&from, &to).or_else(|_| {
            // From an earlier round, if there was one.
            let _ = fs::remove_dir_all(&to);
            fs::rename(&from, &to)
        });
        errors.extend(renamed.map_err(Error::io("rename", from)).err());
    }
    errors
}

/// [`tear_down`], and then removes interfaces that did not go with the pod's namespace, because
/// something else holds it, and bridges that were made for pods and have none left. For the
/// collector.
///
/// # Errors
/// As [`tear_down`].
#[must_use]
pub fn collect(pod_dir: &Path, pod: &str, paths: &Paths) -> Vec<Error> {
    let mut errors = tear_down(pod_dir, pod, paths);
    let down = pod_dir.join(DOWN_DIR);
    let journal = match journal(&down, pod_dir) {
        Ok(Some(journal)) => journal,
        Ok(None) => return errors,
        Err(error) => {
            errors.push(error);
            return errors;
        }
    };
    let mut session = Session::new(pod, paths, None);
    for (index, network) in journal {
        match Planned::new(network, index, Vec::new()) {
            Ok(planned) => errors.extend(session.sweep(&planned)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        errors.extend(
            fs::remove_dir_all(&down)
                .map_err(Error::io("remove", &down))
                .err(),
        );
    }
    errors
}

/// Checks that a running pod's networks are as they were set up.
///
/// # Errors
/// Whatever is missing.
pub fn check(pod_dir: &Path, pod: &str, paths: &Paths, netns: BorrowedFd<'_>) -> Result<()> {
    let infos = info::read(pod_dir)?;
    let mut session = Session::new(pod, paths, Some(netns));
    for (index, network) in journal(&pod_dir.join(CONF_DIR), pod_dir)?.unwrap_or_default() {
        let Some(info) = infos.iter().find(|info| info.if_name == ifname(index)) else {
            continue;
        };
        let Some(result) = &info.result else { continue };
        if network.disable_check {
            continue;
        }
        let planned = Planned::new(network, index, info.args.clone())?;
        for place in 0..planned.drivers.len() {
            session.with(&planned, place, &[], |driver, at| driver.check(at, result))?;
        }
    }
    Ok(())
}

/// The interface of a pod's network: in the order of the configuration files.
fn ifname(index: usize) -> String {
    format!("eth{index}")
}

fn loopback(pod: &mut Rtnl) -> Result<()> {
    let mut changes = Changes::new();
    changes.link_up(LOOPBACK);
    pod.apply(changes)
}

/// Copies the configurations into the pod's directory.
fn write_journal(plan: &Plan, pod_dir: &Path) -> Result<()> {
    let directory = pod_dir.join(CONF_DIR);
    match fs::create_dir(&directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(Error::io("make directory", directory)(error));
        }
        _ => {}
    }
    for planned in &plan.networks {
        let path = directory.join(planned.journal_name());
        fs::write(&path, &planned.network.text).map_err(Error::io("write", path))?;
    }
    // Outside plugins want their arguments again for the way down.
    if plan
        .networks
        .iter()
        .any(|planned| planned.drivers.iter().any(|driver| driver.is_outside()))
    {
        let infos: Vec<NetInfo> = plan
            .networks
            .iter()
            .map(|planned| planned.info(None))
            .collect();
        info::write(pod_dir, &infos)?;
    }
    Ok(())
}

/// The networks in the pod's directory; `None` when nothing is left to tear down. A file that was
/// being written when rkt was killed is that of a network not begun.
fn journal(directory: &Path, pod_dir: &Path) -> Result<Option<Vec<(usize, Network)>>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(Error::io("read", directory))?,
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    let mut networks = Vec::new();
    for path in paths.into_iter().take(MOST_NETWORKS) {
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let index = name
            .split_once('-')
            .and_then(|(index, _)| index.parse().ok());
        match (index, Network::parse(&path, &text)) {
            (Some(index), Ok(network)) => networks.push((index, network)),
            _ if info::read(pod_dir).is_ok_and(|infos| infos.is_empty()) => {}
            (_, Err(error)) => return Err(error),
            (None, _) => {}
        }
    }
    Ok(Some(networks))
}

/// One go at a pod's networks, with the sockets that it takes.
struct Session<'a> {
    pod: &'a str,
    paths: &'a Paths,
    netns: Option<BorrowedFd<'a>>,
    namespace_ends: bool,
    netns_path: String,
    kernel: Kernel,
}

impl<'a> Session<'a> {
    fn new(pod: &'a str, paths: &'a Paths, netns: Option<BorrowedFd<'a>>) -> Self {
        let netns_path = netns
            .map(|fd| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()))
            .unwrap_or_default();
        Self {
            pod,
            paths,
            netns,
            namespace_ends: false,
            netns_path,
            kernel: Kernel::default(),
        }
    }

    /// Lends a driver its attachment.
    fn with<T>(
        &mut self,
        planned: &Planned,
        place: usize,
        ports: &[Forward],
        work: impl FnOnce(&dyn Driver, &mut Attachment<'_>) -> Result<T>,
    ) -> Result<T> {
        let (driver, plugin) = match (
            planned.drivers.get(place),
            planned.network.plugins.get(place),
        ) {
            (Some(driver), Some(plugin)) => (driver, plugin),
            _ => {
                return Err(Error::File {
                    file: planned.network.path.clone(),
                    problem: "is empty".to_owned(),
                });
            }
        };
        let runtime = Runtime {
            forwards: ports.to_vec(),
            ..Runtime::default()
        };
        let mut at = Attachment {
            container: self.pod,
            network: &planned.network.name,
            ifname: &planned.ifname,
            netns: self.netns,
            namespace_ends: self.namespace_ends,
            netns_path: &self.netns_path,
            args: &planned.args,
            runtime: &runtime,
            paths: self.paths,
            kernel: &mut self.kernel,
            conf: &plugin.fields,
            cni_version: &planned.network.cni_version,
        };
        work(driver.as_ref(), &mut at)
    }

    fn set_up(&mut self, plan: &Plan, pod_dir: &Path) -> Result<Vec<NetInfo>> {
        if let Some(netns) = self.netns {
            loopback(self.kernel.pod(netns)?)?;
        }
        let forwarding = plan.forwarding();
        let mut infos = Vec::new();
        for (index, planned) in plan.networks.iter().enumerate() {
            let ports = if forwarding == Some(index) {
                &plan.ports[..]
            } else {
                &[]
            };
            let mut info = self.attach(planned, ports)?;
            info.ports = ports.to_vec();
            if let (Some(limits), Some(result)) = (plan.bandwidth, &info.result) {
                let limited = planned
                    .network
                    .plugins
                    .iter()
                    .any(|p| p.kind == "bandwidth");
                if !limited {
                    self.with(planned, 0, &[], |_, at| {
                        bandwidth::limit(at, limits, result)
                    })?;
                }
            }
            infos.push(info);
        }
        info::write(pod_dir, &infos)?;
        Ok(infos)
    }

    fn attach(&mut self, planned: &Planned, ports: &[Forward]) -> Result<NetInfo> {
        let mut result: Option<CniResult> = None;
        for place in 0..planned.drivers.len() {
            let previous = result.take();
            result = Some(self.with(planned, place, ports, |driver, at| {
                driver.set_up(at, previous)
            })?);
        }
        let result = result.unwrap_or_default();
        // A chain with a port mapper of its own has been given the ports.
        let mapped = planned
            .network
            .plugins
            .iter()
            .any(|plugin| plugin.kind == "portmap");
        if !ports.is_empty() && !mapped {
            self.with(planned, 0, ports, |_, at| {
                portmap::set_up(at, ports, &result)
            })?;
        }
        Ok(planned.info(Some(result)))
    }

    /// Takes one network away, from the last plugin to the first.
    fn detach(&mut self, planned: &Planned, info: Option<&NetInfo>) -> Vec<Error> {
        let result = info.and_then(|info| info.result.as_ref());
        let ports: Vec<Forward> = info.map(|info| info.ports.clone()).unwrap_or_default();
        let mut errors = Vec::new();
        let mapped = planned
            .network
            .plugins
            .iter()
            .any(|plugin| plugin.kind == "portmap");
        if !mapped && (!ports.is_empty() || result.is_none()) {
            let unmapped = self.with(planned, 0, &ports, |_, at| {
                portmap::tear_down(at, &ports, result)
            });
            errors.extend(unmapped.err());
        }
        // The pod's limits, where they were set by an isolator.
        if !planned.drivers.is_empty() {
            errors.extend(
                self.with(planned, 0, &[], |_, at| bandwidth::unlimit(at))
                    .err(),
            );
        }
        for place in (0..planned.drivers.len()).rev() {
            let torn = self.with(planned, place, &ports, |driver, at| {
                Ok(driver.tear_down(at, result))
            });
            match torn {
                Ok(more) => errors.extend(more),
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// Removes what should have gone with the namespace.
    fn sweep(&mut self, planned: &Planned) -> Vec<Error> {
        let mut errors = Vec::new();
        for place in 0..planned.drivers.len() {
            let swept = self.with(planned, place, &[], |driver, at| driver.sweep(at));
            errors.extend(swept.err());
        }
        errors
    }

    /// Takes back a set-up that failed; whether all went well.
    fn undo(&mut self, plan: &Plan) -> bool {
        let undone = plan
            .networks
            .iter()
            .rev()
            .map(|planned| self.detach(planned, None).is_empty());
        undone.fold(true, |all, one| all & one)
    }
}

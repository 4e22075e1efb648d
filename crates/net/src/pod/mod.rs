//! The networks of one pod: planned, set up, torn down.
//!
//! Before anything is touched the configurations are copied to `net/` in the pod's directory.
//! That folder is the journal: as long as it is there, something may have to be torn down, and it
//! tells which networks. What was given is in `net-info.json`; where that is missing (a killed
//! set-up), each network type looks for what belongs to the pod.

mod journal;
mod planned;
mod session;

use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use crate::attachment::Paths;
use crate::cni::Dns;
use crate::config;
use crate::error::{Error, Result};
use crate::info::{self, NetInfo};
use crate::inspect;
use crate::ipam::dhcp::Keeper;
use crate::kind::bandwidth::Limits;
use crate::portmap::{self, Forward};
use crate::rtnl::Rtnl;
use crate::select::NetList;
use journal::{CONF_DIR, DOWN_DIR};
use planned::{MOST_NETWORKS, Planned, ifname};
use session::{Session, loopback};

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
    /// What a person should know of the configuration.
    pub warnings: Vec<String>,
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
    /// Leases of DHCP servers, to be kept while the pod lives and given back at its end.
    pub keepers: Vec<Keeper>,
}

/// Reads and validates everything that the pod's networks need. Touches nothing.
///
/// # Errors
/// [`Error::NotFound`], [`Error::File`] and [`Error::Field`] for configurations.
pub fn plan(request: &Request<'_>) -> Result<Plan> {
    let (mut networks, mut warnings) = (Vec::new(), Vec::new());
    if matches!(request.nets, NetList::Networks { .. }) {
        let available = config::available(request.local_config)?;
        warnings = available.warnings;
        let picked = request
            .nets
            .pick(available.networks, request.local_config)?;
        for (index, (network, args)) in picked.into_iter().enumerate().take(MOST_NETWORKS) {
            let mut planned = Planned::new(network, index, args)?;
            planned.find_plugins(request.paths)?;
            planned.settle_version(request.paths)?;
            networks.push(planned);
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
        warnings,
    })
}

impl Plan {
    /// Whether the pod gets a network namespace of its own.
    #[must_use]
    pub fn own_namespace(&self) -> bool {
        self.own_namespace
    }

    /// Whether a network may say where name servers are: by its configuration, or because its
    /// addresses come from elsewhere.
    #[must_use]
    pub fn may_give_dns(&self) -> bool {
        let says = |fields: &serde_json::Map<String, serde_json::Value>, name: &str| {
            fields.get(name).is_some_and(|value| !value.is_null())
        };
        let mut plugins = self.networks.iter().flat_map(|n| &n.network.plugins);
        plugins.any(|plugin| {
            let ipam = plugin
                .fields
                .get("ipam")
                .and_then(serde_json::Value::as_object);
            let elsewhere = |kind: &str| kind == "dhcp" || !inspect::is_builtin_type(kind);
            let ipam_says = |ipam: &serde_json::Map<String, serde_json::Value>| {
                let kind = ipam.get("type").and_then(serde_json::Value::as_str);
                says(ipam, "resolvConf") || says(ipam, "dns") || kind.is_some_and(elsewhere)
            };
            let handed_on = plugin.kind == "flannel";
            says(&plugin.fields, "dns")
                || handed_on
                || elsewhere(&plugin.kind)
                || ipam.is_some_and(ipam_says)
        })
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
            keepers: Vec::new(),
        });
    }
    journal::write(plan, pod_dir)?;
    let mut session = Session::new(&plan.pod, &plan.paths, Some(netns));
    session.bandwidth = plan.bandwidth;
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
                keepers: std::mem::take(&mut session.kernel.keepers),
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
/// [`collect`] looks after those. `netns`: the namespace, where it is still there; outside plugins
/// may have something to do in it.
///
/// # Errors
/// All that were met; it goes on after each. What could not be taken down is tried again by the
/// next call.
#[must_use]
pub fn tear_down(
    pod_dir: &Path,
    pod: &str,
    paths: &Paths,
    netns: Option<BorrowedFd<'_>>,
) -> Vec<Error> {
    let journal = match journal::read(&pod_dir.join(CONF_DIR), pod_dir) {
        Ok(Some(journal)) => journal,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![error],
    };
    let mut errors = Vec::new();
    let infos = info::read(pod_dir).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    let mut session = Session::new(pod, paths, netns);
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
    let mut errors = tear_down(pod_dir, pod, paths, None);
    let down = pod_dir.join(DOWN_DIR);
    let journal = match journal::read(&down, pod_dir) {
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
    for (index, network) in journal::read(&pod_dir.join(CONF_DIR), pod_dir)?.unwrap_or_default() {
        let Some(info) = infos.iter().find(|info| info.if_name == ifname(index)) else {
            continue;
        };
        let Some(result) = &info.result else { continue };
        if network.disable_check {
            continue;
        }
        let planned = Planned::new(network, index, info.args.clone())?;
        for place in 0..planned.drivers.len() {
            session.with(&planned, place, &info.ports, |driver, at| {
                driver.check(at, result)
            })?;
        }
    }
    Ok(())
}

//! Working on a pod's networks, one plugin after the other.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use serde_json::Value;

use super::Plan;
use super::planned::Planned;
use crate::attachment::{Attachment, Kernel, Paths, Runtime};
use crate::cni::CniResult;
use crate::config::PluginConf;
use crate::error::{Error, Result};
use crate::info::{self, NetInfo};
use crate::kind::Driver;
use crate::kind::bandwidth::{self, Limits};
use crate::portmap::{self, Forward};
use crate::rtnl::{Changes, LOOPBACK, Rtnl};

/// One go at a pod's networks, with the sockets that it takes.
pub(super) struct Session<'a> {
    pod: &'a str,
    paths: &'a Paths,
    netns: Option<BorrowedFd<'a>>,
    pub(super) namespace_ends: bool,
    /// The limits of the pod's isolator, which plugins for that are told of.
    pub(super) bandwidth: Option<Limits>,
    netns_path: String,
    pub(super) kernel: Kernel,
}

impl<'a> Session<'a> {
    pub(super) fn new(pod: &'a str, paths: &'a Paths, netns: Option<BorrowedFd<'a>>) -> Self {
        let netns_path = netns
            .map(|fd| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()))
            .unwrap_or_default();
        Self {
            pod,
            paths,
            netns,
            namespace_ends: false,
            bandwidth: None,
            netns_path,
            kernel: Kernel::default(),
        }
    }

    /// Lends a driver its attachment.
    pub(super) fn with<T>(
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
        let arg = |name: &str| {
            let found = planned.args.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str())
        };
        let ips = arg("IP").into_iter().flat_map(|text| text.split(','));
        let runtime = Runtime {
            ips: ips.filter(|ip| !ip.is_empty()).map(str::to_owned).collect(),
            mac: arg("MAC").map(str::to_owned),
            forwards: ports.to_vec(),
            bandwidth: self.bandwidth,
        };
        let mut at = Attachment {
            container: self.pod,
            network: &planned.network,
            ifname: &planned.ifname,
            netns: self.netns,
            namespace_ends: self.namespace_ends,
            netns_path: &self.netns_path,
            args: &planned.args,
            runtime: &runtime,
            paths: self.paths,
            kernel: &mut self.kernel,
            conf: &plugin.fields,
        };
        work(driver.as_ref(), &mut at)
    }

    pub(super) fn set_up(&mut self, plan: &Plan, pod_dir: &Path) -> Result<Vec<NetInfo>> {
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
            if let (Some(limits), Some(result)) = (plan.bandwidth, &info.result)
                && !limits_itself(planned)
            {
                self.with(planned, 0, &[], |_, at| {
                    bandwidth::limit(at, limits, result)
                })?;
            }
            infos.push(info);
        }
        info::write(pod_dir, &infos)?;
        Ok(infos)
    }

    pub(super) fn attach(&mut self, planned: &Planned, ports: &[Forward]) -> Result<NetInfo> {
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
    pub(super) fn detach(&mut self, planned: &Planned, info: Option<&NetInfo>) -> Vec<Error> {
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
    pub(super) fn sweep(&mut self, planned: &Planned) -> Vec<Error> {
        let mut errors = Vec::new();
        for place in 0..planned.drivers.len() {
            let swept = self.with(planned, place, &[], |driver, at| driver.sweep(at));
            errors.extend(swept.err());
        }
        errors
    }

    /// Takes back a set-up that failed; whether all went well.
    pub(super) fn undo(&mut self, plan: &Plan) -> bool {
        let undone = plan
            .networks
            .iter()
            .rev()
            .map(|planned| self.detach(planned, None).is_empty());
        undone.fold(true, |all, one| all & one)
    }
}

/// Whether the network has a plugin that is told of the pod's limits and applies them.
fn limits_itself(planned: &Planned) -> bool {
    let able = |plugin: &PluginConf| {
        let capabilities = plugin.fields.get("capabilities");
        let able = capabilities.and_then(|all| all.get("bandwidth"));
        able.and_then(Value::as_bool).unwrap_or(false)
    };
    let plugins = planned.network.plugins.iter().zip(&planned.drivers);
    let mut of_limits = plugins
        .map(|(plugin, driver)| plugin.kind == "bandwidth" || driver.is_outside() && able(plugin));
    of_limits.any(|it| it)
}

/// Brings `lo` up.
pub(super) fn loopback(pod: &mut Rtnl) -> Result<()> {
    let mut changes = Changes::new();
    changes.link_up(LOOPBACK);
    pod.apply(changes)
}

//! One network of a pod, validated.

use super::journal::CONF_DIR;
use crate::attachment::Paths;
use crate::cni::{CniResult, exec};
use crate::config::Network;
use crate::error::{Error, Result};
use crate::info::NetInfo;
use crate::inspect;
use crate::kind::{self, Driver};

/// Networks of one pod.
pub(super) const MOST_NETWORKS: usize = 256;

/// A network of a pod.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) index: usize,
    pub(super) network: Network,
    pub(super) ifname: String,
    pub(super) args: Vec<(String, String)>,
    pub(super) drivers: Vec<Box<dyn Driver>>,
}

impl Planned {
    pub(super) fn new(network: Network, index: usize, args: Vec<(String, String)>) -> Result<Self> {
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

    /// Looks for the outside plugins, before anything is touched.
    pub(super) fn find_plugins(&self, paths: &Paths) -> Result<()> {
        let ipam = inspect::ipam_types(&self.network);
        let types = self
            .network
            .plugins
            .iter()
            .map(|plugin| plugin.kind.as_str());
        for kind in types.chain(ipam.iter().map(String::as_str)) {
            if !kind.is_empty()
                && !inspect::is_builtin_type(kind)
                && paths.find_plugin(kind).is_none()
            {
                return Err(Error::missing_plugin(&self.network.name, kind, paths));
            }
        }
        Ok(())
    }

    /// Of the versions that the configuration suits, takes the newest that all its outside plugins
    /// speak: they are asked (CNI specification 1.1, "Version considerations"). A configuration for
    /// one version leaves nothing to choose, and nobody is asked.
    pub(super) fn settle_version(&mut self, paths: &Paths) -> Result<()> {
        let mut common = self.network.versions()?;
        if common.len() < 2 {
            return Ok(());
        }
        let ipam = inspect::ipam_types(&self.network);
        let types = self.network.plugins.iter().map(|plugin| &plugin.kind);
        let outside = types.chain(&ipam).filter(|kind| !kind.is_empty());
        for kind in outside.filter(|kind| !inspect::is_builtin_type(kind)) {
            let spoken = exec::versions(&self.network.name, kind, paths)?;
            common.retain(|version| spoken.iter().any(|other| other == version));
            if common.is_empty() {
                return Err(Error::Plugin {
                    network: self.network.name.clone(),
                    plugin: kind.clone(),
                    problem: format!(
                        "speaks CNI {}, none of which suits the configuration",
                        spoken.join(", ")
                    ),
                    code: 1,
                });
            }
        }
        match common.last() {
            Some(version) if self.network.cni_version != *version => self.network.settle(version),
            _ => Ok(()),
        }
    }

    /// The configuration's name in the pod's directory: in order, and never twice.
    pub(super) fn journal_name(&self) -> String {
        let ending = if self.network.is_list {
            "conflist"
        } else {
            "conf"
        };
        format!("{:03}-{}.{ending}", self.index, self.network.name)
    }

    pub(super) fn info(&self, result: Option<CniResult>) -> NetInfo {
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

/// The interface of a pod's network: in the order of the configuration files.
pub(super) fn ifname(index: usize) -> String {
    format!("eth{index}")
}

//! One network of a pod, validated.

use super::journal::CONF_DIR;
use crate::cni::CniResult;
use crate::config::Network;
use crate::error::Result;
use crate::info::NetInfo;
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

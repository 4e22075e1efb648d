//! `loopback`: the interface `lo`.

use super::Driver;
use crate::attachment::Attachment;
use crate::cni::{CniResult, Interface, IpConfig};
use crate::error::{Error, Result};
use crate::rtnl::{Changes, IFF_UP, LOOPBACK};

/// There is nothing to configure.
#[derive(Debug)]
pub(super) struct Loopback;

impl Driver for Loopback {
    fn set_up(&self, at: &mut Attachment<'_>, previous: Option<CniResult>) -> Result<CniResult> {
        let mut changes = Changes::new();
        changes.link_up(LOOPBACK);
        at.pod()?.apply(changes)?;
        if let Some(previous) = previous {
            return Ok(previous);
        }
        let mac = "00:00:00:00:00:00".to_owned();
        let sandbox = at.netns_path.to_owned();
        let own = at
            .pod()?
            .addresses()?
            .into_iter()
            .filter(|(link, _)| *link == LOOPBACK);
        Ok(CniResult {
            interfaces: vec![Interface {
                name: "lo".to_owned(),
                mac,
                mtu: 0,
                sandbox,
            }],
            ips: own
                .map(|(_, address)| IpConfig {
                    interface: Some(0),
                    address,
                    gateway: None,
                })
                .collect(),
            ..CniResult::default()
        })
    }

    fn check(&self, at: &mut Attachment<'_>, _result: &CniResult) -> Result<()> {
        match at.pod()?.need_link("lo")?.flags & IFF_UP {
            0 => Err(at.error("loopback", "lo is down")),
            _ => Ok(()),
        }
    }

    fn tear_down(&self, at: &mut Attachment<'_>, _result: Option<&CniResult>) -> Vec<Error> {
        if at.netns.is_none() || at.namespace_ends {
            return Vec::new();
        }
        let mut changes = Changes::new();
        changes.link_flags(LOOPBACK, 0, IFF_UP);
        at.pod()
            .and_then(|pod| pod.apply(changes))
            .err()
            .into_iter()
            .collect()
    }
}

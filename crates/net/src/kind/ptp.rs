//! `ptp`: a veth pair between the pod and the host, which routes.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Driver;
use super::common::{self, Common};
use crate::attachment::Attachment;
use crate::cidr::Cidr;
use crate::cni::CniResult;
use crate::config::Fields;
use crate::error::{Error, Result};
use crate::rtnl::{Changes, Link, LinkKind, NewLink, RouteSpec};

/// The configuration.
#[derive(Debug)]
pub(super) struct Ptp {
    common: Common,
}

impl Ptp {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self> {
        let common = Common::parse(fields)?;
        if common.ipam.is_none() {
            return Err(fields.error("ipam", "is missing: a ptp network needs addresses"));
        }
        if common.ipam.needs_link() {
            let problem = "dhcp does not work with ptp: there is no server on a link to this host";
            return Err(fields.error("ipam", problem));
        }
        Ok(Self { common })
    }

    /// Makes the pair, the pod's end right in the pod's namespace, in one message.
    fn pair(&self, at: &mut Attachment<'_>) -> Result<Link> {
        let name = at.host_ifname();
        let peer_mac = at.wanted_mac()?;
        let (netns, ifname) = (at.need_netns()?, at.ifname);
        let mut changes = Changes::new();
        changes.new_link(&NewLink {
            name: &name,
            kind: LinkKind::Veth {
                peer: ifname,
                netns,
                peer_mac,
            },
            mtu: self.common.mtu,
            mac: None,
            master: None,
            group: 0,
        });
        changes.read_link(&name);
        let found = at.host()?.apply_and_read(changes)?;
        let [link] = common::links(at, found)?;
        Ok(link)
    }

    /// The pod reaches its gateway over the link, and its subnet through the gateway.
    fn configure_pod(
        &self,
        at: &mut Attachment<'_>,
        link: u32,
        result: &CniResult,
    ) -> Result<Link> {
        let mut changes = Changes::new();
        changes.link_up(link);
        for ip in &result.ips {
            changes.address(link, ip.address, false);
            if let Some(gateway) = ip.gateway {
                let own = ip.address.addr;
                changes.route(&RouteSpec::new(Cidr::host(gateway), link).from(own));
                let subnet = RouteSpec::new(ip.address.network(), link);
                changes.route(&subnet.via(gateway).from(own));
            }
        }
        common::routes(&mut changes, link, result);
        changes.read_link(at.ifname);
        let found = at.pod()?.apply_and_read(changes)?;
        let [link] = common::links(at, found)?;
        Ok(link)
    }

    fn configure_host(&self, at: &mut Attachment<'_>, link: u32, result: &CniResult) -> Result<()> {
        /// A pod that had the address before may still be going: the kernel takes 20 ms for it.
        const PATIENCE: Duration = Duration::from_secs(1);
        let end = Instant::now() + PATIENCE;
        let mut changes = Changes::new();
        let mut routes = Vec::new();
        for ip in &result.ips {
            let mut route = RouteSpec::new(Cidr::host(ip.address.addr), link);
            if let Some(gateway) = ip.gateway {
                changes.address(link, Cidr::host(gateway), true);
                route = route.from(gateway);
            }
            routes.push(route);
        }
        at.host()?.apply(changes)?;
        for route in routes {
            loop {
                let mut changes = Changes::new();
                changes.new_route(&route);
                match at.host()?.apply(changes) {
                    Err(error) if error.errno() == Some(Errno::EXIST) => {
                        if end <= Instant::now() {
                            let addr = route.dst.addr;
                            let problem =
                                format!("{addr} is in use in another network of this host");
                            return Err(at.error("ptp", problem));
                        }
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    applied => break applied?,
                }
            }
        }
        Ok(())
    }
}

impl Driver for Ptp {
    fn set_up(&self, at: &mut Attachment<'_>, _previous: Option<CniResult>) -> Result<CniResult> {
        let mut result = self.common.allocate(at)?;
        let host = self.pair(at)?;
        let peer = host
            .peer
            .ok_or_else(|| at.error("ptp", "the new interface has no other end"))?;
        let pod = self.configure_pod(at, peer, &result)?;
        self.configure_host(at, host.index, &result)?;
        if !self.common.ip_masq && !result.routes.is_empty() {
            common::forward(&result)?;
        }
        self.common.masquerade(at, &result)?;
        result.interfaces = vec![
            common::interface(&host, ""),
            common::interface(&pod, at.netns_path),
        ];
        result.ips.iter_mut().for_each(|ip| ip.interface = Some(1));
        Ok(result)
    }

    fn check(&self, at: &mut Attachment<'_>, result: &CniResult) -> Result<()> {
        let name = at.host_ifname();
        at.host()?.need_link(&name)?;
        common::check_pod(at, "ptp", result)
    }

    fn tear_down(&self, at: &mut Attachment<'_>, result: Option<&CniResult>) -> Vec<Error> {
        let mut errors = self.common.release(at, result);
        errors.extend(at.remove_host_end().err());
        errors
    }

    fn masquerades(&self) -> bool {
        self.common.ip_masq
    }
}

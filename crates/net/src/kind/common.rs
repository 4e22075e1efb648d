//! What the network types have in common.

use std::os::fd::AsFd;

use crate::attachment::{Attachment, Kernel};
use crate::cni::{CniResult, Dns, Interface};
use crate::config::Fields;
use crate::error::{Error, Result};
use crate::ipam::dhcp::{self, Dhcp};
use crate::ipam::{self, Ipam};
use crate::nft::Entry;
use crate::rtnl::{Changes, Link, RouteSpec};

/// The fields that nearly all types have.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) mtu: u32,
    pub(super) ip_masq: bool,
    pub(super) ipam: Ipam,
    pub(super) dns: Dns,
}

impl Common {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self> {
        Ok(Self {
            mtu: fields.u32("mtu", 65536)?.unwrap_or_default(),
            ip_masq: fields.flag("ipMasq")?,
            ipam: Ipam::parse(fields)?,
            dns: ipam::dns(fields)?,
        })
    }

    /// Addresses and name servers for a pod.
    pub(super) fn allocate(&self, at: &mut Attachment<'_>) -> Result<CniResult> {
        let mut result = self.ipam.allocate(at)?;
        if !self.dns.is_empty() {
            result.dns = self.dns.clone();
        }
        Ok(result)
    }

    /// Masquerades the pod's addresses, if wanted.
    pub(super) fn masquerade(&self, at: &mut Attachment<'_>, result: &CniResult) -> Result<()> {
        if !self.ip_masq {
            return Ok(());
        }
        forward(result)?;
        let owner = at.owner();
        at.firewall()?.add(&masquerade_entries(result), &owner)
    }

    /// Gives a DHCP lease back that outlived the pod's interface: over one that `make` makes for
    /// this in a namespace of its own. Where that cannot be done any more, because the host's
    /// interface is gone for instance, the lease ends by itself.
    pub(super) fn release_late(
        &self,
        at: &mut Attachment<'_>,
        make: impl FnOnce(&mut Attachment<'_>) -> Result<()>,
    ) -> Result<()> {
        const IFNAME: &str = "release0";
        let Ipam::Dhcp(_) = &self.ipam else {
            return Ok(());
        };
        let (Some(record), None) = (Dhcp::owed(at)?, at.netns) else {
            return Ok(());
        };
        let netns = sandbox::netns::create().map_err(crate::rtnl::kernel(
            "make a network namespace for a last word",
        ))?;
        let mut kernel = Kernel::default();
        let mut there = at.elsewhere(netns.as_fd(), IFNAME, &mut kernel);
        if make(&mut there).is_ok() {
            dhcp::send_release(&mut there, &record, true);
            let host_end = there.host_ifname();
            there.host()?.delete_link(&host_end)?;
        }
        Ok(())
    }

    /// Takes the masquerading away and gives the addresses back, in that order: a lease that is
    /// still there tells who used the address.
    pub(super) fn release(
        &self,
        at: &mut Attachment<'_>,
        result: Option<&CniResult>,
    ) -> Vec<Error> {
        let mut errors = Vec::new();
        if self.ip_masq {
            errors.extend(unmasquerade(at, result).err());
        }
        errors.extend(self.ipam.release(at, result).err());
        errors
    }
}

fn unmasquerade(at: &mut Attachment<'_>, result: Option<&CniResult>) -> Result<()> {
    let entries = match result {
        Some(result) => masquerade_entries(result),
        None => {
            let owner = at.owner();
            let mut owned = at.firewall()?.owned(|other| other == owner)?;
            owned.retain(|entry| matches!(entry, Entry::Masquerade { .. }));
            owned
        }
    };
    at.firewall()?.remove(&entries)
}

fn masquerade_entries(result: &CniResult) -> Vec<Entry> {
    result
        .ips
        .iter()
        .map(|ip| Entry::Masquerade { pod: ip.address })
        .collect()
}

/// Makes the host a router for the families of the addresses.
pub(crate) fn forward(result: &CniResult) -> Result<()> {
    for (v4, path) in [
        (true, "/proc/sys/net/ipv4/ip_forward"),
        (false, "/proc/sys/net/ipv6/conf/all/forwarding"),
    ] {
        if result.ips.iter().any(|ip| ip.address.addr.is_ipv4() == v4) {
            crate::sysctl::set(path, "1")?;
        }
    }
    Ok(())
}

/// Adds the addresses with their networks, and the routes, to the pod's interface.
pub(crate) fn addresses_and_routes(changes: &mut Changes, link: u32, result: &CniResult) {
    for ip in &result.ips {
        changes.address(link, ip.address, true);
    }
    routes(changes, link, result);
}

/// Adds the routes of a result to the pod's interface.
pub(super) fn routes(changes: &mut Changes, link: u32, result: &CniResult) {
    for route in &result.routes {
        let gateways = result.ips.iter().filter_map(|ip| ip.gateway);
        let mut gateways = gateways.filter(|gw| gw.is_ipv4() == route.dst.addr.is_ipv4());
        let on_link = route.scope == Some(crate::rtnl::SCOPE_LINK);
        let via = route
            .gw
            .or_else(|| if on_link { None } else { gateways.next() });
        changes.route(&RouteSpec {
            via,
            mtu: route.mtu,
            advmss: route.advmss,
            priority: route.priority,
            table: route.table,
            scope: route.scope,
            ..RouteSpec::new(route.dst, link)
        });
    }
}

/// The description of an interface for a result.
pub(super) fn interface(link: &Link, sandbox: &str) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: link.mac.clone().unwrap_or_default(),
        mtu: link.mtu,
        sandbox: sandbox.to_owned(),
    }
}

/// The links that were read must be `N`.
pub(super) fn links<const N: usize>(at: &Attachment<'_>, links: Vec<Link>) -> Result<[Link; N]> {
    links
        .try_into()
        .map_err(|_| at.error("netlink", "the kernel did not show the interfaces"))
}

/// Removes the pod's interface on whichever side it can be reached. The namespace may be gone,
/// and the interface with it.
pub(super) fn remove_interface(at: &mut Attachment<'_>) -> Result<()> {
    if at.netns.is_none() || at.namespace_ends {
        return Ok(());
    }
    let name = at.ifname.to_owned();
    at.pod()?.delete_link(&name)
}

/// Checks that the pod's interface is there with the result's addresses and routes.
pub(super) fn check_pod(at: &mut Attachment<'_>, plugin: &str, result: &CniResult) -> Result<()> {
    let name = at.ifname.to_owned();
    let link = at.pod()?.need_link(&name)?;
    let present = at.pod()?.addresses()?;
    for ip in &result.ips {
        if !present.contains(&(link.index, ip.address)) {
            return Err(at.error(
                plugin,
                format!("{name} has lost its address {}", ip.address),
            ));
        }
    }
    for route in &result.routes {
        if !at.pod()?.has_route(route.dst, link.index)? {
            return Err(at.error(
                plugin,
                format!("{name} has lost its route to {}", route.dst),
            ));
        }
    }
    Ok(())
}

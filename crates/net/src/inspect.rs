//! What a person asks about a network: where it is from, what it is made of, who uses it.

use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::Value;

use crate::attachment::{Attachment, Paths};
use crate::config::{Network, PluginConf};
use crate::error::Result;
use crate::ipam::dhcp;
use crate::ipam::host_local::lease;
use crate::kind;

/// An address of a network that is given to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressInUse {
    /// The address.
    pub addr: IpAddr,
    /// The container's id: for rkt the pod's UUID. Empty where the lease is being written.
    pub container: String,
    /// The interface in the container; empty in leases of old plugins.
    pub interface: String,
}

/// The addresses of a network that are in use, in order, as far as this host gives them out or
/// has been given them by a DHCP server.
///
/// # Errors
/// The leases cannot be read.
pub fn addresses_in_use(network: &Network, paths: &Paths) -> Result<Vec<AddressInUse>> {
    let mut found = Vec::new();
    for place in places(network, paths) {
        for lease in lease::list(&place)? {
            found.push(AddressInUse {
                addr: lease.addr,
                container: lease.container,
                interface: lease.interface,
            });
        }
    }
    for lease in dhcp::leases(&paths.leases.join(&network.name))? {
        found.push(AddressInUse {
            addr: lease.address.addr,
            container: lease.container,
            interface: lease.interface,
        });
    }
    found.sort_by_key(|used| used.addr);
    Ok(found)
}

/// The addresses of an attachment, as far as its leases on this host tell.
pub(crate) fn leased_to(at: &Attachment<'_>) -> Result<Vec<IpAddr>> {
    let directory = at.paths.leases.join(at.network);
    let leases = lease::list(&directory)?.into_iter();
    let own = leases.filter(|lease| lease.is_of(at.container, at.ifname));
    let mut found: Vec<IpAddr> = own.map(|lease| lease.addr).collect();
    let leases = dhcp::leases(&directory)?.into_iter();
    let own = leases.filter(|l| l.container == at.container && l.interface == at.ifname);
    found.extend(own.map(|lease| lease.address.addr));
    Ok(found)
}

/// The directories that may have leases of a network.
pub(crate) fn places(network: &Network, paths: &Paths) -> Vec<PathBuf> {
    let own = network.plugins.iter().filter_map(|plugin| {
        let directory = ipam(plugin)?.get("dataDir")?.as_str()?;
        (!directory.is_empty()).then(|| directory.into())
    });
    let mut places: Vec<PathBuf> = own.chain([paths.leases.clone()]).collect();
    places
        .iter_mut()
        .for_each(|place| place.push(&network.name));
    places.dedup();
    places
}

/// The types of address management of a network, each once.
#[must_use]
pub fn ipam_types(network: &Network) -> Vec<String> {
    let types = network.plugins.iter().filter_map(|plugin| {
        let kind = ipam(plugin)?.get("type")?.as_str()?;
        Some(kind.to_owned())
    });
    let mut types: Vec<String> = types.collect();
    types.dedup();
    types
}

/// The subnets that a network's configuration gives addresses out of.
#[must_use]
pub fn subnets(network: &Network) -> Vec<String> {
    let mut found = Vec::new();
    let mut take = |range: &Value| {
        let subnet = range.get("subnet").and_then(Value::as_str);
        found.extend(subnet.map(str::to_owned));
    };
    for ipam in network.plugins.iter().filter_map(ipam) {
        take(ipam);
        let sets = ipam.get("ranges").and_then(Value::as_array);
        let ranges = sets.into_iter().flatten().filter_map(Value::as_array);
        ranges.flatten().for_each(&mut take);
    }
    found
}

/// Whether rkt has that network type, or type of address management, itself.
#[must_use]
pub fn is_builtin_type(kind: &str) -> bool {
    kind::BUILTIN.contains(&kind) || matches!(kind, "dhcp" | "host-local" | "static")
}

fn ipam(plugin: &PluginConf) -> Option<&Value> {
    plugin.fields.get("ipam")
}

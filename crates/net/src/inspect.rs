//! What a person asks about a network: where it is from, what it is made of, who uses it.

use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::Value;

use crate::attachment::{Attachment, Paths};
use crate::cidr::Cidr;
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

impl AddressInUse {
    /// Whether a container's interface has it.
    pub(crate) fn is_of(&self, container: &str, interface: &str) -> bool {
        self.container == container && (self.interface.is_empty() || self.interface == interface)
    }
}

/// The addresses of a network that are in use, in order, as far as this host gives them out or
/// has been given them by a DHCP server.
///
/// # Errors
/// The leases cannot be read.
pub fn addresses_in_use(network: &Network, paths: &Paths) -> Result<Vec<AddressInUse>> {
    let mut found = Vec::new();
    for place in places(network, paths) {
        found.extend(lease::list(&place)?);
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

/// The addresses that an attachment has, or would have been given: from its leases on this host, and
/// where no leases are written from the configuration and the arguments.
pub(crate) fn addresses_of(at: &Attachment<'_>) -> Result<Vec<IpAddr>> {
    let used = addresses_in_use(at.network, at.paths)?.into_iter();
    let own = used.filter(|used| used.is_of(at.container, at.ifname));
    let mut found: Vec<IpAddr> = own.map(|used| used.addr).collect();
    found.extend(fixed(at.network, &at.runtime.ips));
    Ok(found)
}

/// The addresses of `static`: those that were asked for, else the configured ones.
fn fixed(network: &Network, asked: &[String]) -> Vec<IpAddr> {
    let is_static = |ipam: &&Value| ipam.get("type").and_then(Value::as_str) == Some("static");
    let ipams = || network.plugins.iter().filter_map(ipam).filter(is_static);
    let address = |text: &str| text.parse::<Cidr>().ok().map(|cidr| cidr.addr);
    if !asked.is_empty() && ipams().next().is_some() {
        return asked.iter().filter_map(|text| address(text)).collect();
    }
    let configured = ipams().filter_map(|ipam| ipam.get("addresses")?.as_array());
    let texts = configured
        .flatten()
        .filter_map(|entry| entry.get("address")?.as_str());
    texts.filter_map(address).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_leases_are_the_configured_or_the_asked_ones() {
        let found = |ipam: &str, asked: &[&str]| {
            let text = format!(
                r#"{{"cniVersion":"1.0.0","name":"n","plugins":[{{"type":"ptp","ipam":{ipam}}},{{"type":"firewall"}}]}}"#
            );
            let network = Network::parse("n.conflist".as_ref(), &text).unwrap();
            let asked: Vec<String> = asked.iter().map(|text| (*text).to_owned()).collect();
            let found = fixed(&network, &asked).into_iter();
            found.map(|addr| addr.to_string()).collect::<Vec<_>>()
        };
        let fixed =
            r#"{"type":"static","addresses":[{"address":"10.1.0.2/24"},{"address":"fd00::2/64"}]}"#;
        assert_eq!(found(fixed, &[]), ["10.1.0.2", "fd00::2"]);
        assert_eq!(found(fixed, &["10.1.0.9/24"]), ["10.1.0.9"]);
        let leased = r#"{"type":"host-local","subnet":"10.1.0.0/24"}"#;
        assert!(found(leased, &["10.1.0.9"]).is_empty());
    }
}

//! CNI's GC: removes what belongs to no attachment that the runtime still knows.

use serde_json::Value;

use crate::attachment::{Attachment, host_ifname};
use crate::config::Network;
use crate::error::Result;
use crate::inspect::{AddressInUse, addresses_in_use};
use crate::ipam;

/// The attachments that are to stay, in the configuration (CNI specification 1.1, "GC").
const VALID: &str = "cni.dev/valid-attachments";

/// Removes leases, firewall entries and interfaces of the network's other attachments.
pub(super) fn collect(at: &mut Attachment<'_>, network: &Network) -> Result<()> {
    let valid = at.conf.get(VALID).and_then(Value::as_array);
    let valid: Vec<(&str, &str)> = valid
        .into_iter()
        .flatten()
        .filter_map(|one| {
            Some((
                one.get("containerID")?.as_str()?,
                one.get("ifname")?.as_str()?,
            ))
        })
        .collect();
    let is_stale = |used: &AddressInUse| {
        let of = |(container, ifname): &(&str, &str)| {
            used.container == *container && (used.interface.is_empty() || used.interface == *ifname)
        };
        !valid.iter().any(of)
    };
    let mut stale = addresses_in_use(network, at.paths)?;
    stale.retain(is_stale);
    if stale.is_empty() {
        return Ok(());
    }
    let owners: Vec<String> = stale
        .iter()
        .map(|used| format!("{}/{}", used.container, used.interface))
        .collect();
    let entries = at
        .firewall()?
        .owned(|owner| owners.iter().any(|o| o == owner))?;
    at.firewall()?.remove(&entries)?;
    for used in &stale {
        let host_end = host_ifname(&used.container, &used.interface);
        at.host()?.delete_link(&host_end)?;
        at.host()?
            .delete_link(&crate::kind::bandwidth::ifb_of(&host_end))?;
    }
    // The leases last: as long as they are there, this can be done again.
    for used in &stale {
        ipam::forget(network, at.paths, used)?;
    }
    Ok(())
}

//! Address management: which addresses, gateway and routes a pod gets.

pub(crate) mod dhcp;
pub(crate) mod host_local;
mod routes;
mod static_;

pub(crate) use routes::parse as parse_routes;

use crate::attachment::{Attachment, Paths};
use crate::cni::{CniResult, Dns};
use crate::config::{Fields, Network};
use crate::error::{Error, Result};
use crate::inspect::{self, AddressInUse};

/// The address management of one plugin configuration.
#[derive(Debug)]
pub(crate) enum Ipam {
    /// No addresses: the network is of layer 2 only.
    None,
    Dhcp(dhcp::Dhcp),
    HostLocal(host_local::HostLocal),
    Static(static_::Static),
    /// An outside plugin.
    Outside(String),
}

impl Ipam {
    /// Reads the `ipam` object of a plugin's configuration.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self> {
        let Some(ipam) = fields.object("ipam")? else {
            return Ok(Self::None);
        };
        let Some(kind) = ipam.text("type")?.filter(|kind| !kind.is_empty()) else {
            return Ok(Self::None);
        };
        let builtin = Self::builtin(kind, &ipam);
        builtin.unwrap_or_else(|| Ok(Self::Outside(kind.to_owned())))
    }

    /// A built-in address management, configured by the `ipam` object; `None` if there is none of
    /// that name.
    pub(crate) fn builtin(kind: &str, ipam: &Fields<'_>) -> Option<Result<Self>> {
        Some(match kind {
            "dhcp" => dhcp::Dhcp::parse(ipam).map(Self::Dhcp),
            "host-local" => host_local::HostLocal::parse(ipam).map(Self::HostLocal),
            "static" => static_::Static::parse(ipam).map(Self::Static),
            _ => return None,
        })
    }

    /// Whether addresses are expected at all.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether the pod's interface must be there, and up, before an address is asked for.
    pub(crate) fn needs_link(&self) -> bool {
        // An outside plugin may be a DHCP client, too.
        match self {
            Self::Dhcp(_) => true,
            Self::Outside(kind) => kind.ends_with("dhcp"),
            _ => false,
        }
    }

    /// Gets addresses, routes and name servers.
    pub(crate) fn allocate(&self, at: &mut Attachment<'_>) -> Result<CniResult> {
        let result = match self {
            Self::None => return Ok(CniResult::default()),
            Self::Dhcp(ipam) => ipam.allocate(at)?,
            Self::HostLocal(ipam) => ipam.allocate(at)?,
            Self::Static(ipam) => ipam.allocate(at)?,
            Self::Outside(kind) => crate::cni::exec::delegate_add(at, kind)?,
        };
        if result.ips.is_empty() {
            return Err(Error::Address {
                network: at.network.name.clone(),
                problem: "the address management gave no address".to_owned(),
            });
        }
        Ok(result)
    }

    /// Gives back what [`Ipam::allocate`] got; nothing to give back is no error.
    pub(crate) fn release(&self, at: &mut Attachment<'_>, had: Option<&CniResult>) -> Result<()> {
        match self {
            Self::None | Self::Static(_) => Ok(()),
            Self::Dhcp(_) => dhcp::Dhcp::release(at),
            Self::HostLocal(ipam) => ipam.release(at, had),
            Self::Outside(kind) => crate::cni::exec::delegate_del(at, kind),
        }
    }
}

/// Removes the lease of an address whose owner is gone. A DHCP server is not told: its lease ends
/// by itself.
pub(crate) fn forget(network: &Network, paths: &Paths, used: &AddressInUse) -> Result<()> {
    for place in inspect::places(network, paths) {
        host_local::lease::release(&place, used.addr, &used.container, &used.interface)?;
        dhcp::forget(&place, &used.container, &used.interface)?;
    }
    Ok(())
}

/// A plugin's own `dns` field goes before what its address management says.
pub(crate) fn dns(fields: &Fields<'_>) -> Result<Dns> {
    let _ = fields.object("dns")?;
    Ok(fields.value("dns").map(Dns::from_json).unwrap_or_default())
}

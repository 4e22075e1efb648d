//! Address management: which addresses, gateway and routes a pod gets.

pub(crate) mod host_local;
mod routes;
mod static_;

pub(crate) use routes::parse as parse_routes;

use crate::attachment::Attachment;
use crate::cni::{CniResult, Dns};
use crate::config::Fields;
use crate::error::{Error, Result};

/// The address management of one plugin configuration.
#[derive(Debug)]
pub(crate) enum Ipam {
    /// No addresses: the network is of layer 2 only.
    None,
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
        match ipam.text("type")? {
            None | Some("") => Ok(Self::None),
            Some("host-local") => Ok(Self::HostLocal(host_local::HostLocal::parse(&ipam)?)),
            Some("static") => Ok(Self::Static(static_::Static::parse(&ipam)?)),
            Some(other) => Ok(Self::Outside(other.to_owned())),
        }
    }

    /// Whether addresses are expected at all.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Gets addresses, routes and name servers.
    pub(crate) fn allocate(&self, at: &mut Attachment<'_>) -> Result<CniResult> {
        let result = match self {
            Self::None => return Ok(CniResult::default()),
            Self::HostLocal(ipam) => ipam.allocate(at)?,
            Self::Static(ipam) => ipam.allocate(at)?,
            Self::Outside(kind) => crate::cni::exec::delegate_add(at, kind)?,
        };
        if result.ips.is_empty() {
            return Err(Error::Address {
                network: at.network.to_owned(),
                problem: "the address management gave no address".to_owned(),
            });
        }
        Ok(result)
    }

    /// Gives back what [`Ipam::allocate`] got; nothing to give back is no error.
    pub(crate) fn release(&self, at: &mut Attachment<'_>, had: Option<&CniResult>) -> Result<()> {
        match self {
            Self::None | Self::Static(_) => Ok(()),
            Self::HostLocal(ipam) => ipam.release(at, had),
            Self::Outside(kind) => crate::cni::exec::delegate_del(at, kind),
        }
    }
}

/// A plugin's own `dns` field goes before what its address management says.
pub(crate) fn dns(fields: &Fields<'_>) -> Result<Dns> {
    let _ = fields.object("dns")?;
    Ok(fields.value("dns").map(Dns::from_json).unwrap_or_default())
}

//! `static`: the addresses that the configuration, or the arguments, name.

use std::net::IpAddr;

use crate::attachment::Attachment;
use crate::cidr::Cidr;
use crate::cni::{CniResult, Dns, IpConfig, Route};
use crate::config::Fields;
use crate::error::{Error, Result};

/// The configuration.
#[derive(Debug)]
pub(crate) struct Static {
    addresses: Vec<(Cidr, Option<IpAddr>)>,
    routes: Vec<Route>,
    dns: Dns,
}

impl Static {
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self> {
        let mut addresses = Vec::new();
        for entry in fields.objects("addresses")? {
            let Some(address) = entry.cidr("address")? else {
                return Err(entry.error("address", "is missing"));
            };
            addresses.push((address, entry.addr("gateway")?));
        }
        Ok(Self {
            addresses,
            routes: super::parse_routes(fields)?,
            dns: super::dns(fields)?,
        })
    }

    pub(crate) fn allocate(&self, at: &mut Attachment<'_>) -> Result<CniResult> {
        let wrong = |problem: String| Error::Address {
            network: at.network.name.clone(),
            problem,
        };
        let gateways: Vec<IpAddr> = match at.arg("GATEWAY") {
            Some(text) => text
                .split(',')
                .map(|one| {
                    one.parse()
                        .map_err(|_| wrong(format!("GATEWAY={text} is no address")))
                })
                .collect::<Result<_>>()?,
            None => Vec::new(),
        };
        let wanted = at
            .arg("IP")
            .map(|text| text.split(',').map(str::to_owned).collect());
        let wanted: Vec<String> = wanted.unwrap_or_else(|| at.runtime.ips.clone());
        let mut addresses = Vec::new();
        for text in &wanted {
            let address: Cidr = text
                .parse()
                .map_err(|p| wrong(format!("address {text:?}: {p}")))?;
            let gateway = gateways
                .iter()
                .find(|gateway| address.contains(**gateway))
                .copied();
            addresses.push((address, gateway));
        }
        if addresses.is_empty() {
            addresses.clone_from(&self.addresses);
        }
        let ips = addresses.into_iter().map(|(address, gateway)| IpConfig {
            interface: None,
            address,
            gateway,
        });
        Ok(CniResult {
            ips: ips.collect(),
            routes: self.routes.clone(),
            dns: self.dns.clone(),
            ..CniResult::default()
        })
    }
}

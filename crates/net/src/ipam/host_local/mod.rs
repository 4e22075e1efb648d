//! `host-local`: addresses out of ranges, handed out in turn; the leases are files.

pub(crate) mod lease;
mod range;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::attachment::Attachment;
use crate::cni::{CniResult, Dns, IpConfig, Route};
use crate::config::Fields;
use crate::error::{Error, Result};
use lease::Leases;
use range::{Range, RangeSet};

/// Where CNI's reference plugins keep leases, a directory for each network.
pub(crate) const STATE: &str = "/var/lib/cni/networks";

/// The configuration.
#[derive(Debug)]
pub(crate) struct HostLocal {
    sets: Vec<RangeSet>,
    routes: Vec<Route>,
    dns: Dns,
    data_dir: Option<PathBuf>,
}

impl HostLocal {
    /// Reads `subnet` with its companions, or `ranges`, or both; `routes`, `dataDir`,
    /// `resolvConf`.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self> {
        let mut sets = Vec::new();
        if fields.value("subnet").is_some() {
            sets.push(RangeSet(vec![Range::parse(fields)?]));
        }
        for (index, set) in fields.list("ranges")?.iter().enumerate() {
            sets.push(parse_set(fields, index, set)?);
        }
        if sets.is_empty() {
            return Err(fields.error("subnet", "is missing (and so are ranges)"));
        }
        for set in &sets {
            if let Some((a, b)) = set.conflict() {
                let problem = format!("{} and {} overlap or mix families", a.subnet, b.subnet);
                return Err(fields.error("ranges", problem));
            }
        }
        let dns = match fields.text("resolvConf")? {
            Some(path) if !path.is_empty() => {
                let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
                resolv_conf(&text)
            }
            _ => Dns::default(),
        };
        Ok(Self {
            sets,
            routes: super::parse_routes(fields)?,
            dns,
            data_dir: fields
                .text("dataDir")?
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from),
        })
    }

    /// Where the leases of the attachment's network are.
    fn directory(&self, at: &Attachment<'_>) -> PathBuf {
        let state = self
            .data_dir
            .as_deref()
            .unwrap_or(Path::new(&at.paths.leases));
        state.join(&at.network.name)
    }

    pub(crate) fn allocate(&self, at: &mut Attachment<'_>) -> Result<CniResult> {
        let mut wanted = wanted(at)?;
        let of_none = |addr: &&IpAddr| self.sets.iter().all(|set| set.range_of(**addr).is_none());
        if let Some(other) = wanted.iter().find(of_none) {
            let problem = format!("address {other} is not in its ranges");
            return Err(Error::Address {
                network: at.network.name.clone(),
                problem,
            });
        }
        let directory = self.directory(at);
        let leases = Leases::lock(&directory)?;
        let mut result = CniResult {
            routes: self.routes.clone(),
            dns: self.dns.clone(),
            ..CniResult::default()
        };
        for (index, set) in self.sets.iter().enumerate() {
            let asked = wanted.iter().position(|addr| set.range_of(*addr).is_some());
            let asked = asked.map(|place| wanted.swap_remove(place));
            match take(&leases, index, set, asked, at) {
                Ok(ip) => result.ips.push(ip),
                Err(error) => {
                    drop(leases);
                    self.release(at, Some(&result))?;
                    return Err(error);
                }
            }
        }
        Ok(result)
    }

    /// Gives back the leases in `had`; all of the container's interface when that is not known.
    pub(crate) fn release(&self, at: &Attachment<'_>, had: Option<&CniResult>) -> Result<()> {
        let directory = self.directory(at);
        let Some(had) = had else {
            return self.release_all(&directory, at);
        };
        had.ips
            .iter()
            .try_for_each(|ip| lease::release(&directory, ip.address.addr, at.container, at.ifname))
    }

    /// After a kill: what names the container's interface, and what names nobody, because it was
    /// being written; under the lock nobody else's is.
    fn release_all(&self, directory: &Path, at: &Attachment<'_>) -> Result<()> {
        if !directory.exists() {
            return Ok(());
        }
        let _lock = Leases::lock(directory)?;
        let leases = lease::list(directory)?.into_iter();
        let mut gone =
            leases.filter(|l| l.container.is_empty() || l.is_of(at.container, at.ifname));
        gone.try_for_each(|lease| lease::remove(directory, lease.addr))
    }
}

fn parse_set(fields: &Fields<'_>, index: usize, set: &serde_json::Value) -> Result<RangeSet> {
    let name = format!("ranges[{index}]");
    let Some(list) = set.as_array().filter(|list| !list.is_empty()) else {
        return Err(fields.error(&name, "must be a list of at least one range"));
    };
    let ranges = list
        .iter()
        .enumerate()
        .map(|(place, range)| match range.as_object() {
            Some(map) => Range::parse(&fields.entry(&name, place, map)),
            None => Err(fields.error(&format!("{name}[{place}]"), "must be an object")),
        });
    Ok(RangeSet(ranges.collect::<Result<_>>()?))
}

fn take(
    leases: &Leases,
    index: usize,
    set: &RangeSet,
    asked: Option<IpAddr>,
    at: &Attachment<'_>,
) -> Result<IpConfig> {
    let failed = |problem: String| Error::Address {
        network: at.network.name.clone(),
        problem,
    };
    let taken = match asked {
        Some(addr) => {
            let range = set.range_of(addr).filter(|range| range.gateway != addr);
            let range = range.ok_or_else(|| failed(format!("address {addr} is the gateway's")))?;
            let one = std::iter::once((addr, range));
            let taken = leases.take(one, at.container, at.ifname)?;
            taken.ok_or_else(|| failed(format!("address {addr} is in use")))?
        }
        None => {
            let candidates = set.after(leases.last(index));
            let taken = leases.take(candidates, at.container, at.ifname)?;
            taken.ok_or_else(|| {
                let subnets: Vec<String> = set.0.iter().map(|r| r.subnet.to_string()).collect();
                failed(format!("no address is left in {}", subnets.join(", ")))
            })?
        }
    };
    let (addr, range) = taken;
    leases.remember(index, addr)?;
    Ok(IpConfig {
        interface: None,
        address: crate::cidr::Cidr {
            addr,
            prefix: range.subnet.prefix,
        },
        gateway: Some(range.gateway),
    })
}

/// Addresses that the pod's owner asked for: CNI's `IP=` argument and `ips` capability.
fn wanted(at: &Attachment<'_>) -> Result<Vec<IpAddr>> {
    let args = at.arg("IP").into_iter().flat_map(|text| text.split(','));
    let capability = at.runtime.ips.iter().map(String::as_str);
    args.chain(capability)
        .filter(|text| !text.is_empty())
        .map(|text| {
            let addr = text.split_once('/').map_or(text, |(addr, _)| addr);
            addr.parse().map_err(|_| Error::Address {
                network: at.network.name.clone(),
                problem: format!("requested address {text:?} is not an IP address"),
            })
        })
        .collect()
}

/// The parts of a resolv.conf.
fn resolv_conf(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => dns.nameservers.extend(words.next()),
            Some("domain") => dns.domain = words.next().unwrap_or_default(),
            Some("search") => dns.search = words.collect(),
            Some("options") => dns.options.extend(words),
            _ => {}
        }
    }
    dns
}

//! `firewall`: lets the pod's traffic through filters of the host.
//!
//! On a host with firewalld the pod's addresses become sources of a zone, `trusted` if no other is
//! named, as long as the pod lives: in firewalld's state, not in its configuration.
//!
//! Elsewhere this type only makes the host a router for the pod. An accepting rule in one table
//! cannot overrule a refusing one in another: on hosts whose own filters drop forwarded packets
//! their configuration has to let the pods' pass.
//!
//! With the policy `same-bridge` no packet passes between two bridges that both have it.

use std::net::IpAddr;

use systemd::Firewalld;

use super::{Driver, forward};
use crate::attachment::Attachment;
use crate::cidr::Cidr;
use crate::cni::CniResult;
use crate::config::Fields;
use crate::error::{Error, Result};
use crate::inspect;
use crate::nft::{Entry, Ifname};

/// The configuration.
#[derive(Debug)]
pub(super) struct Firewall {
    backend: Backend,
    /// firewalld's zone for pods.
    zone: String,
    /// Pods of other bridges with this policy do not reach the pod (`ingressPolicy`).
    same_bridge: bool,
}

/// Whether firewalld is told (`backend`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    /// Where it is running.
    Any,
    Firewalld,
    /// Never: `iptables` in the reference plugin's words.
    Kernel,
}

impl Firewall {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self> {
        let backend = match fields.text("backend")? {
            None | Some("") => Backend::Any,
            Some("firewalld") => Backend::Firewalld,
            Some("iptables") => Backend::Kernel,
            Some(_) => return Err(fields.error("backend", "must be firewalld or iptables")),
        };
        let same_bridge = match fields.text("ingressPolicy")? {
            None | Some("" | "open") => false,
            Some("same-bridge") => true,
            Some(_) => return Err(fields.error("ingressPolicy", "must be open or same-bridge")),
        };
        let zone = fields
            .text("firewalldZone")?
            .filter(|zone| !zone.is_empty());
        Ok(Self {
            backend,
            zone: zone.unwrap_or("trusted").to_owned(),
            same_bridge,
        })
    }

    /// firewalld, where it is to be told and running.
    fn firewalld(&self, at: &Attachment<'_>) -> Result<Option<Firewalld>> {
        match self.backend {
            Backend::Kernel => Ok(None),
            _ => Firewalld::connect().map_err(|error| failed(at, "reach firewalld", &error)),
        }
    }

    /// Tells firewalld about each address.
    fn tell(
        at: &Attachment<'_>,
        addrs: &[IpAddr],
        what: &str,
        mut tell: impl FnMut(&str) -> Result<(), systemd::Error>,
    ) -> Result<()> {
        addrs.iter().try_for_each(|addr| {
            let source = Cidr::host(*addr).to_string();
            tell(&source).map_err(|error| failed(at, &format!("{what} {source}"), &error))
        })
    }
}

/// Isolates the pod with the bridge that a plugin before this one told of.
fn isolate(at: &mut Attachment<'_>, result: &CniResult) -> Result<()> {
    let mut bridge = None;
    for interface in result.interfaces.iter().filter(|i| i.sandbox.is_empty()) {
        let link = at.host()?.link(&interface.name)?;
        if link.is_some_and(|link| link.kind == "bridge") {
            bridge = Ifname::new(&interface.name);
        }
    }
    let problem = "ingressPolicy same-bridge: no plugin before this one made or named a bridge";
    let bridge = bridge.ok_or_else(|| at.error("firewall", problem))?;
    let pods = addresses(result).into_iter();
    let entries: Vec<Entry> = pods.map(|pod| Entry::Isolated { pod, bridge }).collect();
    let owner = at.owner();
    at.firewall()?.add(&entries, &owner)
}

/// The pod's entries of [`isolate`], as the kernel has them.
fn isolated(at: &mut Attachment<'_>) -> Result<Vec<Entry>> {
    let owner = at.owner();
    let mut owned = at.firewall()?.owned(|other| other == owner)?;
    owned.retain(|entry| matches!(entry, Entry::Isolated { .. }));
    Ok(owned)
}

fn failed(at: &Attachment<'_>, what: &str, error: &systemd::Error) -> Error {
    at.error("firewall", format!("cannot {what}: {error}"))
}

fn addresses(result: &CniResult) -> Vec<IpAddr> {
    result.ips.iter().map(|ip| ip.address.addr).collect()
}

impl Driver for Firewall {
    fn set_up(&self, at: &mut Attachment<'_>, previous: Option<CniResult>) -> Result<CniResult> {
        let previous =
            previous.ok_or_else(|| at.error("firewall", "must come after another plugin"))?;
        match self.firewalld(at)? {
            Some(mut firewalld) => {
                let what = "have firewalld let through";
                Self::tell(at, &addresses(&previous), what, |source| {
                    firewalld.add_source(&self.zone, source)
                })?;
            }
            None if self.backend == Backend::Firewalld => {
                return Err(at.error("firewall", "firewalld, its backend, is not running"));
            }
            None => {}
        }
        if self.same_bridge {
            isolate(at, &previous)?;
        }
        forward(&previous)?;
        Ok(previous)
    }

    fn check(&self, at: &mut Attachment<'_>, result: &CniResult) -> Result<()> {
        if self.same_bridge && isolated(at)?.len() < result.ips.len() {
            return Err(at.error("firewall", "the pod is not isolated any more"));
        }
        let Some(mut firewalld) = self.firewalld(at)? else {
            return Ok(());
        };
        for addr in addresses(result) {
            let source = Cidr::host(addr).to_string();
            let asked = firewalld.has_source(&self.zone, &source);
            if !asked.map_err(|error| failed(at, "ask firewalld", &error))? {
                let problem = format!("{source} is not in firewalld's zone {}", self.zone);
                return Err(at.error("firewall", problem));
            }
        }
        Ok(())
    }

    /// After a kill it is the leases that tell the addresses, which are given back later than this,
    /// and the configuration.
    fn tear_down(&self, at: &mut Attachment<'_>, result: Option<&CniResult>) -> Vec<Error> {
        let take_out = || {
            let Some(mut firewalld) = self.firewalld(at)? else {
                return Ok(());
            };
            let addrs = match result {
                Some(result) => addresses(result),
                None => inspect::addresses_of(at)?,
            };
            let what = "have firewalld forget";
            Self::tell(at, &addrs, what, |source| {
                firewalld.remove_source(&self.zone, source)
            })
        };
        let mut errors: Vec<Error> = take_out().err().into_iter().collect();
        if self.same_bridge {
            let removed = isolated(at).and_then(|entries| at.firewall()?.remove(&entries));
            errors.extend(removed.err());
        }
        errors
    }
}

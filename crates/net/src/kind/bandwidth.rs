//! `bandwidth`: limits what a pod sends and receives. Seen from the host's end of the pod's veth
//! pair, what the pod receives is sent there (a token bucket), and what the pod sends arrives
//! there: it is redirected through an `ifb` interface with a token bucket of its own.

use serde_json::{Value, json};

use super::{Driver, common};
use crate::attachment::Attachment;
use crate::cni::CniResult;
use crate::config::Fields;
use crate::error::{Error, Result};
use crate::rtnl::{Changes, LinkKind, NewLink};

/// Limits in bits a second, and bursts in bits; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// What the pod may receive.
    pub ingress_rate: u64,
    /// How much at once.
    pub ingress_burst: u64,
    /// What the pod may send.
    pub egress_rate: u64,
    /// How much at once.
    pub egress_burst: u64,
}

impl Limits {
    /// CNI's object for the `bandwidth` capability.
    #[must_use]
    pub(crate) fn to_json(self) -> Value {
        json!({
            "ingressRate": self.ingress_rate,
            "ingressBurst": self.ingress_burst,
            "egressRate": self.egress_rate,
            "egressBurst": self.egress_burst,
        })
    }

    /// In each direction the lower of two limits.
    fn lower(self, other: Self) -> Self {
        let lower = |a: (u64, u64), b: (u64, u64)| match (a.0, b.0) {
            (0, _) => b,
            (_, 0) => a,
            _ => a.min(b),
        };
        let (ingress_rate, ingress_burst) = lower(
            (self.ingress_rate, self.ingress_burst),
            (other.ingress_rate, other.ingress_burst),
        );
        let (egress_rate, egress_burst) = lower(
            (self.egress_rate, self.egress_burst),
            (other.egress_rate, other.egress_burst),
        );
        Self {
            ingress_rate,
            ingress_burst,
            egress_rate,
            egress_burst,
        }
    }

    fn parse(fields: &Fields<'_>) -> Result<Self> {
        let number = |field: &str| Ok(fields.number(field, 1 << 50)?.unwrap_or_default());
        Ok(Self {
            ingress_rate: number("ingressRate")?,
            ingress_burst: number("ingressBurst")?,
            egress_rate: number("egressRate")?,
            egress_burst: number("egressBurst")?,
        })
    }
}

/// The configuration.
#[derive(Debug)]
pub(super) struct Bandwidth {
    limits: Limits,
}

impl Bandwidth {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self> {
        let mut limits = Limits::parse(fields)?;
        let runtime = fields.object("runtimeConfig")?;
        if let Some(given) = runtime.and_then(|runtime| runtime.object("bandwidth").transpose()) {
            limits = Limits::parse(&given?)?;
        }
        Ok(Self { limits })
    }

    /// The network's limits, or the pod's where those are lower.
    fn limits(&self, at: &Attachment<'_>) -> Limits {
        self.limits.lower(at.runtime.bandwidth.unwrap_or_default())
    }
}

/// The burst where none is given: what passes in 10 ms, and at least a few packets.
fn burst(rate: u64, burst: u64) -> u64 {
    const FEW_PACKETS: u64 = 128 * 1024 * 8;
    if burst > 0 {
        burst
    } else {
        (rate / 100).max(FEW_PACKETS)
    }
}

/// Limits the pod whose attachment `result` describes.
pub(crate) fn limit(at: &mut Attachment<'_>, limits: Limits, result: &CniResult) -> Result<()> {
    let Some(host) = host_end(at, result)? else {
        return Err(at.error(
            "bandwidth",
            "the network has no interface on the host to limit",
        ));
    };
    let mut changes = Changes::new();
    if limits.ingress_rate > 0 {
        let burst = burst(limits.ingress_rate, limits.ingress_burst);
        changes.token_bucket(host, limits.ingress_rate, burst);
    }
    if limits.egress_rate > 0 {
        let name = ifb(at);
        let new = NewLink {
            name: &name,
            kind: LinkKind::Ifb,
            mtu: 0,
            mac: None,
            master: None,
            group: 0,
        };
        let mut make = Changes::new();
        make.new_link(&new).read_link(&name);
        let found = at.host()?.apply_and_read(make)?;
        let [ifb] = common::links(at, found)?;
        let burst = burst(limits.egress_rate, limits.egress_burst);
        changes.token_bucket(ifb.index, limits.egress_rate, burst);
        changes.redirect_incoming(host, ifb.index);
    }
    at.host()?.apply(changes)
}

/// The host's end of the pod's interface, found from the pod's side.
fn host_end(at: &mut Attachment<'_>, result: &CniResult) -> Result<Option<u32>> {
    let name = at.ifname.to_owned();
    let peer = at.pod()?.need_link(&name)?.peer;
    for interface in result.interfaces.iter().filter(|i| i.sandbox.is_empty()) {
        let link = at.host()?.link(&interface.name)?;
        if link.as_ref().is_some_and(|link| Some(link.index) == peer) {
            return Ok(peer);
        }
    }
    Ok(None)
}

/// Takes the limits away that do not go with the pod's interface.
pub(crate) fn unlimit(at: &mut Attachment<'_>) -> Result<()> {
    let name = ifb(at);
    at.host()?.delete_link(&name)
}

fn ifb(at: &Attachment<'_>) -> String {
    ifb_of(&at.host_ifname())
}

/// The name of the interface that limits what a pod with this host's end sends.
pub(crate) fn ifb_of(host_ifname: &str) -> String {
    host_ifname.replacen("veth", "rifb", 1)
}

impl Driver for Bandwidth {
    fn set_up(&self, at: &mut Attachment<'_>, previous: Option<CniResult>) -> Result<CniResult> {
        let previous =
            previous.ok_or_else(|| at.error("bandwidth", "must come after another plugin"))?;
        limit(at, self.limits(at), &previous)?;
        Ok(previous)
    }

    fn check(&self, at: &mut Attachment<'_>, _result: &CniResult) -> Result<()> {
        let name = ifb(at);
        match self.limits(at).egress_rate {
            0 => Ok(()),
            _ => at.host()?.need_link(&name).map(drop),
        }
    }

    fn tear_down(&self, at: &mut Attachment<'_>, _result: Option<&CniResult>) -> Vec<Error> {
        unlimit(at).err().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn of_two_limits_the_lower_holds() {
        let limits = |ingress_rate, egress_rate| Limits {
            ingress_rate,
            ingress_burst: ingress_rate * 2,
            egress_rate,
            egress_burst: egress_rate * 3,
        };
        let none = Limits::default();
        assert_eq!(limits(5, 0).lower(none), limits(5, 0));
        assert_eq!(none.lower(limits(5, 7)), limits(5, 7));
        assert_eq!(limits(5, 9).lower(limits(6, 8)), limits(5, 8));
        assert_eq!(limits(0, 9).lower(limits(6, 0)), limits(6, 9));
    }
}

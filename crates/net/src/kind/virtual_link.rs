//! `macvlan` and `ipvlan`: a pod's own link on top of one of the host's.

use super::Driver;
use super::common::{self, Common};
use crate::attachment::Attachment;
use crate::cni::CniResult;
use crate::config::Fields;
use crate::error::{Error, Result};
use crate::rtnl::{Changes, Link, LinkKind, NewLink};

/// A macvlan mode in which the pod takes the whole link over.
const PASSTHRU: u32 = 8;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Macvlan,
    Ipvlan,
}

/// The configuration.
#[derive(Debug)]
pub(super) struct VirtualLink {
    common: Common,
    kind: Type,
    /// The host's link; that of the default route if none is named.
    master: Option<String>,
    mode: u32,
}

impl VirtualLink {
    pub(super) fn parse(fields: &Fields<'_>, kind: Type) -> Result<Self> {
        let modes: &[(&str, u32)] = match kind {
            Type::Macvlan => &[
                ("bridge", 4),
                ("private", 1),
                ("vepa", 2),
                ("passthru", PASSTHRU),
            ],
            Type::Ipvlan => &[("l2", 0), ("l3", 1), ("l3s", 2)],
        };
        let wanted = fields.text("mode")?.filter(|mode| !mode.is_empty());
        let found = match wanted {
            None => modes.first(),
            Some(wanted) => modes.iter().find(|(name, _)| *name == wanted),
        };
        let Some((_, mode)) = found else {
            let names: Vec<&str> = modes.iter().map(|(name, _)| *name).collect();
            return Err(fields.error("mode", format!("must be one of {}", names.join(", "))));
        };
        let common = Common::parse(fields)?;
        if kind == Type::Ipvlan && common.ipam.needs_link() {
            let problem = "dhcp does not work with ipvlan, whose pods share a hardware address";
            return Err(fields.error("ipam", problem));
        }
        if kind == Type::Ipvlan && common.ipam.is_none() {
            return Err(fields.error("ipam", "is missing: an ipvlan network needs addresses"));
        }
        let master = fields
            .text("master")?
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        Ok(Self {
            common,
            kind,
            master,
            mode: *mode,
        })
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Type::Macvlan => "macvlan",
            Type::Ipvlan => "ipvlan",
        }
    }

    fn master(&self, at: &mut Attachment<'_>) -> Result<Link> {
        if let Some(name) = &self.master {
            return at.host()?.need_link(name);
        }
        let default = at.host()?.default_route_links()?.into_iter().next();
        let links = at.host()?.links(None)?;
        let found = default.and_then(|index| links.into_iter().find(|link| link.index == index));
        found.ok_or_else(|| {
            at.error(
                self.name(),
                "names no master, and the host has no default route",
            )
        })
    }

    /// Makes the link inside the pod's namespace, up.
    fn link(&self, at: &mut Attachment<'_>, master: &Link) -> Result<Link> {
        let (netns, name) = (at.need_netns()?, at.ifname);
        let mac = if self.kind == Type::Macvlan {
            at.wanted_mac()?
        } else {
            None
        };
        if mac.is_some() && self.mode == PASSTHRU {
            let problem = "in mode passthru the pod has its master's hardware address, no other";
            return Err(at.error(self.name(), problem));
        }
        if self.common.mtu > master.mtu {
            let problem = format!(
                "mtu {} is more than {}'s {}",
                self.common.mtu, master.name, master.mtu
            );
            return Err(at.error(self.name(), problem));
        }
        let kind = match self.kind {
            Type::Macvlan => LinkKind::Macvlan {
                master: master.index,
                mode: self.mode,
                netns,
            },
            Type::Ipvlan => {
                let mode = u16::try_from(self.mode).unwrap_or_default();
                LinkKind::Ipvlan {
                    master: master.index,
                    mode,
                    netns,
                }
            }
        };
        let mut changes = Changes::new();
        changes.new_link(&NewLink {
            name,
            kind,
            mtu: self.common.mtu,
            mac,
            master: None,
            group: 0,
        });
        at.host()?.apply(changes)?;
        at.pod()?.need_link(name)
    }
}

impl Driver for VirtualLink {
    fn set_up(&self, at: &mut Attachment<'_>, _previous: Option<CniResult>) -> Result<CniResult> {
        let master = self.master(at)?;
        // A DHCP server is asked through the new link, so it comes first.
        let link = self.link(at, &master)?;
        let mut result = self.common.allocate(at)?;
        let mut changes = Changes::new();
        common::addresses_and_routes(&mut changes, link.index, &result);
        at.pod()?.apply(changes)?;
        self.common.masquerade(at, &result)?;
        result.interfaces = vec![common::interface(&link, at.netns_path)];
        result.ips.iter_mut().for_each(|ip| ip.interface = Some(0));
        Ok(result)
    }

    fn check(&self, at: &mut Attachment<'_>, result: &CniResult) -> Result<()> {
        common::check_pod(at, self.name(), result)
    }

    fn tear_down(&self, at: &mut Attachment<'_>, result: Option<&CniResult>) -> Vec<Error> {
        let late = self.common.release_late(at, |at| {
            let master = self.master(at)?;
            self.link(at, &master).map(drop)
        });
        let mut errors: Vec<Error> = late.err().into_iter().collect();
        errors.extend(self.common.release(at, result));
        errors.extend(common::remove_interface(at).err());
        errors
    }

    fn ready(&self, at: &mut Attachment<'_>) -> Result<()> {
        self.master(at).map(drop)
    }

    fn masquerades(&self) -> bool {
        self.common.ip_masq
    }
}

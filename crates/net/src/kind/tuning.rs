//! `tuning`: kernel parameters of the pod's network, and properties of its interface.

use super::Driver;
use crate::attachment::Attachment;
use crate::cni::CniResult;
use crate::config::Fields;
use crate::error::{Error, Result};
use crate::rtnl::{Changes, IFF_ALLMULTI, IFF_PROMISC};

/// The configuration.
#[derive(Debug)]
pub(super) struct Tuning {
    /// Paths below `/proc/sys/net/` with their values.
    sysctls: Vec<(String, String)>,
    mac: Option<[u8; 6]>,
    mtu: Option<u32>,
    promiscuous: Option<bool>,
    all_multicast: Option<bool>,
    tx_queue: Option<u32>,
}

impl Tuning {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self> {
        let mut sysctls = Vec::new();
        if let Some(object) = fields.object("sysctl")? {
            for name in object.names() {
                let path = path(name).ok_or_else(|| {
                    object.error(name, "is not a parameter of the network (net.…)")
                })?;
                sysctls.push((path, object.text(name)?.unwrap_or_default().to_owned()));
            }
        }
        let mac = match fields.text("mac")?.filter(|mac| !mac.is_empty()) {
            None => None,
            Some(text) => match crate::mac::parse(text) {
                None => return Err(fields.error("mac", format!("{text:?} is no hardware address"))),
                mac => mac,
            },
        };
        Ok(Self {
            sysctls,
            mac,
            mtu: fields.u32("mtu", 65536)?.filter(|mtu| *mtu > 0),
            promiscuous: fields.flag_or_none("promisc")?,
            all_multicast: fields.flag_or_none("allmulti")?,
            tx_queue: fields.u32("txQLen", u32::MAX)?,
        })
    }

    fn changes_interface(&self) -> bool {
        let flags = self.promiscuous.or(self.all_multicast).is_some();
        flags || self.mtu.or(self.tx_queue).is_some()
    }

    fn set_sysctls(&self, at: &Attachment<'_>) -> Result<()> {
        self.each_sysctl(at, crate::sysctl::set)
    }

    fn check_sysctls(&self, at: &Attachment<'_>) -> Result<()> {
        self.each_sysctl(at, |path, value| {
            let present = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
            // The kernel puts tabs between numbers.
            match present.split_whitespace().eq(value.split_whitespace()) {
                true => Ok(()),
                false => Err(at.error("tuning", format!("{path} is {:?}", present.trim()))),
            }
        })
    }

    /// Does something with each parameter's file and value, in the pod's namespace.
    fn each_sysctl(
        &self,
        at: &Attachment<'_>,
        work: impl Fn(&str, &str) -> Result<()>,
    ) -> Result<()> {
        if self.sysctls.is_empty() {
            return Ok(());
        }
        let (netns, ifname) = (at.need_netns()?, at.ifname);
        let all = || {
            self.sysctls.iter().try_for_each(|(path, value)| {
                let path = path.replace("IFNAME", ifname);
                work(&format!("/proc/sys/net/{path}"), value)
            })
        };
        sandbox::netns::within(netns, all)
            .map_err(crate::rtnl::kernel("enter the pod's network namespace"))?
    }
}

/// The path below `/proc/sys/net/` of a parameter, written with dots or slashes.
fn path(name: &str) -> Option<String> {
    let slashes = if name.contains('/') {
        name.to_owned()
    } else {
        name.replace('.', "/")
    };
    let rest = slashes.strip_prefix("net/")?;
    let good = rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    good.then(|| rest.to_owned())
}

impl Driver for Tuning {
    fn set_up(&self, at: &mut Attachment<'_>, previous: Option<CniResult>) -> Result<CniResult> {
        let mac = at.wanted_mac()?.or(self.mac);
        if previous.is_none() && (mac.is_some() || self.changes_interface()) {
            return Err(at.error("tuning", "must come after another plugin"));
        }
        self.set_sysctls(at)?;
        // A network of its own, for the parameters alone, has no interface.
        let Some(mut result) = previous else {
            return Ok(CniResult::default());
        };
        let name = at.ifname.to_owned();
        let link = at.pod()?.need_link(&name)?.index;
        let mut changes = Changes::new();
        for (wanted, bit) in [
            (self.promiscuous, IFF_PROMISC),
            (self.all_multicast, IFF_ALLMULTI),
        ] {
            if let Some(on) = wanted {
                changes.link_flags(link, if on { bit } else { 0 }, bit);
            }
        }
        if let Some(mac) = mac {
            changes.link_mac(link, mac);
        }
        if let Some(mtu) = self.mtu {
            changes.link_mtu(link, mtu);
        }
        if let Some(length) = self.tx_queue {
            changes.link_tx_queue(link, length);
        }
        at.pod()?.apply(changes)?;
        if let Some(mac) = mac {
            let own = result
                .interfaces
                .iter_mut()
                .filter(|i| i.name == name && !i.sandbox.is_empty());
            own.for_each(|interface| interface.mac = crate::mac::text(mac));
        }
        Ok(result)
    }

    fn check(&self, at: &mut Attachment<'_>, _result: &CniResult) -> Result<()> {
        let wanted_mac = at.wanted_mac()?.or(self.mac);
        let name = at.ifname.to_owned();
        let link = at.pod()?.need_link(&name)?;
        let lost = |what: String| Err(at.error("tuning", format!("{name} has {what}")));
        if self.mtu.is_some_and(|mtu| mtu != link.mtu) {
            return lost(format!("MTU {}", link.mtu));
        }
        if let Some(mac) = wanted_mac.map(crate::mac::text)
            && link.mac.as_ref() != Some(&mac)
        {
            return lost(format!("another hardware address than {mac}"));
        }
        for (wanted, bit, what) in [
            (self.promiscuous, IFF_PROMISC, "promisc"),
            (self.all_multicast, IFF_ALLMULTI, "allmulti"),
        ] {
            if wanted.is_some_and(|on| on != (link.flags & bit != 0)) {
                return lost(format!("{what} changed"));
            }
        }
        self.check_sysctls(at)
    }

    /// Everything goes with the pod's namespace.
    fn tear_down(&self, _at: &mut Attachment<'_>, _result: Option<&CniResult>) -> Vec<Error> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn only_parameters_of_the_network() {
        assert_eq!(
            path("net.core.somaxconn").as_deref(),
            Some("core/somaxconn")
        );
        assert_eq!(
            path("net/ipv4/conf/eth0.1/arp_filter").as_deref(),
            Some("ipv4/conf/eth0.1/arp_filter")
        );
        assert_eq!(path("kernel.core_pattern"), None);
        assert_eq!(path("net/../kernel/core_pattern"), None);
        assert_eq!(path("net..kernel"), None);
    }
}

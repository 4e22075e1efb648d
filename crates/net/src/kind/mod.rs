//! The built-in network types. Each is one file of the same shape: its configuration is read and
//! validated before anything is touched; it sets up, checks and tears down. A set-up that fails
//! halfway is undone by the tear-down, which takes away whatever it finds.

pub(crate) mod bandwidth;
mod bridge;
mod common;
mod firewall;
mod flannel;
mod loopback;
mod outside;
mod portmap;
mod ptp;
mod tuning;
mod virtual_link;

use std::fmt::Debug;

pub(crate) use common::{addresses_and_routes, forward};

use crate::attachment::Attachment;
use crate::cni::CniResult;
use crate::config::{Fields, Network};
use crate::error::{Error, Result};

/// The types that are built in.
pub(crate) const BUILTIN: [&str; 10] = [
    "bandwidth",
    "bridge",
    "firewall",
    "flannel",
    "ipvlan",
    "loopback",
    "macvlan",
    "portmap",
    "ptp",
    "tuning",
];

/// A network type, configured.
pub(crate) trait Driver: Debug {
    /// Attaches the pod; `previous` is the result of the plugin before in the chain.
    fn set_up(&self, at: &mut Attachment<'_>, previous: Option<CniResult>) -> Result<CniResult>;

    /// Whether everything is as [`Driver::set_up`] left it.
    fn check(&self, at: &mut Attachment<'_>, result: &CniResult) -> Result<()>;

    /// Takes the attachment away: all of it, also if set-up did not finish or the namespace is
    /// gone. `result` is what set-up answered, where that is known. Goes on after an error.
    fn tear_down(&self, at: &mut Attachment<'_>, result: Option<&CniResult>) -> Vec<Error>;

    /// Removes what should have gone with the pod's namespace but has not, long after the
    /// tear-down.
    fn sweep(&self, at: &mut Attachment<'_>) -> Result<()> {
        let name = at.host_ifname();
        match at.host()?.link(&name)? {
            Some(_) => at.host()?.delete_link(&name),
            None => Ok(()),
        }
    }

    /// Whether a pod could be set up now (CNI's STATUS).
    fn ready(&self, _at: &mut Attachment<'_>) -> Result<()> {
        Ok(())
    }

    /// Whether pods speak to the world with the host's address.
    fn masquerades(&self) -> bool {
        false
    }

    /// Whether it is a program that is executed.
    fn is_outside(&self) -> bool {
        false
    }
}

/// Reads the configuration of the plugin at `index`.
pub(crate) fn parse(network: &Network, index: usize) -> Result<Box<dyn Driver>> {
    let Some((plugin, fields)) = network.plugins.get(index).zip(network.fields(index)) else {
        return Err(Error::File {
            file: network.path.clone(),
            problem: format!("has no plugin {index}"),
        });
    };
    builtin(&plugin.kind, &fields)
        .unwrap_or_else(|| Ok(Box::new(outside::Outside::new(&plugin.kind))))
}

/// The configuration of a built-in type; `None` if there is none of that name.
pub(crate) fn builtin(kind: &str, fields: &Fields<'_>) -> Option<Result<Box<dyn Driver>>> {
    fn boxed<T: Driver + 'static>(driver: Result<T>) -> Result<Box<dyn Driver>> {
        driver.map(|driver| Box::new(driver) as Box<dyn Driver>)
    }
    Some(match kind {
        "bandwidth" => boxed(bandwidth::Bandwidth::parse(fields)),
        "bridge" => boxed(bridge::Bridge::parse(fields)),
        "firewall" => boxed(firewall::Firewall::parse(fields)),
        "flannel" => boxed(flannel::Flannel::parse(fields)),
        "ipvlan" => boxed(virtual_link::VirtualLink::parse(
            fields,
            virtual_link::Type::Ipvlan,
        )),
        "loopback" => boxed(Ok(loopback::Loopback)),
        "macvlan" => boxed(virtual_link::VirtualLink::parse(
            fields,
            virtual_link::Type::Macvlan,
        )),
        "portmap" => boxed(portmap::Portmap::parse(fields)),
        "ptp" => boxed(ptp::Ptp::parse(fields)),
        "tuning" => boxed(tuning::Tuning::parse(fields)),
        _ => return None,
    })
}

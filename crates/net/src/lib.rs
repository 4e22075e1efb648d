//! Pod networks: which ones a pod joins (`--net`), their configurations, the built-in network
//! types and address management, outside CNI plugins, and forwarded ports. Documents:
//! networking-overview, networking-overriding-defaults, networking-dns.
//!
//! [`plan`] reads and validates everything, [`set_up`] does it, [`tear_down`] takes it away at the
//! pod's end, and [`collect`] after a kill at any instruction. No program is executed but
//! outside plugins: links, addresses, routes and firewall rules are netlink messages.
//!
//! # Types
//! `bandwidth`, `bridge`, `firewall`, `flannel`, `ipvlan`, `loopback`, `macvlan`, `portmap`, `ptp`
//! and `tuning`, with the fields of CNI's reference plugins; addresses by `dhcp`, `host-local` and
//! `static`. Everything else is a program in the directories of [`Paths`]. The same types serve
//! other runtimes through [`plugin()`]. On a host with firewalld the type `firewall` has it let the
//! pod's addresses through while the pod lives.
//!
//! A configuration with several `cniVersions` is used in the newest that its outside plugins say
//! they speak. They are told what their `capabilities` name: `portMappings`, `bandwidth` (the
//! pod's isolator), `ips` and `mac` (the arguments `IP` and `MAC` of `--net`).
//!
//! # DHCP
//! A client of our own. A [`Keeper`] renews the lease; the pod's main process polls it for the
//! pod's life and gives the lease back at its end. A pod that was killed leaves a record beside the
//! leases of `host-local`, by which [`collect`] tells the server over an interface made for that.
//!
//! # State on the host
//! Leases below [`Paths::leases`], a directory for each network, in the reference plugin's format;
//! `flannel`'s notes beside it; the nf_tables tables `ip rkt` and `ip6 rkt`; and in the pod's
//! directory `net/`, the journal, and `net-info.json`.

mod attachment;
mod cidr;
mod cni;
mod config;
mod error;
mod info;
mod inspect;
mod ipam;
mod kind;
mod mac;
mod netlink;
mod nft;
mod plugin;
mod pod;
mod portmap;
mod rtnl;
mod select;
mod sysctl;
#[cfg(test)]
mod testing;

pub use attachment::Paths;
pub use cidr::Cidr;
pub use cni::{CniResult, Dns, Interface, IpConfig, Route};
pub use config::{Available, Network, PluginConf, available};
pub use error::{Error, Result};
pub use info::{NET_INFO, NetInfo, note_connected, read as read_info};
pub use inspect::{AddressInUse, addresses_in_use, ipam_types, is_builtin_type, subnets};
pub use ipam::dhcp::Keeper;
pub use kind::bandwidth::Limits;
pub use nft::{HostPort, Protocol};
pub use plugin::{Answer, MOST_INPUT, plugin, resume};
pub use pod::{Plan, PodNetworks, Request, check, collect, plan, set_up, tear_down};
pub use portmap::{Forward, bind_ports};
pub use select::{NetList, Selected};

//! Masquerading and forwarded ports in nf_tables tables of our own.
//!
//! The tables `ip rkt` and `ip6 rkt` have the same few rules for any number of pods; a pod is a handful of map
//! elements, so a packet costs a hash lookup however many pods there are:
//!
//! ```text
//! prerouting, output: fib daddr type local → jump ports
//! ports:              dnat to (protocol, address, port) or (protocol, port) looked up in a map
//! postrouting:        ct status dnat → daddr looked up in a map → jump back-SUBNET
//!                     saddr looked up in a map → jump masq-SUBNET
//! forward:            iifname in the set of isolated bridges, daddr looked up in a map →
//!                     jump isolated-BRIDGE: what comes from elsewhere than BRIDGE is dropped
//! ```
//!
//! Two tables and not one for both: the kernel connects each family, and the forwarding of ports,
//! to its packet paths when they are first wanted, which is most of the cost of the first pod.
//!
//! Every element carries its owner as a comment (`nft list table ip rkt` shows it), so what a
//! killed rkt left can be found. There is no lock: every change is one transaction of the kernel,
//! which either finds what it builds on or is tried again with that included. A table goes with
//! its last pod; that removal names the generation of the rule set that it was decided on.

mod element;
mod expr;
mod skeleton;
mod wire;

use std::net::IpAddr;

use rustix::io::Errno;

pub(crate) use element::{Entry, Ifname};
pub use element::{HostPort, Protocol};

use crate::error::{Error, Result};
use crate::rtnl::kernel;
use wire::{Transaction, Wire};

/// The name of the tables, one for IPv4 and one for IPv6.
pub(crate) const TABLE: &str = "rkt";

/// How often a change is tried when others change the table at the same time.
const TRIES: usize = 64;

/// The rules of all pods.
#[derive(Debug)]
pub(crate) struct Firewall {
    wire: Wire,
}

impl Firewall {
    /// In the calling thread's namespace.
    pub(crate) fn open() -> Result<Self> {
        Ok(Self {
            wire: Wire::open().map_err(kernel("open a netfilter socket"))?,
        })
    }

    /// Ends the use of the firewall after something was removed.
    pub(crate) fn close(self) {
        self.wire.close();
    }

    /// Adds entries that belong to `owner`, all or none.
    ///
    /// # Errors
    /// `EEXIST` as [`Error::Kernel`] when a forwarded port is another pod's already.
    pub(crate) fn add(&mut self, entries: &[Entry], owner: &str) -> Result<()> {
        let failed = || kernel("add netfilter rules of the pod");
        let mut replace = false;
        for _ in 0..TRIES {
            // A transaction that fails waits for a grace period of the kernel (10 ms), so look
            // before: only a race with another pod's start or end makes one fail.
            let mut change = Transaction::new();
            for version in versions(entries) {
                let chains = self.wire.chains(TABLE, version).map_err(failed())?;
                skeleton::prepare(&mut change, version, &of_version(entries, version), &chains);
            }
            let first_element = change.len();
            element::add(&mut change, entries, owner, replace);
            let Err(refusal) = self.wire.commit(change) else {
                return Ok(());
            };
            match refusal.errno {
                Errno::NOENT => replace = false,
                Errno::EXIST if refusal.index < first_element => {}
                Errno::EXIST if !replace && !has_ports(entries) => replace = true,
                Errno::AGAIN | Errno::INTR | Errno::RESTART => {}
                errno => return Err(failed()(errno)),
            }
        }
        Err(failed()(Errno::BUSY))
    }

    /// Removes entries, the chains that only they used, and the table with the last; entries that
    /// are gone already are no error.
    pub(crate) fn remove(&mut self, entries: &[Entry]) -> Result<()> {
        let failed = || kernel("remove netfilter rules of the pod");
        let mut present = entries.to_vec();
        for _ in 0..TRIES {
            let generation = self.wire.generation().map_err(failed())?;
            let mut change = Transaction::at(generation);
            // First of all and in any case: where an entry is gone already, the transaction
            // fails, and what seems unused without it may be used by another pod.
            element::delete(&mut change, &present);
            for version in [4, 6] {
                let chains = self.wire.chains(TABLE, version).map_err(failed())?;
                let present = of_version(&present, version);
                skeleton::clear(&mut change, version, &present, &chains);
            }
            let Err(refusal) = self.wire.commit(change) else {
                return Ok(());
            };
            match refusal.errno {
                // Something is gone already: go by what the kernel has.
                Errno::NOENT => {
                    let all = self.owned(|_| true)?;
                    present.retain(|entry| all.contains(entry));
                }
                Errno::RESTART | Errno::AGAIN | Errno::INTR | Errno::BUSY => {}
                errno => return Err(failed()(errno)),
            }
        }
        // Many others are busy: leave the clearing up to the last of them.
        let mut change = Transaction::new();
        element::delete(&mut change, &present);
        self.wire
            .commit(change)
            .map_err(|refusal| failed()(refusal.errno))
    }

    /// Everything whose owner `is_owner` accepts, as found in the kernel.
    pub(crate) fn owned(&mut self, is_owner: impl Fn(&str) -> bool) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        for map in skeleton::maps() {
            for entry in element::list(&mut self.wire, map, &is_owner)? {
                // A map that grows while it is listed may show an element twice.
                if !found.contains(&entry) {
                    found.push(entry);
                }
            }
        }
        Ok(found)
    }
}

fn has_ports(entries: &[Entry]) -> bool {
    entries
        .iter()
        .any(|entry| matches!(entry, Entry::Forward { .. }))
}

/// The IP versions that the entries are of.
fn versions(entries: &[Entry]) -> impl Iterator<Item = u8> {
    [4, 6]
        .into_iter()
        .filter(|version| entries.iter().any(|entry| entry.version() == *version))
}

fn of_version(entries: &[Entry], version: u8) -> Vec<Entry> {
    entries
        .iter()
        .filter(|entry| entry.version() == version)
        .copied()
        .collect()
}

/// The error for entries with ports that are taken.
pub(crate) fn explain(error: Error, ports: &[HostPort]) -> Error {
    if error.errno() != Some(Errno::EXIST) {
        return error;
    }
    let list: Vec<String> = ports.iter().map(HostPort::to_string).collect();
    Error::Port {
        port: list.join(", "),
        problem: "forwarded to another pod already".to_owned(),
    }
}

/// The IP version of an address in rules: 4 or 6.
fn version(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 4 } else { 6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(last: u8) -> Vec<Entry> {
        let pod = format!("10.1.0.{last}/24").parse().unwrap();
        let pod6 = format!("fd00::{last}/64").parse().unwrap();
        let from = |addr: Option<&str>| HostPort {
            protocol: Protocol::Tcp,
            addr: addr.map(|a| a.parse().unwrap()),
            port: 8000 + u16::from(last),
        };
        vec![
            Entry::Masquerade { pod },
            Entry::Masquerade { pod: pod6 },
            Entry::Isolated {
                pod: pod.addr,
                bridge: Ifname::new("bridge0").unwrap(),
            },
            Entry::Back { pod },
            Entry::Forward {
                from: from(None),
                to: pod.addr,
                port: 80,
            },
            Entry::Forward {
                from: from(Some("127.0.0.1")),
                to: pod.addr,
                port: 81,
            },
            Entry::Forward {
                from: from(Some("::1")),
                to: pod6.addr,
                port: 81,
            },
        ]
    }

    #[test]
    fn entries_come_and_go_and_the_table_with_the_last() {
        crate::testing::isolate();
        let mut firewall = Firewall::open().unwrap();
        assert_eq!(firewall.owned(|_| true).unwrap(), []);
        for last in 2..6 {
            firewall
                .add(&entries(last), &format!("pod{last}/eth0"))
                .unwrap();
        }
        let mut found = firewall.owned(|owner| owner == "pod3/eth0").unwrap();
        let key = |e: &Entry| format!("{e:?}");
        found.sort_by_key(key);
        let mut wanted = entries(3);
        wanted.sort_by_key(key);
        assert_eq!(found, wanted);
        for last in 2..5 {
            firewall.remove(&entries(last)).unwrap();
            firewall.remove(&entries(last)).unwrap();
        }
        assert_eq!(firewall.wire.chains(TABLE, 4).unwrap().len(), 5 + 3);
        firewall.remove(&entries(5)[1..2]).unwrap();
        assert!(!firewall.wire.chains(TABLE, 4).unwrap().is_empty());
        firewall.remove(&entries(5)).unwrap();
        assert_eq!(firewall.wire.chains(TABLE, 4).unwrap(), []);
    }

    #[test]
    fn a_taken_port_is_refused_and_nothing_of_the_batch_stays() {
        crate::testing::isolate();
        let mut firewall = Firewall::open().unwrap();
        firewall.add(&entries(2), "a/eth0").unwrap();
        let mut other = entries(3);
        if let Entry::Forward { from, .. } = &mut other[4] {
            from.port = 8002;
        }
        let error = firewall.add(&other, "b/eth0").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EXIST));
        assert_eq!(firewall.owned(|owner| owner == "b/eth0").unwrap(), []);
    }

    #[test]
    fn a_stale_masquerade_entry_is_taken_over() {
        crate::testing::isolate();
        let mut firewall = Firewall::open().unwrap();
        firewall.add(&entries(2)[..1], "dead/eth0").unwrap();
        firewall.add(&entries(2)[..1], "live/eth0").unwrap();
        assert_eq!(firewall.owned(|owner| owner == "dead/eth0").unwrap(), []);
        assert_eq!(
            firewall.owned(|owner| owner == "live/eth0").unwrap().len(),
            1
        );
    }

    #[test]
    fn changes_at_once_never_lose_one() {
        crate::testing::isolate();
        let host = sandbox::netns::current().unwrap();
        std::thread::scope(|scope| {
            for worker in 0..4_u8 {
                let host = &host;
                scope.spawn(move || {
                    let mut firewall =
                        sandbox::netns::within(std::os::fd::AsFd::as_fd(host), || {
                            Firewall::open().unwrap()
                        })
                        .unwrap();
                    for _ in 0..20 {
                        let mine = entries(10 + worker);
                        firewall.add(&mine, &format!("pod{worker}/eth0")).unwrap();
                        let owner = format!("pod{worker}/eth0");
                        assert_eq!(firewall.owned(|o| o == owner).unwrap().len(), mine.len());
                        firewall.remove(&mine).unwrap();
                    }
                });
            }
        });
        let mut firewall = Firewall::open().unwrap();
        assert_eq!(firewall.wire.chains(TABLE, 4).unwrap(), []);
    }
}

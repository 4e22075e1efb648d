//! The table itself: its chains, maps and rules.

use super::element::{DELSETELEM, Entry, Ifname, NEWSETELEM};
use super::expr::{
    Base, DROP, JUMP, META_IIFNAME, META_L4PROTO, REG, RETURN, Rule, VERDICT, rule, value,
};
use super::wire::{Chain, Transaction};
use super::{TABLE, version};
use crate::cidr::{Cidr, octets};
use crate::netlink::flag;

pub(super) const NEWTABLE: u16 = 0;
pub(super) const DELTABLE: u16 = 2;
pub(super) const NEWCHAIN: u16 = 3;
pub(super) const DELCHAIN: u16 = 5;
pub(super) const NEWRULE: u16 = 6;
pub(super) const NEWSET: u16 = 9;

/// A map of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) version: u8,
    pub(super) role: Role,
}

/// What a map is for, and so the shape of its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Source address → chain of its subnet.
    Masquerade,
    /// Destination address of a forwarded connection → chain of its subnet.
    Back,
    /// Destination address → chain of its bridge.
    Isolated,
    /// Protocol, port → address, port.
    Port,
    /// Protocol, host address, port → address, port.
    PortAt,
}

/// All maps.
pub(super) fn maps() -> impl Iterator<Item = Map> {
    let roles = [
        Role::Masquerade,
        Role::Back,
        Role::Isolated,
        Role::Port,
        Role::PortAt,
    ];
    [4, 6]
        .into_iter()
        .flat_map(move |version| roles.map(|role| Map { version, role }))
}

impl Map {
    pub(super) fn name(self) -> &'static str {
        match self.role {
            Role::Masquerade => "masq",
            Role::Back => "back",
            Role::Isolated => "isolated",
            Role::Port => "port",
            Role::PortAt => "port_at",
        }
    }
}

/// The chain that stands for all that forwarded ports need.
pub(super) const PORTS: &str = "ports";

/// The chain that stands for all that isolated bridges need.
const FORWARD: &str = "forward";

/// The bridges whose pods are isolated, a set.
const BRIDGES: &str = "bridges";

/// How the name of an isolated bridge's chain begins.
pub(super) const ISOLATED: &str = "isolated-";

/// The chain that is there as long as the table.
const POSTROUTING: &str = "postrouting";

/// Makes the table for an IP version, as masquerading needs it; `EEXIST` if it is there.
fn table(change: &mut Transaction, version: u8) {
    const SRCNAT: i32 = 100;
    change.change(NEWTABLE, flag::CREATE | flag::EXCL, |m| {
        m.text(1, TABLE);
    });
    let masquerade = Map {
        version,
        role: Role::Masquerade,
    };
    new_map(change, masquerade);
    base_chain(change, POSTROUTING, "nat", 4, SRCNAT);
    add_rule(change, POSTROUTING, 0, |rule| {
        address(rule, version, true).lookup(masquerade.name(), REG, VERDICT);
    });
}

/// Adds what forwarded ports need; `EEXIST` if it is there.
fn ports(change: &mut Transaction, version: u8) {
    const DSTNAT: i32 = -100;
    change.change(NEWCHAIN, flag::CREATE | flag::EXCL, |m| {
        m.text(1, TABLE).text(3, PORTS);
    });
    for role in [Role::PortAt, Role::Port] {
        let map = Map { version, role };
        new_map(change, map);
        add_rule(change, PORTS, flag::APPEND, |rule| port_rule(rule, map));
    }
    for (name, hook) in [("prerouting", 0), ("output", 3)] {
        base_chain(change, name, "nat", hook, DSTNAT);
        add_rule(change, name, flag::APPEND, |rule| {
            rule.for_this_host().end(JUMP, Some(PORTS));
        });
    }
    let back = Map {
        version,
        role: Role::Back,
    };
    new_map(change, back);
    // Before the masquerading, so at the chain's beginning.
    add_rule(change, POSTROUTING, 0, |rule| {
        rule.forwarded();
        address(rule, version, false).lookup(back.name(), REG, VERDICT);
    });
}

/// Adds what isolated bridges need; `EEXIST` if it is there. The lookup of the bridge that a packet
/// comes from is first: what comes from elsewhere is not stopped.
fn isolation(change: &mut Transaction, version: u8) {
    let map = Map {
        version,
        role: Role::Isolated,
    };
    new_map(change, map);
    change.change(NEWSET, flag::CREATE, |m| {
        const IFNAME: u32 = 41;
        let id = u32::from(version) * 8 + 7;
        m.text(1, TABLE).text(2, BRIDGES).be32(3, 0);
        m.be32(4, IFNAME).be32(5, 16).be32(10, id);
    });
    base_chain(change, FORWARD, "filter", 2, 0);
    add_rule(change, FORWARD, flag::APPEND, |rule| {
        rule.meta(META_IIFNAME, REG).member(BRIDGES, REG);
        address(rule, version, false).lookup(map.name(), REG, VERDICT);
    });
}

/// Makes what the entries, all of one IP version, build on and is not there yet.
pub(super) fn prepare(change: &mut Transaction, version: u8, entries: &[Entry], present: &[Chain]) {
    change.turn_to(version);
    if present.is_empty() {
        table(change, version);
    }
    let forwards = entries
        .iter()
        .any(|entry| matches!(entry, Entry::Forward { .. } | Entry::Back { .. }));
    if forwards && !present.iter().any(|chain| chain.name == PORTS) {
        ports(change, version);
    }
    let isolates = entries
        .iter()
        .any(|entry| matches!(entry, Entry::Isolated { .. }));
    if isolates && !present.iter().any(|chain| chain.name == FORWARD) {
        isolation(change, version);
    }
    subnets(change, entries, present);
}

/// Removes what nothing uses once the entries, all of one IP version, are gone; the table if that
/// is all.
pub(super) fn clear(change: &mut Transaction, version: u8, entries: &[Entry], present: &[Chain]) {
    change.turn_to(version);
    let jumps = |chain: &Chain| {
        let to_it = entries
            .iter()
            .filter(|entry| entry.chain().as_ref() == Some(&chain.name));
        to_it.count()
    };
    let subnets = present.iter().filter(|chain| is_subnet(&chain.name));
    let (unused, used): (Vec<_>, Vec<_>) =
        subnets.partition(|chain| is_unused(chain, jumps(chain)));
    // Somebody else's table of our name stays.
    if !is_ours(present) {
        return;
    }
    if used.is_empty() {
        return delete_table(change);
    }
    unused
        .iter()
        .for_each(|chain| delete_chain(change, &chain.name));
}

/// Makes the chains of the entries' subnets that are not there yet.
fn subnets(change: &mut Transaction, entries: &[Entry], present: &[Chain]) {
    for name in chains_of(entries) {
        if present.iter().any(|chain| chain.name == name) {
            continue;
        }
        change.change(NEWCHAIN, flag::CREATE | flag::EXCL, |m| {
            m.text(1, TABLE).text(3, &name);
        });
        let Some(pod) = entries
            .iter()
            .find(|entry| entry.chain().as_ref() == Some(&name))
        else {
            continue;
        };
        match pod {
            Entry::Masquerade { pod } => masquerade_rules(change, &name, *pod),
            Entry::Back { pod } => back_rules(change, &name, *pod),
            Entry::Isolated { bridge, .. } => isolation_rules(change, &name, *bridge),
            Entry::Forward { .. } => {}
        }
    }
}

/// Rules of [`masquerade_rules`], [`back_rules`] and [`isolation_rules`].
const MASQUERADE_RULES: usize = 3;
const BACK_RULES: usize = 2;
const ISOLATION_RULES: usize = 2;

/// To the subnet itself and to groups a pod speaks with its own address, else with the host's.
fn masquerade_rules(change: &mut Transaction, chain: &str, pod: Cidr) {
    let groups = if pod.addr.is_ipv4() {
        "224.0.0.0/4"
    } else {
        "ff00::/8"
    };
    let groups = groups.parse().unwrap_or(pod);
    for network in [pod.network(), groups] {
        add_rule(change, chain, flag::APPEND, |rule| {
            within(rule, network, false).end(RETURN, None);
        });
    }
    add_rule(change, chain, flag::APPEND, |rule| {
        rule.masquerade();
    });
}

/// A forwarded connection that comes from the pod's own subnet, or from this host's loopback,
/// must come back through this host: the pod sees it coming from here.
fn back_rules(change: &mut Transaction, chain: &str, pod: Cidr) {
    let loopback = if pod.addr.is_ipv4() {
        "127.0.0.0/8"
    } else {
        "::1/128"
    };
    let loopback = loopback.parse().unwrap_or(pod);
    for network in [pod.network(), loopback] {
        add_rule(change, chain, flag::APPEND, |rule| {
            within(rule, network, true).masquerade();
        });
    }
}

/// What comes to a pod of this bridge from another isolated bridge is dropped; and this bridge is
/// one from now on.
fn isolation_rules(change: &mut Transaction, chain: &str, bridge: Ifname) {
    add_rule(change, chain, flag::APPEND, |rule| {
        rule.meta(META_IIFNAME, REG)
            .equal(REG, &bridge.0)
            .end(RETURN, None);
    });
    add_rule(change, chain, flag::APPEND, |rule| {
        rule.end(DROP, None);
    });
    isolated_bridge(change, NEWSETELEM, flag::CREATE, bridge);
}

/// Adds a bridge to the set of isolated ones or takes it out.
fn isolated_bridge(change: &mut Transaction, kind: u16, flags: u16, bridge: Ifname) {
    change.change(kind, flags, |m| {
        m.text(1, TABLE).text(2, BRIDGES);
        m.nest(3, |m| {
            m.nest(1, |m| value(m, 1, &bridge.0));
        });
    });
}

/// The names of the chains that the entries jump to, each once.
fn chains_of(entries: &[Entry]) -> Vec<String> {
    let mut names: Vec<String> = entries.iter().filter_map(Entry::chain).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether a table with these chains is one that was made here.
fn is_ours(chains: &[Chain]) -> bool {
    let known = |name: &str| {
        matches!(
            name,
            POSTROUTING | PORTS | FORWARD | "prerouting" | "output"
        ) || is_subnet(name)
    };
    chains.iter().any(|chain| chain.name == POSTROUTING)
        && chains.iter().all(|chain| known(&chain.name))
}

/// Whether a chain is a subnet's or a bridge's.
fn is_subnet(chain: &str) -> bool {
    ["masq-", "back-", ISOLATED]
        .iter()
        .any(|beginning| chain.starts_with(beginning))
}

/// Whether nothing but `jumps` elements, about to go, jumps to a subnet's chain: all its other uses
/// are its own rules.
fn is_unused(chain: &Chain, jumps: usize) -> bool {
    let rules = match chain.name.split_once('-') {
        Some(("masq", _)) => MASQUERADE_RULES,
        Some(("back", _)) => BACK_RULES,
        _ => ISOLATION_RULES,
    };
    usize::try_from(chain.uses).is_ok_and(|uses| uses <= rules + jumps)
}

/// Removes a chain with its rules; `EBUSY` while an element jumps to it.
fn delete_chain(change: &mut Transaction, name: &str) {
    if let Some(bridge) = name.strip_prefix(ISOLATED).and_then(Ifname::new) {
        isolated_bridge(change, DELSETELEM, 0, bridge);
    }
    change.change(DELCHAIN, 0, |m| {
        m.text(1, TABLE).text(3, name);
    });
}

/// Removes the table with everything in it.
fn delete_table(change: &mut Transaction) {
    change.change(DELTABLE, 0, |m| {
        m.text(1, TABLE);
    });
}

fn port_rule(rule: &mut Rule<'_>, map: Map) {
    // The key: protocol, [address,] port, each filling whole registers.
    rule.meta(META_L4PROTO, REG);
    let mut next = REG + 1;
    if map.role == Role::PortAt {
        let (offset, length) = if map.version == 4 { (16, 4) } else { (24, 16) };
        rule.payload(Base::Network, offset, length, next);
        next += length / 4;
    }
    rule.payload(Base::Transport, 2, 2, next)
        .lookup(map.name(), REG, REG);
    rule.dnat(map.version, REG, REG + if map.version == 4 { 1 } else { 4 });
}

/// Loads the source or destination address.
fn address<'a, 'b>(rule: &'a mut Rule<'b>, version: u8, source: bool) -> &'a mut Rule<'b> {
    let (offset, length) = match (version, source) {
        (4, true) => (12, 4),
        (4, false) => (16, 4),
        (_, true) => (8, 16),
        (_, false) => (24, 16),
    };
    rule.payload(Base::Network, offset, length, REG)
}

/// Goes on only if the source or destination address is inside a network.
fn within<'a, 'b>(rule: &'a mut Rule<'b>, network: Cidr, source: bool) -> &'a mut Rule<'b> {
    let network = network.network();
    address(rule, version(network.addr), source)
        .mask(REG, &octets(network.mask()))
        .equal(REG, &octets(network.addr))
}

fn base_chain(change: &mut Transaction, name: &str, kind: &str, hook: u32, priority: i32) {
    change.change(NEWCHAIN, flag::CREATE, |m| {
        m.text(1, TABLE).text(3, name);
        m.nest(4, |m| {
            m.be32(1, hook).attr(2, &priority.to_be_bytes());
        });
        m.be32(5, 1).text(7, kind);
    });
}

/// `flags`: `NLM_F_APPEND` for the chain's end, nothing for its beginning.
fn add_rule(change: &mut Transaction, chain: &str, flags: u16, fill: impl FnOnce(&mut Rule<'_>)) {
    change.change(NEWRULE, flag::CREATE | flags, |m| {
        m.text(1, TABLE).text(2, chain);
        rule(m, fill);
    });
}

fn new_map(change: &mut Transaction, map: Map) {
    // The numbers of nft's types, so that `nft list` shows the elements well.
    const IPV4: u32 = 7;
    const IPV6: u32 = 8;
    const PROTOCOL: u32 = 12;
    const SERVICE: u32 = 13;
    const VERDICT_TYPE: u32 = 0xffff_ff00;
    const MAP: u32 = 8;
    // Unique in a transaction.
    let id = u32::from(map.version) * 8 + map.role as u32;
    let (ip, ip_length) = if map.version == 4 {
        (IPV4, 4)
    } else {
        (IPV6, 16)
    };
    let (key, key_length, data, data_length) = match map.role {
        Role::Masquerade | Role::Back | Role::Isolated => (ip, ip_length, VERDICT_TYPE, 16),
        Role::Port => (PROTOCOL << 6 | SERVICE, 8, ip << 6 | SERVICE, ip_length + 4),
        Role::PortAt => (
            (PROTOCOL << 6 | ip) << 6 | SERVICE,
            8 + ip_length,
            ip << 6 | SERVICE,
            ip_length + 4,
        ),
    };
    change.change(NEWSET, flag::CREATE, |m| {
        m.text(1, TABLE).text(2, map.name()).be32(3, MAP);
        m.be32(4, key)
            .be32(5, key_length)
            .be32(6, data)
            .be32(7, data_length)
            .be32(10, id);
    });
}

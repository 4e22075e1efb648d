//! What a plugin answers (CNI specification, "Result types"), in every version's shape.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::Dns;
use crate::cidr::Cidr;

/// Entries of one list in an answer.
pub(super) const MOST: usize = 4096;

/// The state of a pod's attachment to a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniResult {
    /// Interfaces that were made, in the pod and on the host.
    pub interfaces: Vec<Interface>,
    /// Addresses that were given.
    pub ips: Vec<IpConfig>,
    /// Routes that were set.
    pub routes: Vec<Route>,
    /// Name servers.
    pub dns: Dns,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address, or empty.
    pub mac: String,
    /// Its MTU, 0 if not told (1.1).
    pub mtu: u32,
    /// The pod's network namespace; empty for one on the host.
    pub sandbox: String,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpConfig {
    /// The interface's place among the interfaces.
    pub interface: Option<usize>,
    /// The address with its network's prefix length.
    pub address: Cidr,
    /// The network's gateway.
    pub gateway: Option<IpAddr>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub dst: Cidr,
    /// Next hop; the address's gateway if absent.
    pub gw: Option<IpAddr>,
    /// MTU of the path (1.1).
    pub mtu: Option<u32>,
    /// Largest TCP segment (1.1).
    pub advmss: Option<u32>,
    /// Metric (1.1).
    pub priority: Option<u32>,
    /// Routing table (1.1).
    pub table: Option<u32>,
    /// Scope (1.1).
    pub scope: Option<u8>,
}

impl Route {
    /// A route to `dst` through `gw`.
    #[must_use]
    pub fn new(dst: Cidr, gw: Option<IpAddr>) -> Self {
        Self {
            dst,
            gw,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        let number = |field: &str| value.get(field)?.as_u64()?.try_into().ok();
        Some(Self {
            dst: text(value, "dst")?.parse().ok()?,
            gw: text(value, "gw").and_then(|gw| gw.parse().ok()),
            mtu: number("mtu"),
            advmss: number("advmss"),
            priority: number("priority"),
            table: number("table"),
            scope: number("scope").and_then(|scope| scope.try_into().ok()),
        })
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("dst".to_owned(), json!(self.dst.to_string()));
        if let Some(gw) = self.gw {
            map.insert("gw".to_owned(), json!(gw.to_string()));
        }
        let mut number = |field: &str, value: Option<u32>| {
            if let Some(value) = value {
                map.insert(field.to_owned(), json!(value));
            }
        };
        number("mtu", self.mtu);
        number("advmss", self.advmss);
        number("priority", self.priority);
        number("table", self.table);
        number("scope", self.scope.map(u32::from));
        Value::Object(map)
    }
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str().filter(|text| !text.is_empty())
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .take(MOST)
}

/// Whether a version's results have the shape of 0.1.0 and 0.2.0.
fn is_old(version: &str) -> bool {
    matches!(version, "0.1.0" | "0.2.0" | "")
}

impl CniResult {
    /// Reads an answer of any version; the version it names, or else `version`, tells the shape.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_json(value: &Value, version: &str) -> Result<Self, String> {
        if !value.is_object() {
            return Err("the result is not a JSON object".to_owned());
        }
        let version = text(value, "cniVersion").unwrap_or(version);
        let mut result = Self {
            dns: value.get("dns").map(Dns::from_json).unwrap_or_default(),
            ..Self::default()
        };
        if is_old(version) {
            result.read_old(value)?;
            return Ok(result);
        }
        for interface in list(value, "interfaces") {
            let mtu = interface.get("mtu").and_then(Value::as_u64);
            result.interfaces.push(Interface {
                name: text(interface, "name")
                    .ok_or("an interface has no name")?
                    .to_owned(),
                mac: text(interface, "mac").unwrap_or_default().to_owned(),
                mtu: mtu.and_then(|mtu| mtu.try_into().ok()).unwrap_or_default(),
                sandbox: text(interface, "sandbox").unwrap_or_default().to_owned(),
            });
        }
        for ip in list(value, "ips") {
            let index = ip.get("interface").and_then(Value::as_u64);
            result.ips.push(IpConfig {
                interface: index.and_then(|index| index.try_into().ok()),
                address: address(text(ip, "address"))?,
                gateway: text(ip, "gateway").and_then(|gw| gw.parse().ok()),
            });
        }
        for route in list(value, "routes") {
            let bad = || format!("the result has a bad route: {route}");
            result.routes.push(Route::from_json(route).ok_or_else(bad)?);
        }
        Ok(result)
    }

    fn read_old(&mut self, value: &Value) -> Result<(), String> {
        for part in ["ip4", "ip6"]
            .into_iter()
            .filter_map(|field| value.get(field))
        {
            if part.is_null() {
                continue;
            }
            self.ips.push(IpConfig {
                interface: None,
                address: address(text(part, "ip"))?,
                gateway: text(part, "gateway").and_then(|gw| gw.parse().ok()),
            });
            for route in list(part, "routes") {
                let bad = || format!("the result has a bad route: {route}");
                self.routes.push(Route::from_json(route).ok_or_else(bad)?);
            }
        }
        Ok(())
    }

    /// The answer in a version's shape.
    #[must_use]
    pub fn to_json(&self, version: &str) -> Value {
        let mut map = Map::new();
        map.insert("cniVersion".to_owned(), json!(version));
        if is_old(version) {
            self.write_old(&mut map);
        } else {
            self.write_new(version, &mut map);
        }
        if version != "1.1.0" || !self.dns.is_empty() {
            map.insert("dns".to_owned(), self.dns.to_json());
        }
        Value::Object(map)
    }

    fn write_old(&self, map: &mut Map<String, Value>) {
        for (field, v4) in [("ip4", true), ("ip6", false)] {
            let Some(ip) = self.ips.iter().find(|ip| ip.address.addr.is_ipv4() == v4) else {
                continue;
            };
            let mut part = Map::new();
            part.insert("ip".to_owned(), json!(ip.address.to_string()));
            if let Some(gateway) = ip.gateway {
                part.insert("gateway".to_owned(), json!(gateway.to_string()));
            }
            let routes = self
                .routes
                .iter()
                .filter(|route| route.dst.addr.is_ipv4() == v4);
            let routes: Vec<Value> = routes.map(Route::to_json).collect();
            if !routes.is_empty() {
                part.insert("routes".to_owned(), Value::Array(routes));
            }
            map.insert(field.to_owned(), Value::Object(part));
        }
    }

    fn write_new(&self, version: &str, map: &mut Map<String, Value>) {
        if !self.interfaces.is_empty() {
            let interfaces = self.interfaces.iter().map(|interface| {
                let mut one = Map::new();
                one.insert("name".to_owned(), json!(interface.name));
                if !interface.mac.is_empty() {
                    one.insert("mac".to_owned(), json!(interface.mac));
                }
                if version.starts_with("1.1") && interface.mtu != 0 {
                    one.insert("mtu".to_owned(), json!(interface.mtu));
                }
                if !interface.sandbox.is_empty() {
                    one.insert("sandbox".to_owned(), json!(interface.sandbox));
                }
                Value::Object(one)
            });
            map.insert("interfaces".to_owned(), interfaces.collect());
        }
        let ips = self.ips.iter().map(|ip| {
            let mut one = Map::new();
            if version.starts_with("0.") {
                let family = if ip.address.addr.is_ipv4() { "4" } else { "6" };
                one.insert("version".to_owned(), json!(family));
            }
            if let Some(interface) = ip.interface {
                one.insert("interface".to_owned(), json!(interface));
            }
            one.insert("address".to_owned(), json!(ip.address.to_string()));
            if let Some(gateway) = ip.gateway {
                one.insert("gateway".to_owned(), json!(gateway.to_string()));
            }
            Value::Object(one)
        });
        let ips: Vec<Value> = ips.collect();
        if !ips.is_empty() {
            map.insert("ips".to_owned(), Value::Array(ips));
        }
        if !self.routes.is_empty() {
            map.insert(
                "routes".to_owned(),
                self.routes.iter().map(Route::to_json).collect(),
            );
        }
    }
}

fn address(text: Option<&str>) -> Result<Cidr, String> {
    let text = text.ok_or("the result has an IP without an address")?;
    text.parse()
        .map_err(|problem| format!("the result's address {text:?}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> CniResult {
        CniResult {
            interfaces: vec![Interface {
                name: "eth0".to_owned(),
                mac: "02:00:00:00:00:01".to_owned(),
                mtu: 0,
                sandbox: "/proc/1/ns/net".to_owned(),
            }],
            ips: vec![
                IpConfig {
                    interface: Some(0),
                    address: "10.1.0.2/16".parse().unwrap(),
                    gateway: Some("10.1.0.1".parse().unwrap()),
                },
                IpConfig {
                    interface: Some(0),
                    address: "fd00::2/64".parse().unwrap(),
                    gateway: None,
                },
            ],
            routes: vec![Route::new("0.0.0.0/0".parse().unwrap(), None)],
            dns: Dns {
                nameservers: vec!["10.1.0.1".to_owned()],
                ..Dns::default()
            },
        }
    }

    #[test]
    fn every_version_is_read_as_it_was_written() {
        for version in crate::config::VERSIONS {
            let mut wanted = sample();
            if is_old(version) {
                wanted.interfaces.clear();
                wanted.ips.iter_mut().for_each(|ip| ip.interface = None);
            }
            let json = wanted.to_json(version);
            assert_eq!(
                CniResult::from_json(&json, "0.1.0").unwrap(),
                wanted,
                "{version}: {json}"
            );
        }
    }

    #[test]
    fn rubbish_is_refused() {
        let parse =
            |text: &str| CniResult::from_json(&serde_json::from_str(text).unwrap(), "1.0.0");
        assert!(parse("[]").is_err());
        assert!(parse(r#"{"ips":[{"address":"10.0.0.1"}]}"#).is_err());
        assert!(parse(r#"{"ips":[{}]}"#).is_err());
        assert!(parse(r#"{"routes":[{"dst":"x"}]}"#).is_err());
        assert!(parse(r#"{"cniVersion":"0.2.0","ip4":{"ip":"nonsense"}}"#).is_err());
    }
}

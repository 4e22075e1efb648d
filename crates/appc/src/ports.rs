//! Ports of an app and ports exposed on the host (specification, aci.md and pods.md).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::check::{At, Check, required};
use crate::json::{Extra, nullable};
use crate::{AcName, Error};

/// A port, or a range of them, that an app listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The name that [`ExposedPort`] refers to.
    pub name: AcName,
    /// The transport protocol, such as `tcp` or `udp`.
    pub protocol: String,
    /// The first port, from 1.
    pub port: u16,
    /// How many ports from `port` on; 1 when absent, null or 0.
    #[serde(default = "one", deserialize_with = "count")]
    pub count: u16,
    /// Whether the app takes the listening socket from the executor.
    #[serde(rename = "socketActivated", default, deserialize_with = "nullable")]
    pub socket_activated: bool,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A port of the host that leads to an app's port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExposedPort {
    /// The name of the app's port.
    pub name: AcName,
    /// The port on the host, from 1.
    #[serde(rename = "hostPort")]
    pub host_port: u16,
    /// The host's address to listen on; all of them when absent.
    #[serde(rename = "hostIP", default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// The port in the pod, where no app's manifest names it.
    #[serde(rename = "podPort", default, skip_serializing_if = "Option::is_none")]
    pub pod_port: Option<Port>,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

fn one() -> u16 {
    1
}

fn count<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<u16, D::Error> {
    nullable(reader).map(|n: u16| n.max(1))
}

impl Port {
    /// A single port.
    pub fn new(name: AcName, protocol: impl Into<String>, port: u16) -> Self {
        Port {
            name,
            protocol: protocol.into(),
            port,
            count: 1,
            socket_activated: false,
            extra: Extra::new(),
        }
    }
}

impl ExposedPort {
    /// A port on all addresses of the host.
    pub fn new(name: AcName, host_port: u16) -> Self {
        ExposedPort {
            name,
            host_port,
            host_ip: None,
            pod_port: None,
            extra: Extra::new(),
        }
    }

    /// Reads the command line's form, `NAME:[HOSTIP:]HOSTPORT`. An IPv6 address may stand in
    /// brackets.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = || Error::value("port", text, "must be NAME:[HOSTIP:]HOSTPORT");
        let (name, rest) = text.split_once(':').ok_or_else(fail)?;
        let (ip, port) = match rest.rsplit_once(':') {
            Some((ip, port)) => (Some(address(text, ip)?), port),
            None => (None, rest),
        };
        let mut exposed = ExposedPort::new(AcName::parse(name)?, number(text, port)?);
        exposed.host_ip = ip;
        Ok(exposed)
    }

    /// Reads the form of `rkt app sandbox`, `NAME:PROTOCOL:PODPORT:HOSTIP:HOSTPORT`.
    pub fn parse_with_pod_port(text: &str) -> Result<Self, Error> {
        let fail = || {
            Error::value(
                "port",
                text,
                "must be NAME:PROTOCOL:PODPORT:HOSTIP:HOSTPORT",
            )
        };
        let (rest, host_port) = text.rsplit_once(':').ok_or_else(fail)?;
        let mut parts = rest.splitn(4, ':');
        let mut next = || {
            parts
                .next()
                .filter(|part| !part.is_empty())
                .ok_or_else(fail)
        };
        let (name, protocol, pod_port, ip) = (AcName::parse(next()?)?, next()?, next()?, next()?);
        let mut exposed = ExposedPort::new(name.clone(), number(text, host_port)?);
        exposed.host_ip = Some(address(text, ip)?);
        exposed.pod_port = Some(Port::new(name, protocol, number(text, pod_port)?));
        Ok(exposed)
    }
}

fn address(text: &str, ip: &str) -> Result<IpAddr, Error> {
    let plain = ip
        .strip_prefix('[')
        .and_then(|ip| ip.strip_suffix(']'))
        .unwrap_or(ip);
    plain
        .parse()
        .map_err(|_| Error::value("port", text, format!("{ip:?} is not an IP address")))
}

fn number(text: &str, port: &str) -> Result<u16, Error> {
    match port.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Error::value(
            "port",
            text,
            format!("{port:?} is not a port from 1 to 65535"),
        )),
    }
}

impl Check for Port {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        required(&self.protocol, &at.field("protocol"))?;
        if self.port == 0 {
            return Err(at.field("port").fail("must be from 1 to 65535"));
        }
        match u32::from(self.port) + u32::from(self.count) > 65536 {
            true => Err(at
                .field("count")
                .fail("the range must end at 65535 or before")),
            false => Ok(()),
        }
    }
}

impl Check for ExposedPort {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        if self.host_port == 0 {
            return Err(at.field("hostPort").fail("must be from 1 to 65535"));
        }
        match &self.pod_port {
            Some(port) => port.check(&at.field("podPort")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_forms() {
        assert_eq!(ExposedPort::parse("http:8080").unwrap().host_port, 8080);
        let p = ExposedPort::parse("http:127.0.0.1:80").unwrap();
        assert_eq!(p.host_ip, Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(
            serde_json::to_string(&p).unwrap(),
            r#"{"name":"http","hostPort":80,"hostIP":"127.0.0.1"}"#
        );
        assert!(
            ExposedPort::parse("http:[::1]:80")
                .unwrap()
                .host_ip
                .unwrap()
                .is_ipv6()
        );
        assert!(
            ExposedPort::parse("http:::1:80")
                .unwrap()
                .host_ip
                .unwrap()
                .is_ipv6()
        );
        for bad in [
            "",
            "http",
            "http:",
            "http:0",
            "http:65536",
            "http:x:80",
            "HTTP:80",
            "http::80",
        ] {
            assert!(ExposedPort::parse(bad).is_err(), "{bad:?}");
        }
        let p = ExposedPort::parse_with_pod_port("http:tcp:80:::1:8080").unwrap();
        assert_eq!((p.host_port, p.pod_port.unwrap().port), (8080, 80));
        assert!(ExposedPort::parse_with_pod_port("http:tcp:80:8080").is_err());
    }
}

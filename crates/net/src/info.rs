//! `net-info.json` in the pod's directory: the networks that a pod is attached to. `rkt list` and
//! `rkt status` show it, and the tear-down goes by it.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cni::{CniResult, IpConfig};
use crate::error::{Error, Result};
use crate::portmap::Forward;
use crate::rtnl::Rtnl;
use crate::select::{join_args, split_args};

/// The file's name.
pub const NET_INFO: &str = "net-info.json";

/// Bytes of the file that are read.
const MOST_BYTES: u64 = 16 << 20;

/// One network of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetInfo {
    /// The network's name.
    pub net_name: String,
    /// Its configuration file's name, under `net/` in the pod's directory.
    pub net_conf: String,
    /// The interface in the pod.
    pub if_name: String,
    /// The user's arguments.
    pub args: Vec<(String, String)>,
    /// What set-up answered; `None` if it has not ended.
    pub result: Option<CniResult>,
    /// Ports of the host that lead here.
    pub ports: Vec<Forward>,
}

impl NetInfo {
    /// The pod's first address, IPv4 first.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        let ips = || self.result.iter().flat_map(|result| &result.ips);
        let v4 = ips().find(|ip| ip.address.addr.is_ipv4());
        v4.or_else(|| ips().next()).map(|ip| ip.address.addr)
    }

    /// All of the pod's addresses.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.result
            .iter()
            .flat_map(|result| &result.ips)
            .map(|ip| ip.address.addr)
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        put("netName", json!(self.net_name));
        put("netConf", json!(self.net_conf));
        put("ifName", json!(self.if_name));
        let ips = || self.result.iter().flat_map(|result| &result.ips);
        if let Some(ip) = ips().find(|ip| Some(ip.address.addr) == self.ip()) {
            put("ip", json!(ip.address.addr.to_string()));
            put("mask", json!(ip.address.mask().to_string()));
        } else {
            put("ip", json!(""));
            put("mask", json!(""));
        }
        put("args", json!(join_args(&self.args)));
        if !self.ports.is_empty() {
            put("ports", self.ports.iter().map(Forward::to_json).collect());
        }
        if let Some(result) = &self.result {
            put("result", result.to_json("1.1.0"));
        }
        Value::Object(map)
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        let ports = value.get("ports").and_then(Value::as_array);
        let result = value
            .get("result")
            .map(|result| CniResult::from_json(result, "1.1.0"));
        Some(Self {
            net_name: text("netName")?.to_owned(),
            net_conf: text("netConf")?.to_owned(),
            if_name: text("ifName")?.to_owned(),
            args: split_args(text("args").unwrap_or_default()),
            result: result.and_then(Result::ok),
            ports: ports
                .into_iter()
                .flatten()
                .filter_map(Forward::from_json)
                .collect(),
        })
    }
}

/// Reads the networks of a pod; none if the file is not there (yet, or for `host` and `none`).
///
/// # Errors
/// The file cannot be read or is not what rkt writes.
pub fn read(pod_dir: &Path) -> Result<Vec<NetInfo>> {
    use std::io::Read;
    let path = pod_dir.join(NET_INFO);
    let mut text = String::new();
    match std::fs::File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
        Ok(file) => file
            .take(MOST_BYTES)
            .read_to_string(&mut text)
            .map_err(Error::io("read", &path))?,
    };
    let wrong = |problem: String| Error::File {
        file: path.clone(),
        problem,
    };
    let value: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let list = value
        .as_array()
        .ok_or_else(|| wrong("not a list".to_owned()))?;
    let infos = list
        .iter()
        .map(NetInfo::from_json)
        .collect::<Option<Vec<_>>>();
    infos.ok_or_else(|| wrong("an entry lacks netName, netConf or ifName".to_owned()))
}

/// Notes a network that a program outside has connected the pod in `netns` to; `info` has all but
/// its addresses, which are those of the interface.
///
/// # Errors
/// The interface is missing or has no address of more than its link; the file cannot be written.
pub fn note_connected(pod_dir: &Path, netns: BorrowedFd<'_>, mut info: NetInfo) -> Result<NetInfo> {
    let mut pod = Rtnl::open_in(netns)?;
    let link = pod.need_link(&info.if_name)?;
    let addresses = pod.addresses()?.into_iter();
    let addresses =
        addresses.filter(|(index, address)| *index == link.index && is_global(address.addr));
    let ips = addresses.map(|(_, address)| IpConfig {
        interface: None,
        address,
        gateway: None,
    });
    let result = CniResult {
        ips: ips.collect(),
        ..CniResult::default()
    };
    info.result = Some(result);
    if info.ip().is_none() {
        return Err(Error::NoAddress {
            interface: info.if_name,
        });
    }
    write(pod_dir, std::slice::from_ref(&info))?;
    Ok(info)
}

fn is_global(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => !addr.is_link_local(),
        IpAddr::V6(addr) => !addr.is_unicast_link_local(),
    }
}

/// Writes the networks of a pod, all at once.
pub(crate) fn write(pod_dir: &Path, infos: &[NetInfo]) -> Result<()> {
    let path = pod_dir.join(NET_INFO);
    let new = pod_dir.join(".net-info.json.new");
    let value = Value::Array(infos.iter().map(NetInfo::to_json).collect());
    std::fs::write(&new, value.to_string()).map_err(Error::io("write", &new))?;
    std::fs::rename(&new, &path).map_err(Error::io("write", path))
}

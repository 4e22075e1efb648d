//! What is written down about a lease, so that it can be given back after a kill: a file beside
//! `host-local`'s leases, there before the server is asked for the address.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::offer::Times;
use crate::attachment::Attachment;
use crate::cidr::Cidr;
use crate::cni::CniResult;
use crate::error::{Error, Result};

/// What the files' names begin with; a container's id and an interface follow.
const PREFIX: &str = "dhcp-";

/// Bytes of a record that are read.
const MOST_BYTES: u64 = 64 * 1024;

/// A lease of a DHCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The container's id: for rkt the pod's UUID.
    pub(crate) container: String,
    /// The interface in the container.
    pub(crate) interface: String,
    /// The address with its network.
    pub(crate) address: Cidr,
    /// The server.
    pub(super) server: Ipv4Addr,
    /// The hardware address that answers for the server: its own, or a relay's.
    pub(super) server_mac: [u8; 6],
    /// The client's hardware address.
    pub(super) mac: [u8; 6],
    /// What the client is called.
    pub(super) client_id: Vec<u8>,
    /// Routes that came with the address.
    pub(super) result: CniResult,
    /// The lease's times, counted from when the machine started; `None` before it is given.
    pub(super) times: Option<Times>,
}

impl Record {
    fn to_json(&self) -> Value {
        json!({
            "container": self.container,
            "interface": self.interface,
            "address": self.address.to_string(),
            "server": self.server.to_string(),
            "serverMac": crate::mac::text(self.server_mac),
            "mac": crate::mac::text(self.mac),
            "clientId": self.client_id,
            "result": self.result.to_json("1.1.0"),
            "times": self.times.map(|times| {
                let end = times.end.map(|end| end.as_secs());
                json!([times.renew.as_secs(), times.rebind.as_secs(), end])
            }),
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |field: &str| value.get(field)?.as_str();
        let id = value.get("clientId")?.as_array()?;
        let id = id.iter().map(|byte| byte.as_u64()?.try_into().ok());
        let result = CniResult::from_json(value.get("result")?, "1.1.0").ok()?;
        let times = value.get("times").and_then(Value::as_array);
        let times = times.and_then(|times| {
            let seconds = |at: usize| times.get(at)?.as_u64().map(Duration::from_secs);
            Some(Times {
                renew: seconds(0)?,
                rebind: seconds(1)?,
                end: seconds(2),
            })
        });
        Some(Self {
            result,
            times,
            container: text("container")?.to_owned(),
            interface: text("interface")?.to_owned(),
            address: text("address")?.parse().ok()?,
            server: text("server")?.parse().ok()?,
            server_mac: crate::mac::parse(text("serverMac")?)?,
            mac: crate::mac::parse(text("mac")?)?,
            client_id: id.collect::<Option<_>>()?,
        })
    }

    /// The address alone.
    pub(super) fn addr(&self) -> Ipv4Addr {
        match self.address.addr {
            IpAddr::V4(addr) => addr,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// Writes it down, all at once.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(Error::io("make directory", directory))?;
        }
        let new = path.with_extension("new");
        fs::write(&new, self.to_json().to_string()).map_err(Error::io("write", &new))?;
        fs::rename(&new, path).map_err(Error::io("write", path))
    }
}

/// The record's place for an attachment.
pub(super) fn path(at: &Attachment<'_>) -> PathBuf {
    place(
        &at.paths.leases.join(&at.network.name),
        at.container,
        at.ifname,
    )
}

fn place(directory: &Path, container: &str, interface: &str) -> PathBuf {
    directory.join(format!("{PREFIX}{container}-{interface}"))
}

/// Removes the record of a container's interface; a missing one is no error.
pub(crate) fn forget(directory: &Path, container: &str, interface: &str) -> Result<()> {
    remove(&place(directory, container, interface))
}

/// Reads a record; `None` if there is none, or none that can be understood.
pub(super) fn read(path: &Path) -> Result<Option<Record>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(Error::io("read", path))?,
    };
    let mut bytes = Vec::new();
    file.take(MOST_BYTES)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(Record::from_json(&value))
}

/// Removes a record, and one that was being written.
pub(super) fn remove(path: &Path) -> Result<()> {
    for path in [path.with_extension("new"), path.to_owned()] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("remove", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// All records in the directory of a network.
pub(crate) fn leases(directory: &Path) -> Result<Vec<Record>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read", directory))?,
    };
    let mut records = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", directory))?;
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|n| n.starts_with(PREFIX) && !n.ends_with(".new"))
        {
            records.extend(read(&entry.path())?);
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn records_are_found_again_and_rubbish_is_none() {
        let dir = TempDir::new();
        let record = Record {
            container: "c".to_owned(),
            interface: "eth0".to_owned(),
            address: "10.0.0.9/24".parse().unwrap(),
            server: [10, 0, 0, 1].into(),
            server_mac: [2, 0, 0, 0, 0, 1],
            mac: [2; 6],
            client_id: vec![0, b'c'],
            result: CniResult::default(),
            times: Some(Times {
                renew: Duration::from_secs(1),
                rebind: Duration::from_secs(2),
                end: None,
            }),
        };
        let path = dir.path().join("net/dhcp-c-eth0");
        record.write(&path).unwrap();
        assert_eq!(read(&path).unwrap().as_ref(), Some(&record));
        fs::write(dir.path().join("net/dhcp-x-eth0"), "{").unwrap();
        fs::write(dir.path().join("net/10.0.0.2"), "c\r\neth0").unwrap();
        assert_eq!(leases(&dir.path().join("net")).unwrap(), [record]);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(leases(&dir.path().join("net")).unwrap(), []);
        assert_eq!(leases(&dir.path().join("none")).unwrap(), []);
    }
}

//! `flannel`: reads which subnet the flannel daemon has given this host, and hands the work on to
//! another type (a bridge unless the configuration says otherwise), configured for that subnet.
//! What was handed on is written down, since by the pod's end flannel may have moved.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{Driver, builtin, outside};
use crate::attachment::Attachment;
use crate::cidr::Cidr;
use crate::cni::CniResult;
use crate::config::Fields;
use crate::error::{Error, Result};

/// Where the daemon writes its subnet.
const SUBNET_FILE: &str = "/run/flannel/subnet.env";

/// Bytes of the daemon's file, or of a note of ours, that are read.
const MOST_BYTES: u64 = 1 << 20;

/// The configuration.
#[derive(Debug)]
pub(super) struct Flannel {
    subnet_file: PathBuf,
    /// Where notes of what was handed on are; beside the leases unless configured.
    data_dir: Option<PathBuf>,
    delegate: Map<String, Value>,
}

/// What the daemon says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Daemon {
    networks: Vec<Cidr>,
    subnets: Vec<Cidr>,
    mtu: u32,
    /// The daemon masquerades by itself.
    masquerades: bool,
}

impl Flannel {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self> {
        let path = |field: &str| -> Result<Option<PathBuf>> {
            Ok(fields
                .text(field)?
                .filter(|text| !text.is_empty())
                .map(PathBuf::from))
        };
        let delegate = match fields.value("delegate") {
            Some(Value::Object(map)) => map.clone(),
            None => Map::new(),
            Some(_) => return Err(fields.error("delegate", "must be an object")),
        };
        if let Some(own) = fields.object("delegate")? {
            for field in ["name", "ipam"] {
                if own.value(field).is_some() {
                    let problem =
                        "is flannel's to say; routes and the like go into this plugin's own ipam";
                    return Err(own.error(field, problem));
                }
            }
            let kind = own.text("type")?.unwrap_or("bridge");
            if kind == "flannel" || crate::config::check_name(kind).is_err() {
                return Err(own.error("type", format!("{kind:?} cannot do flannel's work")));
            }
            // The fields that do not depend on the daemon are validated before anything is touched.
            if let Some(driver) = builtin(
                kind,
                &Fields::new(fields.file(), "delegate", &with_ipam(&delegate, &[])),
            ) {
                driver?;
            }
        }
        let _ = fields.object("ipam")?;
        Ok(Self {
            subnet_file: path("subnetFile")?.unwrap_or_else(|| SUBNET_FILE.into()),
            data_dir: path("dataDir")?,
            delegate,
        })
    }

    fn daemon(&self) -> Result<Daemon> {
        let text = read(&self.subnet_file)?.ok_or_else(|| Error::File {
            file: self.subnet_file.clone(),
            problem: "is not there; is flannel running?".to_owned(),
        })?;
        Daemon::parse(&text).map_err(|problem| Error::File {
            file: self.subnet_file.clone(),
            problem,
        })
    }

    /// The configuration that the work is handed on with.
    fn handed_on(&self, at: &Attachment<'_>) -> Result<Map<String, Value>> {
        let daemon = self.daemon()?;
        let mut conf = self.delegate.clone();
        conf.insert("name".to_owned(), json!(at.network.name));
        conf.insert("cniVersion".to_owned(), json!(at.network.cni_version));
        let mut default = |field: &str, value: Value| {
            conf.entry(field).or_insert(value);
        };
        default("type", json!("bridge"));
        default("ipMasq", json!(!daemon.masquerades));
        if daemon.mtu > 0 {
            default("mtu", json!(daemon.mtu));
        }
        if conf.get("type").and_then(Value::as_str) == Some("bridge") {
            conf.entry("isGateway").or_insert(json!(true));
        }
        // More routes than flannel's, and other fields of host-local, are this plugin's to add.
        let more = at.conf.get("ipam").and_then(Value::as_object);
        let mut conf = with_ipam(&conf, &daemon.subnets);
        if let Some(Value::Object(ipam)) = conf.get_mut("ipam") {
            for (field, value) in more.into_iter().flatten() {
                ipam.entry(field).or_insert_with(|| value.clone());
            }
            let mut routes = match ipam.get("routes") {
                Some(Value::Array(routes)) => routes.clone(),
                _ => Vec::new(),
            };
            routes.extend(
                daemon
                    .networks
                    .iter()
                    .map(|n| json!({ "dst": n.network().to_string() })),
            );
            ipam.insert("routes".to_owned(), Value::Array(routes));
        }
        Ok(conf)
    }

    /// The note for an attachment.
    fn note(&self, at: &Attachment<'_>) -> PathBuf {
        let beside = || {
            at.paths
                .leases
                .parent()
                .unwrap_or(&at.paths.leases)
                .join("flannel")
        };
        let directory = self.data_dir.clone().unwrap_or_else(beside);
        directory.join(format!("{}-{}", at.container, at.ifname))
    }

    /// What was handed on; `None` if nothing was.
    fn noted(&self, at: &Attachment<'_>) -> Result<Option<Map<String, Value>>> {
        let text = read(&self.note(at))?.unwrap_or_default();
        // A note that was being written is that of an attachment not begun.
        Ok(match serde_json::from_str(&text) {
            Ok(Value::Object(conf)) => Some(conf),
            _ => None,
        })
    }
}

/// The configuration with an `ipam` for subnets.
fn with_ipam(conf: &Map<String, Value>, subnets: &[Cidr]) -> Map<String, Value> {
    let placeholder = ["0.0.0.0/0".parse().unwrap_or(Cidr::host([0; 4].into()))];
    let subnets = if subnets.is_empty() {
        &placeholder
    } else {
        subnets
    };
    let ranges: Vec<Value> = subnets
        .iter()
        .map(|subnet| json!([{ "subnet": subnet.network().to_string() }]))
        .collect();
    let mut conf = conf.clone();
    conf.insert(
        "ipam".to_owned(),
        json!({ "type": "host-local", "ranges": ranges }),
    );
    conf
}

fn read(path: &Path) -> Result<Option<String>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(Error::io("read", path))?,
    };
    let mut text = String::new();
    file.take(MOST_BYTES)
        .read_to_string(&mut text)
        .map_err(Error::io("read", path))?;
    Ok(Some(text))
}

impl Daemon {
    /// Reads `FLANNEL_…=…` lines.
    fn parse(text: &str) -> Result<Self, String> {
        let mut daemon = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.trim().split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches('"');
            let wrong = |problem: &str| format!("{name}={value}: {problem}");
            let cidrs = || -> Result<Vec<Cidr>, String> {
                let parts = value.split(',').filter(|part| !part.is_empty());
                parts
                    .map(|part| part.trim().parse().map_err(wrong))
                    .collect()
            };
            match name {
                "FLANNEL_NETWORK" | "FLANNEL_IPV6_NETWORK" => daemon.networks.extend(cidrs()?),
                "FLANNEL_SUBNET" | "FLANNEL_IPV6_SUBNET" => daemon.subnets.extend(cidrs()?),
                "FLANNEL_MTU" => {
                    let mtu = value.parse().ok().filter(|mtu| *mtu <= 65536);
                    daemon.mtu = mtu.ok_or_else(|| wrong("is no MTU"))?;
                }
                "FLANNEL_IPMASQ" => {
                    daemon.masquerades = value
                        .parse()
                        .map_err(|_| wrong("is neither true nor false"))?;
                }
                _ => {}
            }
        }
        match daemon.subnets.is_empty() {
            true => Err("names no FLANNEL_SUBNET".to_owned()),
            false => Ok(daemon),
        }
    }
}

/// Lends the work to the type that `conf` names.
fn hand_on<T>(
    at: &mut Attachment<'_>,
    conf: &Map<String, Value>,
    work: impl FnOnce(&dyn Driver, &mut Attachment<'_>) -> T,
) -> Result<T> {
    let kind = conf.get("type").and_then(Value::as_str).unwrap_or("bridge");
    let driver = match builtin(kind, &Fields::new(Path::new("flannel"), "delegate", conf)) {
        Some(driver) => driver?,
        None => Box::new(outside::Outside::new(kind)),
    };
    Ok(work(driver.as_ref(), &mut at.configured(conf)))
}

impl Driver for Flannel {
    fn set_up(&self, at: &mut Attachment<'_>, previous: Option<CniResult>) -> Result<CniResult> {
        let conf = self.handed_on(at)?;
        let note = self.note(at);
        if let Some(directory) = note.parent() {
            fs::create_dir_all(directory).map_err(Error::io("make directory", directory))?;
        }
        fs::write(&note, Value::Object(conf.clone()).to_string())
            .map_err(Error::io("write", &note))?;
        hand_on(at, &conf, |driver, at| driver.set_up(at, previous))?
    }

    fn check(&self, at: &mut Attachment<'_>, result: &CniResult) -> Result<()> {
        match self.noted(at)? {
            Some(conf) => hand_on(at, &conf, |driver, at| driver.check(at, result))?,
            None => Err(at.error("flannel", "the note of what was handed on is gone")),
        }
    }

    fn tear_down(&self, at: &mut Attachment<'_>, result: Option<&CniResult>) -> Vec<Error> {
        let note = self.note(at);
        let errors = match self.noted(at) {
            Ok(Some(conf)) => hand_on(at, &conf, |driver, at| driver.tear_down(at, result))
                .unwrap_or_else(|error| vec![error]),
            Ok(None) => Vec::new(),
            Err(error) => vec![error],
        };
        // While the collector has interfaces to look for, it has to know of which type.
        if errors.is_empty() && !at.namespace_ends {
            return forget(&note).err().into_iter().collect();
        }
        errors
    }

    fn sweep(&self, at: &mut Attachment<'_>) -> Result<()> {
        if let Some(conf) = self.noted(at)? {
            hand_on(at, &conf, |driver, at| driver.sweep(at))??;
        }
        forget(&self.note(at))
    }

    fn ready(&self, _at: &mut Attachment<'_>) -> Result<()> {
        self.daemon().map(drop)
    }

    fn masquerades(&self) -> bool {
        let delegate = self.delegate.get("ipMasq").and_then(Value::as_bool);
        delegate.unwrap_or_else(|| self.daemon().is_ok_and(|daemon| !daemon.masquerades))
    }
}

fn forget(note: &Path) -> Result<()> {
    match fs::remove_file(note) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", note)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_file_is_read_and_nonsense_is_named() {
        let text = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n\
                    FLANNEL_IPV6_SUBNET=fd00:17::1/64\nOTHER=x\n";
        let daemon = Daemon::parse(text).unwrap();
        assert_eq!(daemon.subnets.len(), 2);
        assert_eq!((daemon.mtu, daemon.masquerades), (1472, true));
        for (text, word) in [
            ("", "FLANNEL_SUBNET"),
            ("FLANNEL_SUBNET=x", "FLANNEL_SUBNET=x"),
            (
                "FLANNEL_SUBNET=10.1.0.0/24\nFLANNEL_MTU=lots",
                "FLANNEL_MTU=lots",
            ),
            (
                "FLANNEL_SUBNET=10.1.0.0/24\nFLANNEL_IPMASQ=maybe",
                "FLANNEL_IPMASQ=maybe",
            ),
        ] {
            let problem = Daemon::parse(text).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}

//! The built-in types as CNI plugins for other runtimes: the other side of the CNI
//! specification's execution protocol.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::attachment::{Attachment, Kernel, Paths, Runtime};
use crate::cni::CniResult;
use crate::config::{Fields, Network, VERSIONS};
use crate::error::{Error, Result};
use crate::ipam::Ipam;
use crate::kind::{self, Driver};
use crate::select::split_args;

/// Bytes of a configuration that are read.
pub const MOST_INPUT: u64 = 4 << 20;

/// What a plugin answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The exit status.
    pub status: u8,
    /// What goes to standard output.
    pub output: String,
}

/// Error codes of the CNI specification, "Error".
mod code {
    pub(super) const VERSION: u32 = 1;
    pub(super) const ENVIRONMENT: u32 = 4;
    pub(super) const IO: u32 = 5;
    pub(super) const DECODE: u32 = 6;
    pub(super) const CONFIGURATION: u32 = 7;
    pub(super) const OTHER: u32 = 100;
}

struct Refusal {
    code: u32,
    message: String,
}

impl Refusal {
    fn new(code: u32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Plugin { code, .. } if *code != 0 => *code,
            Error::Field { field, .. } if field == "cniVersion" => code::VERSION,
            Error::Field { .. } | Error::File { .. } => code::CONFIGURATION,
            Error::Io { .. } => code::IO,
            _ => code::OTHER,
        };
        Self::new(code, error.to_string())
    }
}

/// Acts as the plugin `kind` (or, without one, as that which the configuration's `type` names),
/// with the environment and standard input of a CNI plugin.
pub fn plugin(
    kind: Option<&str>,
    environment: impl Fn(&str) -> Option<String>,
    input: &[u8],
    paths: &Paths,
) -> Answer {
    let version = || {
        let value: Value = serde_json::from_slice(input).ok()?;
        Some(value.get("cniVersion")?.as_str()?.to_owned())
    };
    let version = version().unwrap_or_else(|| "1.0.0".to_owned());
    match answer(kind, environment, input, paths) {
        Ok(output) => Answer { status: 0, output },
        Err(refusal) => {
            let error =
                json!({ "cniVersion": version, "code": refusal.code, "msg": refusal.message });
            Answer {
                status: 1,
                output: error.to_string(),
            }
        }
    }
}

/// What a plugin is called with.
struct Call {
    network: Network,
    container: String,
    ifname: String,
    netns: Option<File>,
    netns_path: String,
    args: Vec<(String, String)>,
    runtime: Runtime,
    previous: Option<CniResult>,
    conf: Map<String, Value>,
}

fn answer(
    kind: Option<&str>,
    environment: impl Fn(&str) -> Option<String>,
    input: &[u8],
    paths: &Paths,
) -> Result<String, Refusal> {
    let get = |name: &str| environment(name).filter(|value| !value.is_empty());
    let need = |name: &str| {
        get(name).ok_or_else(|| Refusal::new(code::ENVIRONMENT, format!("{name} is not set")))
    };
    let command = need("CNI_COMMAND")?;
    if command == "VERSION" {
        let newest = VERSIONS.last().copied().unwrap_or_default();
        return Ok(json!({ "cniVersion": newest, "supportedVersions": VERSIONS }).to_string());
    }
    if matches!(command.as_str(), "STATUS" | "GC") {
        return Ok(String::new());
    }
    let mut call = Call::read(&get, input)?;
    let kind = kind
        .unwrap_or(call.network.plugins.first().map_or("", |p| &p.kind))
        .to_owned();
    let previous = call.previous.take();
    let version = call.network.cni_version.clone();
    let fields = Fields::new(&call.network.path, "", &call.conf);
    let driver: Box<dyn Driver> = match kind::builtin(&kind, &fields) {
        Some(driver) => driver?,
        None => Box::new(AddressPlugin(address_plugin(&kind, &call)?)),
    };
    let mut kernel = Kernel::default();
    let mut at = call.attachment(paths, &mut kernel);
    let result = match command.as_str() {
        "ADD" => {
            let set_up = driver.set_up(&mut at, previous);
            if set_up.is_err() {
                let _ = driver.tear_down(&mut at, None);
            }
            Some(set_up?)
        }
        "CHECK" => {
            let missing = || Refusal::new(code::CONFIGURATION, "prevResult is missing");
            driver.check(&mut at, &previous.ok_or_else(missing)?)?;
            None
        }
        "DEL" => match driver
            .tear_down(&mut at, previous.as_ref())
            .into_iter()
            .next()
        {
            Some(error) => return Err(error.into()),
            None => None,
        },
        other => {
            let problem = format!("CNI_COMMAND {other:?} is not known");
            return Err(Refusal::new(code::ENVIRONMENT, problem));
        }
    };
    kernel.close();
    Ok(result
        .map(|result| result.to_json(&version).to_string())
        .unwrap_or_default())
}

impl Call {
    fn read(get: &impl Fn(&str) -> Option<String>, input: &[u8]) -> Result<Self, Refusal> {
        let need = |name: &str| {
            get(name).ok_or_else(|| Refusal::new(code::ENVIRONMENT, format!("{name} is not set")))
        };
        let text = std::str::from_utf8(input)
            .map_err(|_| Refusal::new(code::DECODE, "the configuration is not UTF-8"))?;
        let conf = match serde_json::from_str(text) {
            Ok(Value::Object(conf)) => conf,
            Ok(_) => {
                return Err(Refusal::new(
                    code::DECODE,
                    "the configuration is no JSON object",
                ));
            }
            Err(error) => return Err(Refusal::new(code::DECODE, error.to_string())),
        };
        let network = Network::parse(Path::new("standard input"), text)?;
        let container = need("CNI_CONTAINERID")?;
        crate::config::check_name(&container).map_err(|problem| {
            Refusal::new(code::ENVIRONMENT, format!("CNI_CONTAINERID {problem}"))
        })?;
        let ifname = need("CNI_IFNAME")?;
        if ifname.len() > 15 || ifname.contains(['/', ' ', ':']) || matches!(&*ifname, "." | "..") {
            let problem = format!("CNI_IFNAME {ifname:?} cannot be an interface's name");
            return Err(Refusal::new(code::ENVIRONMENT, problem));
        }
        let netns_path = get("CNI_NETNS").unwrap_or_default();
        let netns = match (File::open(&netns_path), get("CNI_COMMAND").as_deref()) {
            (Ok(netns), _) => Some(netns),
            (Err(_), Some("DEL")) => None,
            (Err(error), _) => {
                let problem = format!("CNI_NETNS {netns_path:?}: {error}");
                return Err(Refusal::new(code::ENVIRONMENT, problem));
            }
        };
        let previous = conf.get("prevResult").filter(|value| !value.is_null());
        let previous = previous
            .map(|value| CniResult::from_json(value, &network.cni_version))
            .transpose()
            .map_err(|problem| Refusal::new(code::DECODE, format!("prevResult: {problem}")))?;
        let args = split_args(&get("CNI_ARGS").unwrap_or_default());
        let runtime = runtime(&conf);
        Ok(Self {
            network,
            container,
            ifname,
            netns,
            netns_path,
            args,
            runtime,
            previous,
            conf,
        })
    }

    fn attachment<'a>(&'a self, paths: &'a Paths, kernel: &'a mut Kernel) -> Attachment<'a> {
        Attachment {
            container: &self.container,
            network: &self.network.name,
            ifname: &self.ifname,
            netns: self.netns.as_ref().map(AsFd::as_fd),
            namespace_ends: false,
            netns_path: &self.netns_path,
            args: &self.args,
            runtime: &self.runtime,
            paths,
            kernel,
            conf: &self.conf,
            cni_version: &self.network.cni_version,
        }
    }
}

/// The capability arguments that are not a single plugin's own.
fn runtime(conf: &Map<String, Value>) -> Runtime {
    let runtime = conf.get("runtimeConfig");
    let field = |name: &str| runtime.and_then(|runtime| runtime.get(name));
    let ips = field("ips").and_then(Value::as_array).into_iter().flatten();
    Runtime {
        ips: ips
            .filter_map(Value::as_str)
            .take(64)
            .map(str::to_owned)
            .collect(),
        mac: field("mac").and_then(Value::as_str).map(str::to_owned),
        ..Runtime::default()
    }
}

/// Address management called for itself, as other plugins do.
#[derive(Debug)]
struct AddressPlugin(Ipam);

fn address_plugin(kind: &str, call: &Call) -> Result<Ipam, Refusal> {
    let fields = Fields::new(&call.network.path, "", &call.conf);
    match Ipam::parse(&fields)? {
        ipam @ (Ipam::HostLocal(_) | Ipam::Static(_)) => Ok(ipam),
        _ => Err(Refusal::new(
            code::CONFIGURATION,
            format!("there is no built-in plugin {kind:?}"),
        )),
    }
}

impl Driver for AddressPlugin {
    fn set_up(&self, at: &mut Attachment<'_>, _previous: Option<CniResult>) -> Result<CniResult> {
        self.0.allocate(at)
    }

    fn check(&self, _at: &mut Attachment<'_>, _result: &CniResult) -> Result<()> {
        Ok(())
    }

    fn tear_down(&self, at: &mut Attachment<'_>, result: Option<&CniResult>) -> Vec<Error> {
        self.0.release(at, result).err().into_iter().collect()
    }
}

//! The built-in types as CNI plugins for other runtimes: the other side of the CNI
//! specification's execution protocol.

mod collect;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::attachment::{Attachment, Kernel, Paths, Runtime};
use crate::cni::CniResult;
use crate::config::{Fields, Network, VERSIONS};
use crate::error::{Error, Result};
use crate::ipam::Ipam;
use crate::ipam::dhcp::{Dhcp, Keeper};
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
    /// A lease of a DHCP server was got that must be kept: see [`resume`].
    pub keeps_lease: bool,
}

/// Error codes of the CNI specification, "Error".
mod code {
    pub(super) const VERSION: u32 = 1;
    pub(super) const ENVIRONMENT: u32 = 4;
    pub(super) const IO: u32 = 5;
    pub(super) const DECODE: u32 = 6;
    pub(super) const CONFIGURATION: u32 = 7;
    pub(super) const NOT_READY: u32 = 50;
    pub(super) const OTHER: u32 = 100;
}

#[derive(Debug)]
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
        Ok((output, keeps_lease)) => Answer {
            status: 0,
            output,
            keeps_lease,
        },
        Err(refusal) => {
            let error =
                json!({ "cniVersion": version, "code": refusal.code, "msg": refusal.message });
            Answer {
                status: 1,
                output: error.to_string(),
                keeps_lease: false,
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
) -> Result<(String, bool), Refusal> {
    let get = |name: &str| environment(name).filter(|value| !value.is_empty());
    let command = need(&get, "CNI_COMMAND")?;
    if command == "VERSION" {
        return Ok((versions(input).to_string(), false));
    }
    let mut call = Call::read(&get, &command, input)?;
    let previous = call.previous.take();
    let version = call.network.cni_version.clone();
    let driver = call.driver(kind)?;
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
            // A result without addresses tells nothing about them.
            .tear_down(&mut at, previous.filter(|p| !p.ips.is_empty()).as_ref())
            .into_iter()
            .next()
        {
            Some(error) => return Err(error.into()),
            None => None,
        },
        "STATUS" => {
            let ready = driver.ready(&mut at);
            ready.map_err(|error| Refusal::new(code::NOT_READY, error.to_string()))?;
            None
        }
        "GC" => {
            collect::collect(&mut at, &call.network)?;
            None
        }
        other => {
            let problem = format!("CNI_COMMAND {other:?} is not known");
            return Err(Refusal::new(code::ENVIRONMENT, problem));
        }
    };
    let keeps_lease = command == "ADD" && !kernel.keepers.is_empty();
    kernel.close();
    let output = result.map(|result| result.to_json(&version).to_string());
    Ok((output.unwrap_or_default(), keeps_lease))
}

/// The lease that an `ADD` with this environment and input got, to be kept until its `DEL`.
///
/// # Errors
/// What is wrong with the call, or that there is no lease.
pub fn resume(
    environment: impl Fn(&str) -> Option<String>,
    input: &[u8],
    paths: &Paths,
) -> Result<Keeper, String> {
    let get = |name: &str| environment(name).filter(|value| !value.is_empty());
    let resume = || -> Result<Keeper, Refusal> {
        let call = Call::read(&get, "ADD", input)?;
        let mut kernel = Kernel::default();
        let at = call.attachment(paths, &mut kernel);
        let fields = Fields::new(&call.network.path, "", &call.conf);
        let ipam = fields.object("ipam")?;
        let dhcp = Dhcp::parse(ipam.as_ref().unwrap_or(&fields))?;
        Ok(dhcp.resume(&at)?)
    };
    resume().map_err(|refusal| refusal.message)
}

fn need(get: &impl Fn(&str) -> Option<String>, name: &str) -> Result<String, Refusal> {
    get(name).ok_or_else(|| Refusal::new(code::ENVIRONMENT, format!("{name} is not set")))
}

/// The versions of the specification that are spoken.
fn versions(input: &[u8]) -> Value {
    let asked: Value = serde_json::from_slice(input).unwrap_or_default();
    let asked = asked.get("cniVersion").and_then(Value::as_str);
    let newest = VERSIONS.last().copied().unwrap_or_default();
    json!({ "cniVersion": asked.unwrap_or(newest), "supportedVersions": VERSIONS })
}

impl Call {
    fn read(
        get: &impl Fn(&str) -> Option<String>,
        command: &str,
        input: &[u8],
    ) -> Result<Self, Refusal> {
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
        // These two are about the network and no container.
        let of_container = !matches!(command, "STATUS" | "GC");
        let (mut container, mut ifname) = (String::new(), String::new());
        if of_container {
            container = need(get, "CNI_CONTAINERID")?;
            crate::config::check_name(&container).map_err(|problem| {
                Refusal::new(code::ENVIRONMENT, format!("CNI_CONTAINERID {problem}"))
            })?;
            ifname = need(get, "CNI_IFNAME")?;
        }
        if ifname.len() > 15 || ifname.contains(['/', ' ', ':']) || matches!(&*ifname, "." | "..") {
            let problem = format!("CNI_IFNAME {ifname:?} cannot be an interface's name");
            return Err(Refusal::new(code::ENVIRONMENT, problem));
        }
        let netns_path = get("CNI_NETNS").unwrap_or_default();
        let netns = match File::open(&netns_path) {
            Ok(netns) => Some(netns),
            Err(_) if command == "DEL" || !of_container => None,
            Err(error) => {
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

    /// The type to act as: `kind`, or the one that the configuration names.
    fn driver(&self, kind: Option<&str>) -> Result<Box<dyn Driver>, Refusal> {
        let named = self.network.plugins.first().map_or("", |p| &p.kind);
        let kind = kind.unwrap_or(named);
        let fields = Fields::new(&self.network.path, "", &self.conf);
        if let Some(driver) = kind::builtin(kind, &fields) {
            return Ok(driver?);
        }
        let unknown = || {
            let problem = format!("there is no built-in plugin {kind:?}");
            Refusal::new(code::CONFIGURATION, problem)
        };
        // Address management is configured by an object of the network type's configuration.
        let ipam = fields.object("ipam")?;
        let ipam = Ipam::builtin(kind, ipam.as_ref().unwrap_or(&fields)).ok_or_else(unknown)?;
        Ok(Box::new(AddressPlugin(ipam?)))
    }

    fn attachment<'a>(&'a self, paths: &'a Paths, kernel: &'a mut Kernel) -> Attachment<'a> {
        Attachment {
            container: &self.container,
            network: &self.network,
            ifname: &self.ifname,
            netns: self.netns.as_ref().map(AsFd::as_fd),
            namespace_ends: false,
            netns_path: &self.netns_path,
            args: &self.args,
            runtime: &self.runtime,
            paths,
            kernel,
            conf: &self.conf,
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

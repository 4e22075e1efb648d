//! `rkt net` and its subcommands.

mod list;
mod show;

use std::collections::BTreeMap;

use net::{AddressInUse, Network, Paths};
use pod::{Phase, State};
use serde::Serialize;

use super::Entry;
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "net",
    about: "Look at the networks that pods can join",
    usage: "net [command]",
    long: "A network is a file in the directory net.d of the local configuration (/etc/rkt), or one of\nthe two that are built in: \"default\" and \"default-restricted\". Pods join them by\n\"rkt run --net=NAME\". An ordinary user's pods have \"default\" alone, by the program pasta.",
    run: |_, _| {
        crate::output::out(&crate::cli::help::render(&[&ENTRY]));
        Ok(std::process::ExitCode::SUCCESS)
    },
    children: &[list::ENTRY, show::ENTRY],
    newer: true,
    ..Entry::BASE
};

/// A network as `--format=json` shows it.
#[derive(Debug, Serialize)]
struct NetworkJson {
    name: String,
    /// The configuration file; empty for a built-in network.
    file: String,
    #[serde(rename = "builtIn")]
    builtin: bool,
    #[serde(rename = "cniVersion")]
    cni_version: String,
    plugins: Vec<PluginJson>,
    ipam: Vec<String>,
    subnets: Vec<String>,
    addresses: Vec<AddressJson>,
    pods: Vec<PodJson>,
}

/// A plugin of a network.
#[derive(Debug, Serialize)]
struct PluginJson {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "builtIn")]
    builtin: bool,
    /// Where an outside plugin is; empty for a built-in one, and for one that cannot be found.
    path: String,
}

/// An address in use.
#[derive(Debug, Serialize)]
struct AddressJson {
    address: String,
    container: String,
    interface: String,
}

/// A running pod in the network.
#[derive(Debug, Serialize)]
struct PodJson {
    uuid: String,
    interface: String,
    ip: String,
    args: String,
}

/// The running pods of each network.
type Attached = BTreeMap<String, Vec<PodJson>>;

/// Every network that is configured, in the order of their files.
fn configured(context: &Context) -> Result<Vec<Network>, Failure> {
    let available = net::available(&context.local_config).doing("cannot read the networks")?;
    for warning in &available.warnings {
        output::note(warning);
    }
    Ok(available.networks)
}

/// Which running pods are in which network.
fn attached(context: &Context) -> Result<Attached, Failure> {
    let mut attached = Attached::new();
    let mut unreadable = Vec::new();
    context
        .pods()?
        .walk(&[Phase::Run], |pod| {
            if pod.state() != State::Running {
                return Ok(());
            }
            match pod.networks() {
                Ok(networks) => {
                    for network in networks {
                        attached.entry(network.name).or_default().push(PodJson {
                            uuid: pod.uuid().to_owned(),
                            interface: network.interface,
                            ip: network.ip,
                            args: network.args,
                        });
                    }
                }
                Err(error) => unreadable.push(error.to_string()),
            }
            Ok::<_, pod::Error>(())
        })
        .doing("failed to get pod handles")?;
    unreadable
        .iter()
        .for_each(|error| crate::output::note(error));
    Ok(attached)
}

impl NetworkJson {
    fn of(context: &Context, network: &Network, attached: &mut Attached) -> Result<Self, Failure> {
        let paths = Paths::new(&context.local_config, &context.dirs.system);
        let used = net::addresses_in_use(network, &paths)
            .doing_with(|| format!("cannot read the addresses of network {:?}", network.name))?;
        let plugins = network.plugins.iter().map(|plugin| {
            let builtin = net::is_builtin_type(&plugin.kind);
            let path = paths.find_plugin(&plugin.kind).filter(|_| !builtin);
            PluginJson {
                kind: plugin.kind.clone(),
                builtin,
                path: path
                    .map(|path| path.display().to_string())
                    .unwrap_or_default(),
            }
        });
        Ok(Self {
            name: network.name.clone(),
            file: match network.builtin {
                true => String::new(),
                false => network.path.display().to_string(),
            },
            builtin: network.builtin,
            cni_version: network.cni_version.clone(),
            plugins: plugins.collect(),
            ipam: net::ipam_types(network),
            subnets: net::subnets(network),
            addresses: used.into_iter().map(AddressJson::from).collect(),
            pods: attached.remove(&network.name).unwrap_or_default(),
        })
    }

    /// Where it is configured, for a person.
    fn origin(&self) -> &str {
        match self.builtin {
            true => "built in",
            false => &self.file,
        }
    }
}

impl From<AddressInUse> for AddressJson {
    fn from(used: AddressInUse) -> Self {
        Self {
            address: used.addr.to_string(),
            container: used.container,
            interface: used.interface,
        }
    }
}

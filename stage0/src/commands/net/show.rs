//! `rkt net show`.

use std::process::ExitCode;

use super::{Entry, NetworkJson, attached, configured};
use crate::cli::flags::{Values, words};
use crate::commands::pretty::{Format, format_flag};
use crate::failure::Failure;
use crate::output::{self, table};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "show",
    about: "Show one network, its addresses in use and its pods",
    usage: "net show NAME",
    long: "Prints where the network is configured, its plugins, the addresses that are in use and by\nwhom, and the running pods that have joined it.",
    arguments: |command| command.args([format_flag(), words("name")]),
    run: |context, matches| {
        let format = Format::parse(matches.str("format"))?;
        let [name] = &matches.strings("name")[..] else {
            return Err(Failure::new("exactly one name of a network is expected"));
        };
        let networks = configured(context)?;
        let Some(network) = networks.iter().find(|network| network.name == *name) else {
            let known: Vec<&str> = networks.iter().map(|n| n.name.as_str()).collect();
            return Err(Failure::new(format!(
                "network {name:?} not found; there are {}",
                known.join(", ")
            )));
        };
        let network = NetworkJson::of(context, network, &mut attached(context)?)?;
        match format {
            Format::Text => text(&network),
            format => format.print(&network)?,
        }
        Ok(ExitCode::SUCCESS)
    },
    ..Entry::BASE
};

fn text(network: &NetworkJson) {
    let plugins: Vec<String> = network
        .plugins
        .iter()
        .map(|plugin| match (plugin.builtin, plugin.path.as_str()) {
            (true, _) => plugin.kind.clone(),
            (false, "") => format!("{} (not found)", plugin.kind),
            (false, path) => format!("{} ({path})", plugin.kind),
        })
        .collect();
    let mut text = format!(
        "name={}\nconfiguration={}\ncniVersion={}\nplugins={}\nipam={}\nsubnets={}\n",
        network.name,
        network.origin(),
        network.cni_version,
        plugins.join(", "),
        network.ipam.join(", "),
        network.subnets.join(", ")
    );
    if !network.addresses.is_empty() {
        text.push_str("\nADDRESS\tCONTAINER\tINTERFACE\n");
    }
    for used in &network.addresses {
        text.push_str(&format!(
            "{}\t{}\t{}\n",
            used.address, used.container, used.interface
        ));
    }
    if !network.pods.is_empty() {
        text.push_str("\nPOD\tINTERFACE\tIP\tARGUMENTS\n");
    }
    for pod in &network.pods {
        text.push_str(&format!(
            "{}\t{}\t{}\t{}\n",
            pod.uuid, pod.interface, pod.ip, pod.args
        ));
    }
    output::out(&table::align(&text));
}

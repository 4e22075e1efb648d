//! `rkt net list`.

use std::process::ExitCode;

use super::{Entry, NetworkJson, attached, configured};
use crate::cli::flags::{Values, switch};
use crate::commands::pretty::{Format, format_flag};
use crate::output::{self, table};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "list",
    about: "List the networks that pods can join",
    usage: "net list",
    long: "Lists the configured and the built-in networks, in the order in which a pod's interfaces\nget their names, with the number of addresses in use and of running pods.",
    arguments: |command| {
        command.args([
            switch("no-legend", "suppress a legend with the list"),
            format_flag(),
        ])
    },
    run: |context, matches| {
        let format = Format::parse(matches.str("format"))?;
        let mut attached = attached(context)?;
        let networks = configured(context)?
            .iter()
            .map(|network| NetworkJson::of(context, network, &mut attached))
            .collect::<Result<Vec<_>, _>>()?;
        match format {
            Format::Text => text(&networks, matches.is("no-legend")),
            format => format.print(&networks)?,
        }
        Ok(ExitCode::SUCCESS)
    },
    ..Entry::BASE
};

fn text(networks: &[NetworkJson], no_legend: bool) {
    let mut text = String::new();
    if !no_legend {
        text.push_str("NAME\tTYPE\tSUBNETS\tADDRESSES\tPODS\tCONFIGURATION\n");
    }
    for network in networks {
        let types: Vec<&str> = network.plugins.iter().map(|p| p.kind.as_str()).collect();
        let subnets = match network.subnets.is_empty() {
            true => "-".to_owned(),
            false => network.subnets.join(","),
        };
        text.push_str(&format!(
            "{}\t{}\t{subnets}\t{}\t{}\t{}\n",
            network.name,
            types.join(","),
            network.addresses.len(),
            network.pods.len(),
            network.origin()
        ));
    }
    output::out(&table::align(&text));
}

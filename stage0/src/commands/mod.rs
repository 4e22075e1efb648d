//! The subcommands, one file each, and the table that names them.

mod app;
mod attach;
mod cat_manifest;
mod completion;
mod config;
mod enter;
mod export;
mod fetch;
mod file_systems;
mod gc;
mod help;
mod image;
mod list;
mod logs;
mod measurements;
mod net;
pub(crate) mod net_plugin;
mod network;
mod pod_flags;
mod pod_json;
mod prepare;
mod pretty;
mod rm;
mod run;
mod run_flags;
mod run_prepared;
mod running;
mod stats;
mod status;
mod stop;
mod trust;
mod uuids;
mod version;

use clap::{ArgMatches, Command};
pub(crate) use running::pid as pid_of;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;

/// Where pods and images live unless `--dir` says otherwise.
pub(crate) const DEFAULT_DATA_DIR: &str = "/var/lib/rkt";

/// A subcommand.
pub(crate) struct Entry {
    /// The word on the command line.
    pub(crate) name: &'static str,
    /// One line about it.
    pub(crate) about: &'static str,
    /// How it is used, after `rkt` and its parents' names.
    pub(crate) usage: &'static str,
    /// The description in its help text.
    pub(crate) long: &'static str,
    /// Adds its flags and arguments.
    pub(crate) arguments: fn(Command) -> Command,
    /// Runs it.
    pub(crate) run: fn(&Context, &ArgMatches) -> Outcome,
    /// It refuses to run as another user than root.
    pub(crate) needs_root: bool,
    /// It works inside one running pod: an ordinary user's enters that pod's user namespace.
    pub(crate) joins: bool,
    /// It is left out of help texts.
    pub(crate) hidden: bool,
    /// The original does not have it: a beginning that fits one of the original's, too, is that one's.
    pub(crate) newer: bool,
    /// Flags that are accepted with a warning, and what the warning advises.
    pub(crate) deprecated: &'static [(&'static str, &'static str)],
    /// Its own subcommands.
    pub(crate) children: &'static [Entry],
}

impl Entry {
    /// What a table entry starts from.
    pub(crate) const BASE: Self = Self {
        name: "",
        about: "",
        usage: "",
        long: "",
        arguments: |command| command,
        run: |_, _| Ok(std::process::ExitCode::SUCCESS),
        needs_root: false,
        joins: false,
        hidden: false,
        newer: false,
        deprecated: &[],
        children: &[],
    };
}

/// Every subcommand, in the order of the help text.
pub(crate) const ALL: &[Entry] = &[
    app::ENTRY,
    attach::ENTRY,
    cat_manifest::ENTRY,
    completion::ENTRY,
    config::ENTRY,
    enter::ENTRY,
    export::ENTRY,
    fetch::ENTRY,
    gc::ENTRY,
    help::ENTRY,
    image::ENTRY,
    list::ENTRY,
    logs::ENTRY,
    measurements::ENTRY,
    net::ENTRY,
    net_plugin::ENTRY,
    prepare::ENTRY,
    rm::ENTRY,
    run::ENTRY,
    run_prepared::ENTRY,
    stats::ENTRY,
    status::ENTRY,
    stop::ENTRY,
    trust::ENTRY,
    version::ENTRY,
];

/// Goes through all that was asked for and fails at the end if one failed; each failure is said.
fn each<U: ?Sized, T: std::borrow::Borrow<U>>(
    all: Vec<T>,
    mut one: impl FnMut(&U) -> Result<(), Failure>,
) -> Outcome {
    let mut failed: Option<Failure> = None;
    for name in all {
        if let Err(failure) = one(name.borrow())
            && let Some(earlier) = failed.replace(failure)
        {
            output::note(&earlier.brief());
        }
    }
    match failed {
        None => Ok(std::process::ExitCode::SUCCESS),
        Some(failure) => Err(failure),
    }
}

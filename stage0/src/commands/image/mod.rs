//! `rkt image` and its subcommands.

use super::Entry;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "image",
    about: "Operate on image(s) in the local store",
    usage: "image [command]",
    children: &[],
    ..Entry::BASE
};

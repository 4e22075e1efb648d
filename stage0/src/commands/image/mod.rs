//! `rkt image` and its subcommands.

mod cat_manifest;
mod export;
mod extract;
mod gc;
mod list;
mod rm;
mod verify;

use super::{Entry, fetch};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "image",
    about: "Operate on image(s) in the local store",
    usage: "image [command]",
    run: |_, _| {
        crate::output::out(&crate::cli::help::render(&[&ENTRY]));
        Ok(std::process::ExitCode::SUCCESS)
    },
    children: &[
        cat_manifest::ENTRY,
        export::ENTRY,
        extract::ENTRY,
        Entry {
            hidden: true,
            ..fetch::ENTRY
        },
        gc::ENTRY,
        list::ENTRY,
        extract::RENDER,
        rm::ENTRY,
        verify::ENTRY,
    ],
    ..Entry::BASE
};

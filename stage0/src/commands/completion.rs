//! `rkt completion SHELL`.

use std::process::ExitCode;

use super::Entry;
use crate::cli::flags::{Values, words};
use crate::failure::Failure;
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "completion",
    about: "Output shell completion code for the specified shell",
    usage: "completion SHELL",
    long: "This command outputs completion code for the specified shell. The generated\ncode must be evaluated to provide interactive completion of rkt sub-commands.\nThis can be done by sourcing it from the .bash_profile.\n\nSave the completion code in a file and source it:\n\trkt completion bash > ~/.rkt.bash.inc",
    arguments: |command| command.arg(words("shell")),
    run: |_, matches| match matches.strings("shell").as_slice() {
        [shell] if shell == "bash" => {
            let mut script = Vec::new();
            let mut root = crate::cli::root(|_| true);
            clap_complete::generate(clap_complete::Shell::Bash, &mut root, "rkt", &mut script);
            output::bytes(&script);
            Ok(ExitCode::SUCCESS)
        }
        [] => Err(Failure::new("shell not specified")),
        [shell] => Err(Failure::new(format!(
            "shell {shell:?} is not supported, only bash is"
        ))),
        _ => Err(Failure::new(
            "too many arguments, only one shell is expected",
        )),
    },
    ..Entry::BASE
};

//! `rkt cat-manifest`.

use std::process::ExitCode;

use super::{Entry, pretty, uuids};
use crate::cli::flags::{Values, switch, words};
use crate::failure::{Doing, Failure};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "cat-manifest",
    about: "Inspect and print the pod manifest",
    usage: "cat-manifest --uuid-file=FILE | UUID ...",
    long: "UUID should be the UUID of a pod",
    arguments: |command| {
        command.args([
            switch("pretty-print", "apply indent to format the output").default_value("true"),
            uuids::file_flag(),
            words("uuid"),
        ])
    },
    run: |context, matches| {
        let pods = context.pods()?;
        for uuid in uuids::given(matches)? {
            let pod = context.pod(&pods, &uuid)?;
            let bytes = pod
                .manifest_bytes()
                .doing("cannot load the pod manifest")?
                .ok_or_else(|| Failure::new(format!("pod {:?} has no manifest yet", pod.uuid())))?;
            pretty::manifest(&bytes, matches.is("pretty-print"))?;
        }
        Ok(ExitCode::SUCCESS)
    },
    ..Entry::BASE
};

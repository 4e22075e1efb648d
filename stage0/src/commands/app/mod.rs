//! `rkt app` and its subcommands: pods whose apps come and go (proposal "App-level API").

mod add;
mod change;
mod list;
mod sandbox;
mod status;

use super::{Entry, enter};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "app",
    about: "Add, start, stop and remove apps of a running pod",
    usage: "app [command]",
    long: "A pod that was started with \"rkt app sandbox\" has no apps at first and goes on without any.\n\n    rkt app sandbox --uuid-file-save=/tmp/pod &\n    rkt app add $(cat /tmp/pod) example.com/web --name=web\n    rkt app start $(cat /tmp/pod) --app=web\n    rkt app list $(cat /tmp/pod)",
    run: |_, _| {
        crate::output::out(&crate::cli::help::render(&[&ENTRY]));
        Ok(std::process::ExitCode::SUCCESS)
    },
    children: &[
        add::ENTRY,
        Entry {
            name: "exec",
            about: "Execute commands in the given app's namespace",
            usage: "exec [--app=APPNAME] UUID [CMD [ARGS ...]]",
            arguments: enter::arguments,
            run: enter::enter,
            needs_root: true,
            joins: true,
            ..Entry::BASE
        },
        list::ENTRY,
        change::RM,
        sandbox::ENTRY,
        change::START,
        status::ENTRY,
        change::STOP,
    ],
    ..Entry::BASE
};

/// Failures of these commands ended the original with this status.
const FAILED: u8 = 1;

//! `rkt version`.

use super::Entry;
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "version",
    about: "Print the version and exit",
    usage: "version",
    run: |_, _| {
        // The lines that scripts read the Go version and platform from stay; what they say is true.
        output::out(&format!(
            "rkt Version: {}\nappc Version: {}\nGo Version: none (Rust)\nGo OS/Arch: {}\nFeatures: +TPM +SDJOURNAL\n",
            crate::cli::help::VERSION,
            appc::AC_VERSION,
            platform()
        ));
        Ok(std::process::ExitCode::SUCCESS)
    },
    ..Entry::BASE
};

/// Operating system and processor, in Go's words.
fn platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("{}/{arch}", std::env::consts::OS)
}

//! rkt's default stage1, as one program with a name for each entrypoint: `run`, `enter`, `gc`,
//! `stop`, `attach`, `app-add`, `app-start`, `app-stop` and `app-rm` (implementor's guide,
//! "Entrypoints"). It isolates with namespaces, cgroups, capabilities
//! and a system call filter; its supervisor is PID 1 of the pod.

mod app;
mod attach;
mod birth;
mod enter;
mod error;
mod gc;
mod host;
mod isolators;
mod kubernetes;
mod layout;
mod manifest;
mod mounts;
mod network;
mod pasta;
mod plan;
mod relay;
mod run;
mod runtime_config;
mod sockets;
mod stop;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use error::Error;

/// rkt's own failures end with this status; lower ones are the app's.
const FAILURE: u8 = 254;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    match entrypoint(&program, args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let name = Path::new(&program).file_name().unwrap_or_default();
            eprintln!("stage1 {}: {error}", name.display());
            ExitCode::from(FAILURE)
        }
    }
}

fn entrypoint(program: &OsString, args: impl Iterator<Item = OsString>) -> Result<u8, Error> {
    match Path::new(program).file_name().and_then(|n| n.to_str()) {
        Some("run") => run::run(args),
        Some("enter") => enter::enter(args),
        Some("gc") => gc::gc(args),
        Some("stop") => stop::stop(args),
        Some("attach") => attach::attach(args),
        Some("app-add") => app::add(args),
        Some("app-start") => app::start(args),
        Some("app-stop") => app::stop(args),
        Some("app-rm") => app::remove(args),
        _ => Err(Error::Entrypoint(program.clone())),
    }
}

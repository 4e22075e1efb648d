//! Flags about the file systems that every app gets from stage1.

use appc::Quantity;
use clap::{Arg, ArgMatches};
use stage1_abi::annotation;

use crate::cli::flags::{Values, text};
use crate::failure::{Doing, Failure};

/// What `hidepid` may be (proc(5)).
const HIDE_PID: [&str; 4] = ["off", "noaccess", "invisible", "ptraceable"];

/// The flags.
pub(super) fn flags() -> [Arg; 2] {
    [
        text(
            "hidepid",
            "",
            "what the apps' /proc shows of processes that are not theirs, as proc(5) says. Syntax: --hidepid=[off|noaccess|invisible|ptraceable]",
        ),
        text(
            "shm-size",
            "",
            "size of the pod's /dev/shm (example: '--shm-size=256Mi'); 64Mi if empty",
        ),
    ]
}

/// The pod's annotations that the flags stand for.
pub(super) fn annotations(matches: &ArgMatches) -> Result<Vec<(&'static str, String)>, Failure> {
    let mut annotations = Vec::new();
    match matches.str("hidepid") {
        "" => {}
        mode if HIDE_PID.contains(&mode) => annotations.push((annotation::HIDE_PID, mode.into())),
        other => {
            return Err(Failure::new(format!(
                "invalid value {other:?} for --hidepid: must be one of {}",
                HIDE_PID.join(", ")
            )));
        }
    }
    let size = matches.str("shm-size");
    if !size.is_empty() {
        let bytes = Quantity::parse(size).doing("invalid value for --shm-size")?;
        if bytes.value() <= 0 {
            return Err(Failure::new(format!(
                "invalid value {size:?} for --shm-size: must be more than nothing"
            )));
        }
        annotations.push((annotation::SHM_SIZE, size.into()));
    }
    Ok(annotations)
}

//! Arguments of the gc and stop entrypoints.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Args, ArgsError, Opt, required_uuid};

/// Arguments of the gc entrypoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcArgs {
    /// The pod's UUID.
    pub uuid: String,
    /// Trace what is done.
    pub debug: bool,
    /// Local configuration directory. Version 5.
    pub local_config: Option<PathBuf>,
}

impl GcArgs {
    /// The argument list for a stage1 that speaks `version`.
    pub fn to_args(&self, version: u32) -> Vec<OsString> {
        let mut args = Args::default();
        args.flag("--debug", self.debug);
        if version >= 5 {
            args.value("--local-config", self.local_config.as_ref());
        }
        args.0.push(OsString::from(&self.uuid));
        args.0
    }

    /// Reads the arguments after the program's name. `--local-config` may stand apart from its
    /// value, as the original's stage0 wrote it.
    ///
    /// # Errors
    /// An option outside the interface, a malformed value, a missing UUID.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let mut gc = Self::default();
        let mut uuid = None;
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some(option) = Opt::split(&arg) else {
                uuid = Some(arg);
                continue;
            };
            match option.name {
                b"--debug" => gc.debug = option.truth("--debug")?,
                b"--local-config" => {
                    gc.local_config = match option.value {
                        Some(_) => Some(option.path("--local-config")?),
                        None => args.next().map(PathBuf::from),
                    }
                }
                _ => return Err(ArgsError::Unknown(arg)),
            }
        }
        gc.uuid = required_uuid(uuid)?;
        Ok(gc)
    }
}

/// Arguments of the stop entrypoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopArgs {
    /// The pod's UUID.
    pub uuid: String,
    /// Kill the pod instead of asking it to end.
    pub force: bool,
    /// Trace what is done.
    pub debug: bool,
}

impl StopArgs {
    /// The argument list.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = Args::default();
        args.flag("--debug", self.debug);
        args.flag("--force", self.force);
        args.0.push(OsString::from(&self.uuid));
        args.0
    }

    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// An option outside the interface, a malformed value, a missing UUID.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let mut stop = Self::default();
        let mut uuid = None;
        for arg in args {
            let Some(option) = Opt::split(&arg) else {
                uuid = Some(arg);
                continue;
            };
            match option.name {
                b"--debug" => stop.debug = option.truth("--debug")?,
                b"--force" => stop.force = option.truth("--force")?,
                _ => return Err(ArgsError::Unknown(arg)),
            }
        }
        stop.uuid = required_uuid(uuid)?;
        Ok(stop)
    }
}

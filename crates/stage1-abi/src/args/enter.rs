//! Arguments of the enter entrypoint.

use std::ffi::OsString;

use super::{Args, ArgsError, Opt};

/// Arguments of the enter entrypoint: `--pid=N --appname=A -- CMD ARGS…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnterArgs {
    /// Host pid of the pod's PID 1.
    pub pid: u32,
    /// The app to enter; empty is the pod itself.
    pub app: String,
    /// As root with every privilege, instead of as the app: given to stage1 images only where it was
    /// asked for, since the documented interface does not have it.
    pub privileged: bool,
    /// Command and its arguments.
    pub command: Vec<OsString>,
}

impl EnterArgs {
    /// The argument list.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = Args::default();
        args.value("--pid", Some(&self.pid.to_string()));
        args.value("--appname", Some(&self.app));
        if self.privileged {
            args.0.push("--privileged".into());
        }
        args.0.push("--".into());
        args.0.extend(self.command.iter().cloned());
        args.0
    }

    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// An option outside the interface, a malformed value, a missing pid or command.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let mut args = args.into_iter();
        let (mut pid, mut app, mut privileged) = (None, String::new(), false);
        for arg in args.by_ref() {
            if arg == "--" {
                break;
            }
            let option = Opt::split(&arg).ok_or_else(|| ArgsError::Unknown(arg.clone()))?;
            match option.name {
                b"--pid" => {
                    let text = option.text("--pid")?;
                    pid = Some(option.parsed("--pid", &text)?);
                }
                b"--appname" => app = option.text("--appname")?,
                b"--privileged" => privileged = true,
                b"--debug" => {}
                _ => return Err(ArgsError::Unknown(arg)),
            }
        }
        let command: Vec<OsString> = args.collect();
        if command.is_empty() {
            return Err(ArgsError::Missing("command"));
        }
        Ok(Self {
            pid: pid.ok_or(ArgsError::Missing("--pid"))?,
            app,
            privileged,
            command,
        })
    }
}

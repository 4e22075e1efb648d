//! Arguments of the crossing entrypoints, which change or watch the apps of a running pod.

use std::ffi::OsString;

use super::{Args, ArgsError, InsecureOptions, Opt};

/// Arguments of the entrypoints `app/add`, `app/start`, `app/stop` and `app/rm`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppArgs {
    /// The app.
    pub app: String,
    /// The pod's UUID, for `app/add`.
    pub uuid: Option<String>,
    /// Trace what is done.
    pub debug: bool,
    /// For `app/add`: what the user switched off for this app. Left out when nothing was, since
    /// the original's stage1 does not know these options here.
    pub insecure: InsecureOptions,
    /// For `app/add`: an isolator that cannot be applied is an error. Left out likewise.
    pub strict_isolators: bool,
}

impl AppArgs {
    /// The argument list.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = Args::default();
        args.value("--debug", Some(&self.debug.to_string()));
        args.value("--uuid", self.uuid.as_ref());
        args.value("--app", Some(&self.app));
        for (name, set) in self.insecure.flags() {
            args.flag(name, set);
        }
        args.flag("--strict-isolators", self.strict_isolators);
        args.0
    }

    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// An option outside the interface, a malformed value, a missing app.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let mut this = Self::default();
        for arg in args {
            let option = Opt::split(&arg).ok_or_else(|| ArgsError::Unknown(arg.clone()))?;
            match option.name {
                b"--debug" => this.debug = option.truth("--debug")?,
                b"--uuid" => this.uuid = Some(option.text("--uuid")?),
                b"--app" => this.app = option.text("--app")?,
                b"--strict-isolators" => {
                    this.strict_isolators = option.truth("--strict-isolators")?
                }
                _ if this.insecure.take(&option)? => {}
                _ => return Err(ArgsError::Unknown(arg)),
            }
        }
        match this.app.is_empty() {
            true => Err(ArgsError::Missing("--app")),
            false => Ok(this),
        }
    }
}

/// Streams of an app, as the entrypoint `attach` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// What is typed goes to the app's terminal.
    pub tty_in: bool,
    /// The app's terminal is shown.
    pub tty_out: bool,
    /// What is typed goes to the app's standard input.
    pub stdin: bool,
    /// The app's standard output is shown.
    pub stdout: bool,
    /// The app's standard error is shown.
    pub stderr: bool,
}

/// What the entrypoint `attach` is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttachAction {
    /// Name what can be attached to.
    List,
    /// Attach to everything there is.
    #[default]
    Auto,
    /// Attach to these streams.
    Custom(Wanted),
}

/// Arguments of the entrypoint `attach`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttachArgs {
    /// The app.
    pub app: String,
    /// What to do.
    pub action: AttachAction,
    /// Show first what the app wrote before, as far as it was kept. Left out when it is not
    /// asked for, since the original's stage1 does not know it.
    pub replay: bool,
    /// Trace what is done.
    pub debug: bool,
}

impl AttachArgs {
    /// The argument list.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = Args::default();
        let (action, wanted) = match self.action {
            AttachAction::List => ("list", None),
            AttachAction::Auto => ("auto-attach", None),
            AttachAction::Custom(wanted) => ("custom-attach", Some(wanted)),
        };
        args.value("--action", Some(action));
        for (name, set) in wanted.iter().flat_map(|w| w.flags()) {
            args.value(name, Some(&set.to_string()));
        }
        args.flag("--replay", self.replay);
        args.value("--app", Some(&self.app));
        args.value("--debug", Some(&self.debug.to_string()));
        args.0
    }

    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// An option outside the interface, a malformed value, a missing app.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let mut this = Self::default();
        let (mut action, mut wanted) = (String::new(), Wanted::default());
        for arg in args {
            let option = Opt::split(&arg).ok_or_else(|| ArgsError::Unknown(arg.clone()))?;
            match option.name {
                b"--action" => action = option.text("--action")?,
                b"--tty-in" => wanted.tty_in = option.truth("--tty-in")?,
                b"--tty-out" => wanted.tty_out = option.truth("--tty-out")?,
                b"--stdin" => wanted.stdin = option.truth("--stdin")?,
                b"--stdout" => wanted.stdout = option.truth("--stdout")?,
                b"--stderr" => wanted.stderr = option.truth("--stderr")?,
                b"--replay" => this.replay = option.truth("--replay")?,
                b"--debug" => this.debug = option.truth("--debug")?,
                b"--app" => this.app = option.text("--app")?,
                _ => return Err(ArgsError::Unknown(arg)),
            }
        }
        this.action = match action.as_str() {
            "list" => AttachAction::List,
            "auto-attach" => AttachAction::Auto,
            "custom-attach" => AttachAction::Custom(wanted),
            _ => {
                return Err(ArgsError::Value {
                    option: "--action",
                    value: action.into(),
                });
            }
        };
        match this.app.is_empty() {
            true => Err(ArgsError::Missing("--app")),
            false => Ok(this),
        }
    }
}

impl Wanted {
    fn flags(&self) -> [(&'static str, bool); 5] {
        [
            ("--tty-in", self.tty_in),
            ("--tty-out", self.tty_out),
            ("--stdin", self.stdin),
            ("--stdout", self.stdout),
            ("--stderr", self.stderr),
        ]
    }
}

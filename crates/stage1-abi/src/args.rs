//! Arguments of the entrypoints, written by stage0 and read by a stage1.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;

/// Why a stage1 cannot accept the arguments it was given.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// An option outside the interface.
    #[error("unknown option {0:?}")]
    Unknown(OsString),
    /// An option whose value does not have the documented form.
    #[error("option {option}: invalid value {value:?}")]
    Value {
        /// The option's name, with its dashes.
        option: &'static str,
        /// What was given.
        value: OsString,
    },
    /// An option or positional argument that must be there.
    #[error("missing {0}")]
    Missing(&'static str),
}

/// Host ids that a pod's user namespace starts at, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrivateUsers {
    /// Host id of the pod's id 0.
    pub shift: u32,
    /// Number of ids.
    pub count: u32,
}

impl FromStr for PrivateUsers {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        let (shift, count) = s.split_once(':').ok_or(())?;
        let shift: u32 = shift.parse().map_err(|_| ())?;
        let count: u32 = count.parse().map_err(|_| ())?;
        if count == 0 || shift.checked_add(count).is_none() {
            return Err(());
        }
        Ok(Self { shift, count })
    }
}

impl std::fmt::Display for PrivateUsers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.shift, self.count)
    }
}

/// Where a generated file such as `/etc/resolv.conf` comes from (interface version 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileMode {
    /// The host's file is bind-mounted.
    Host,
    /// The file that stage0 wrote below the stage1 root file system is mounted.
    Stage0,
    /// Nothing is mounted.
    None,
    /// Stage1's usual behaviour.
    #[default]
    Default,
}

impl FileMode {
    const NAMES: [(Self, &str); 4] = [
        (Self::Host, "host"),
        (Self::Stage0, "stage0"),
        (Self::None, "none"),
        (Self::Default, "default"),
    ];

    fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(mode, _)| *mode == self)
            .map_or("default", |(_, name)| name)
    }

    fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(mode, _)| *mode)
    }
}

/// `--dns-conf-mode=resolv=…,hosts=…` (interface version 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DnsConfMode {
    /// Source of `/etc/resolv.conf`.
    pub resolv: FileMode,
    /// Source of `/etc/hosts`.
    pub hosts: FileMode,
}

impl FromStr for DnsConfMode {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        let mut mode = Self::default();
        for part in s.split(',') {
            let (key, value) = part.split_once('=').ok_or(())?;
            let value = FileMode::named(value).ok_or(())?;
            match key {
                "resolv" => mode.resolv = value,
                "hosts" if value != FileMode::None => mode.hosts = value,
                _ => return Err(()),
            }
        }
        Ok(mode)
    }
}

/// Security features that the user switched off for this pod (interface version 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InsecureOptions {
    /// Apps keep every capability.
    pub disable_capabilities: bool,
    /// `/proc` and `/sys` stay unmasked.
    pub disable_paths: bool,
    /// No system call filter.
    pub disable_seccomp: bool,
}

/// Arguments of the run entrypoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunArgs {
    /// The pod's UUID.
    pub uuid: String,
    /// Trace what is done.
    pub debug: bool,
    /// Value of `--net`; stage0 fills in `default`.
    pub net: String,
    /// The one app reads the terminal or standard input of rkt.
    pub interactive: bool,
    /// User namespace, if any.
    pub private_users: Option<PrivateUsers>,
    /// Token of the metadata service.
    pub mds_token: Option<String>,
    /// Local configuration directory.
    pub local_config: Option<PathBuf>,
    /// Host name of the pod; `None` is `rkt-UUID`. Version 2.
    pub hostname: Option<String>,
    /// Version 3.
    pub insecure: InsecureOptions,
    /// Version 4.
    pub dns_conf_mode: DnsConfMode,
    /// Version 5.
    pub mutable: bool,
    /// `auto`, `private` or `parent`. Version 6.
    pub ipc: Option<String>,
}

impl RunArgs {
    /// The argument list for a stage1 that speaks `version`; what it is too old for is left out.
    pub fn to_args(&self, version: u32) -> Vec<OsString> {
        let mut args = Args::default();
        args.flag("--debug", self.debug);
        args.value("--net", Some(&self.net));
        args.flag("--interactive", self.interactive);
        args.value(
            "--private-users",
            self.private_users.map(|p| p.to_string()).as_ref(),
        );
        args.value("--mds-token", self.mds_token.as_ref());
        args.value("--local-config", self.local_config.as_ref());
        if version >= 2 {
            args.value("--hostname", self.hostname.as_ref());
        }
        if version >= 3 {
            args.flag(
                "--disable-capabilities-restriction",
                self.insecure.disable_capabilities,
            );
            args.flag("--disable-paths", self.insecure.disable_paths);
            args.flag("--disable-seccomp", self.insecure.disable_seccomp);
        }
        if version >= 4 {
            let DnsConfMode { resolv, hosts } = self.dns_conf_mode;
            let mode = format!("resolv={},hosts={}", resolv.name(), hosts.name());
            args.value("--dns-conf-mode", Some(&mode));
        }
        if version >= 5 {
            args.flag("--mutable", self.mutable);
        }
        if version >= 6 {
            args.value("--ipc", self.ipc.as_ref());
        }
        args.0.push(OsString::from(&self.uuid));
        args.0
    }

    /// Reads the arguments after the program's name, as a stage1.
    ///
    /// # Errors
    /// An option outside the interface, a malformed value, a missing UUID.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let mut run = Self::default();
        let mut uuid = None;
        for arg in args {
            let Some(option) = Opt::split(&arg) else {
                uuid = Some(arg);
                continue;
            };
            match option.name {
                b"--debug" => run.debug = option.truth("--debug")?,
                b"--net" => run.net = option.text("--net")?,
                b"--interactive" => run.interactive = option.truth("--interactive")?,
                b"--private-users" => {
                    let text = option.text("--private-users")?;
                    run.private_users = match text.as_str() {
                        "" => None,
                        _ => Some(option.parsed("--private-users", &text)?),
                    };
                }
                b"--mds-token" => run.mds_token = Some(option.text("--mds-token")?),
                b"--local-config" => run.local_config = Some(option.path("--local-config")?),
                b"--hostname" => {
                    run.hostname = Some(option.text("--hostname")?).filter(|h| !h.is_empty())
                }
                b"--disable-capabilities-restriction" => {
                    run.insecure.disable_capabilities =
                        option.truth("--disable-capabilities-restriction")?;
                }
                b"--disable-paths" => {
                    run.insecure.disable_paths = option.truth("--disable-paths")?
                }
                b"--disable-seccomp" => {
                    run.insecure.disable_seccomp = option.truth("--disable-seccomp")?
                }
                b"--dns-conf-mode" => {
                    let text = option.text("--dns-conf-mode")?;
                    run.dns_conf_mode = option.parsed("--dns-conf-mode", &text)?;
                }
                b"--mutable" => run.mutable = option.truth("--mutable")?,
                b"--ipc" => run.ipc = Some(option.text("--ipc")?).filter(|i| !i.is_empty()),
                _ => return Err(ArgsError::Unknown(arg)),
            }
        }
        run.uuid = required_uuid(uuid)?;
        if run.net.is_empty() {
            run.net = "default".into();
        }
        Ok(run)
    }
}

/// Arguments of the enter entrypoint: `--pid=N --appname=A -- CMD ARGS…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnterArgs {
    /// Host pid of the pod's PID 1.
    pub pid: u32,
    /// The app to enter; empty is the pod itself.
    pub app: String,
    /// Command and its arguments.
    pub command: Vec<OsString>,
}

impl EnterArgs {
    /// The argument list.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = Args::default();
        args.value("--pid", Some(&self.pid.to_string()));
        args.value("--appname", Some(&self.app));
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
        let (mut pid, mut app) = (None, String::new());
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
            command,
        })
    }
}

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

fn required_uuid(arg: Option<OsString>) -> Result<String, ArgsError> {
    let arg = arg.ok_or(ArgsError::Missing("pod UUID"))?;
    arg.into_string().map_err(|value| ArgsError::Value {
        option: "pod UUID",
        value,
    })
}

/// An argument list being written.
#[derive(Default)]
struct Args(Vec<OsString>);

impl Args {
    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.0.push(name.into());
        }
    }

    fn value(&mut self, name: &str, value: Option<&(impl AsRef<OsStr> + ?Sized)>) {
        if let Some(value) = value {
            let mut arg = OsString::from(name);
            arg.push("=");
            arg.push(value);
            self.0.push(arg);
        }
    }
}

/// One `--name` or `--name=value`.
struct Opt<'a> {
    name: &'a [u8],
    value: Option<&'a [u8]>,
}

impl<'a> Opt<'a> {
    fn split(arg: &'a OsStr) -> Option<Self> {
        let bytes = arg.as_bytes();
        if !bytes.starts_with(b"--") {
            return None;
        }
        match bytes.iter().position(|&b| b == b'=') {
            Some(at) => Some(Self {
                name: &bytes[..at],
                value: Some(&bytes[at + 1..]),
            }),
            None => Some(Self {
                name: bytes,
                value: None,
            }),
        }
    }

    fn invalid(&self, option: &'static str) -> ArgsError {
        let value = OsString::from_vec(self.value.unwrap_or_default().to_vec());
        ArgsError::Value { option, value }
    }

    fn truth(&self, option: &'static str) -> Result<bool, ArgsError> {
        match self.value {
            None | Some(b"true" | b"1") => Ok(true),
            Some(b"false" | b"0") => Ok(false),
            Some(_) => Err(self.invalid(option)),
        }
    }

    fn text(&self, option: &'static str) -> Result<String, ArgsError> {
        let value = self.value.ok_or(ArgsError::Missing(option))?;
        String::from_utf8(value.to_vec()).map_err(|_| self.invalid(option))
    }

    fn path(&self, option: &'static str) -> Result<PathBuf, ArgsError> {
        let value = self.value.ok_or(ArgsError::Missing(option))?;
        Ok(PathBuf::from(OsStr::from_bytes(value)))
    }

    fn parsed<T: FromStr>(&self, option: &'static str, text: &str) -> Result<T, ArgsError> {
        text.parse().map_err(|_| self.invalid(option))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> RunArgs {
        RunArgs {
            uuid: "6f1c…".into(),
            debug: true,
            net: "default,lan:IP=10.0.0.2".into(),
            interactive: true,
            private_users: Some(PrivateUsers {
                shift: 65536,
                count: 65536,
            }),
            mds_token: Some("t".into()),
            local_config: Some("/etc/rkt".into()),
            hostname: Some("web".into()),
            insecure: InsecureOptions {
                disable_seccomp: true,
                ..Default::default()
            },
            dns_conf_mode: DnsConfMode {
                resolv: FileMode::Stage0,
                hosts: FileMode::Host,
            },
            mutable: true,
            ipc: Some("private".into()),
        }
    }

    #[test]
    fn what_stage0_writes_stage1_reads() {
        let run = full();
        assert_eq!(RunArgs::parse(run.to_args(INTERFACE)).unwrap(), run);
        let enter = EnterArgs {
            pid: 7,
            app: "web".into(),
            command: vec!["ls".into(), "--pid=3".into()],
        };
        assert_eq!(EnterArgs::parse(enter.to_args()).unwrap(), enter);
        let gc = GcArgs {
            uuid: "u".into(),
            debug: true,
            local_config: Some("/l".into()),
        };
        assert_eq!(GcArgs::parse(gc.to_args(5)).unwrap(), gc);
        let stop = StopArgs {
            uuid: "u".into(),
            force: true,
            debug: false,
        };
        assert_eq!(StopArgs::parse(stop.to_args()).unwrap(), stop);
    }

    const INTERFACE: u32 = crate::INTERFACE_VERSION;

    #[test]
    fn an_old_stage1_is_spared_what_it_does_not_know() {
        let args = full().to_args(1);
        assert!(
            !args
                .iter()
                .any(|a| a.to_string_lossy().starts_with("--hostname"))
        );
        assert!(
            !args
                .iter()
                .any(|a| a.to_string_lossy().starts_with("--ipc"))
        );
        assert_eq!(args.last().unwrap(), "6f1c…");
    }

    #[test]
    fn errors_name_the_option() {
        let parse = |arg: &str| {
            RunArgs::parse([arg.into(), "u".into()])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            parse("--private-users=1"),
            "option --private-users: invalid value \"1\""
        );
        assert_eq!(
            parse("--dns-conf-mode=hosts=none"),
            "option --dns-conf-mode: invalid value \"hosts=none\""
        );
        assert_eq!(parse("--wat"), "unknown option \"--wat\"");
        assert_eq!(
            RunArgs::parse([]).unwrap_err().to_string(),
            "missing pod UUID"
        );
    }
}

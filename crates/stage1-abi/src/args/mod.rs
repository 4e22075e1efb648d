//! Arguments of the entrypoints, written by stage0 and read by a stage1.

mod crossing;
mod end;
mod enter;
mod run;
mod values;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;

pub use crossing::{AppArgs, AttachAction, AttachArgs, Wanted};
pub use end::{GcArgs, StopArgs};
pub use enter::EnterArgs;
pub use run::RunArgs;
pub use values::{DnsConfMode, FileMode, InsecureOptions, PrivateUsers};

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
            strict_isolators: true,
        }
    }

    #[test]
    fn what_stage0_writes_stage1_reads() {
        let run = full();
        assert_eq!(RunArgs::parse(run.to_args(INTERFACE)).unwrap(), run);
        let enter = EnterArgs {
            pid: 7,
            privileged: true,
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
        let add = AppArgs {
            app: "web".into(),
            uuid: Some("u".into()),
            debug: true,
            insecure: run.insecure,
            strict_isolators: true,
        };
        assert_eq!(AppArgs::parse(add.to_args()).unwrap(), add);
        for action in [
            AttachAction::List,
            AttachAction::Auto,
            AttachAction::Custom(Wanted {
                stdin: true,
                tty_out: true,
                ..Wanted::default()
            }),
        ] {
            let attach = AttachArgs {
                app: "web".into(),
                action,
                replay: true,
                debug: false,
            };
            assert_eq!(AttachArgs::parse(attach.to_args()).unwrap(), attach);
        }
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

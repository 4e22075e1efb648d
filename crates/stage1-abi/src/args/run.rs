//! Arguments of the run entrypoint.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Args, ArgsError, DnsConfMode, InsecureOptions, Opt, PrivateUsers, required_uuid};

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
    /// An isolator that cannot be applied is an error. Left out when it is not asked for, since
    /// the original's stage1 does not know it.
    pub strict_isolators: bool,
}

impl RunArgs {
    /// The name of the host that the pod with this UUID is.
    pub fn hostname_of(&self, uuid: &str) -> String {
        let own = || format!("rkt-{uuid}");
        self.hostname.clone().unwrap_or_else(own)
    }

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
            for (name, set) in self.insecure.flags() {
                args.flag(name, set);
            }
        }
        if version >= 4 {
            let (resolv, hosts) = self.dns_conf_mode.names();
            let mode = format!("resolv={resolv},hosts={hosts}");
            args.value("--dns-conf-mode", Some(&mode));
        }
        if version >= 5 {
            args.flag("--mutable", self.mutable);
        }
        if version >= 6 {
            args.value("--ipc", self.ipc.as_ref());
        }
        args.flag("--strict-isolators", self.strict_isolators);
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
                b"--dns-conf-mode" => {
                    let text = option.text("--dns-conf-mode")?;
                    run.dns_conf_mode = option.parsed("--dns-conf-mode", &text)?;
                }
                b"--strict-isolators" => {
                    run.strict_isolators = option.truth("--strict-isolators")?
                }
                b"--mutable" => run.mutable = option.truth("--mutable")?,
                b"--ipc" => run.ipc = Some(option.text("--ipc")?).filter(|i| !i.is_empty()),
                _ if run.insecure.take(&option)? => {}
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

//! Flags of `run` and `run-prepared` that say how a pod is started.

use std::net::IpAddr;

use clap::{Arg, ArgAction, ArgMatches, Command};
use stage1_abi::{DnsConfMode, FileMode, RunArgs};

use crate::cli::flags::{Values, list, optional, switch, text};
use crate::context::Context;
use crate::failure::Failure;

/// The flag of all commands that start an app or prepare it.
pub(super) fn strict_isolators() -> Arg {
    switch(
        "strict-isolators",
        "refuse the pod when an isolator of it or of its apps cannot be applied, instead of saying so",
    )
}

/// Adds the flags.
pub(super) fn arguments(command: Command) -> Command {
    command.arg(strict_isolators()).args([
        optional("net", "default", "default", "configure the pod's networking. Optionally, pass a list of user-configured networks to load and set arguments to pass to each network, respectively. Syntax: --net[=n[:args], ...]").action(ArgAction::Append),
        list("dns", "name servers to write in /etc/resolv.conf. Pass 'host' to use the host's resolv.conf. Pass 'none' to ignore CNI DNS config"),
        list("dns-search", "DNS search domains to write in /etc/resolv.conf"),
        list("dns-opt", "DNS options to write in /etc/resolv.conf"),
        text("dns-domain", "", "DNS domain to write in /etc/resolv.conf"),
        list("hosts-entry", "entries to add to the pod-wide /etc/hosts. Pass 'host' to use the host's /etc/hosts"),
        switch("interactive", "run pod interactively. If true, only one image may be supplied"),
        switch("mds-register", "register pod with metadata service. needs network connectivity to the host (--net=(default|default-restricted|host)"),
        text("hostname", "", "pod's hostname. If empty, it will be \"rkt-$PODUUID\""),
        text("ipc", "", "whether to stay in the host IPC namespace. Syntax: --ipc=[auto|private|parent]"),
    ])
}

/// How the pod is started, and the files that stage0 writes for it.
#[derive(Debug)]
pub(super) struct RunRequest {
    /// For stage1; the UUID is filled in later.
    pub(super) args: RunArgs,
    /// `/etc/resolv.conf`, if the command line says what is in it.
    pub(super) resolv_conf: Option<String>,
    /// `/etc/hosts`, likewise, but for the pod's name.
    hosts: Option<String>,
}

impl RunRequest {
    /// The text of `/etc/hosts` with the pod's own name in it.
    pub(super) fn hosts(&self, uuid: &str) -> Option<String> {
        let own = "127.0.0.1\tlocalhost";
        let name = self.args.hostname_of(uuid);
        let text = self.hosts.as_ref()?;
        Some(text.replacen(own, &format!("{own} {name}"), 1))
    }
}

/// Reads the flags.
pub(super) fn read(context: &Context, matches: &ArgMatches) -> Result<RunRequest, Failure> {
    // Several uses add up.
    let net = networks(&matches.strings("net").join(",").replace(' ', ""))?;
    let interactive = matches.is("interactive");
    if matches.is("mds-register") {
        return Err(Failure::new(match net.as_str() {
            "none" => {
                "flag --mds-register does not work with --net=none. Please use 'host', 'default' or an equivalent network"
            }
            _ => "--mds-register: the metadata service is not available in this version",
        }));
    }
    let ipc = match matches.str("ipc") {
        "" => None,
        mode @ ("auto" | "private" | "parent") => Some(mode.to_owned()),
        other => {
            return Err(Failure::new(format!(
                "invalid value {other:?} for --ipc: must be auto, private or parent"
            )));
        }
    };
    let hostname = Some(matches.str("hostname").to_owned()).filter(|h| !h.is_empty());
    if let Some(name) = &hostname {
        check_hostname(name)?;
    }
    let (resolv, resolv_conf) = resolv_conf(matches)?;
    let (hosts_mode, hosts) = hosts(matches)?;
    Ok(RunRequest {
        args: RunArgs {
            debug: context.debug,
            net,
            interactive,
            local_config: Some(context.local_config.clone()),
            hostname,
            insecure: context.insecure.run,
            dns_conf_mode: DnsConfMode {
                resolv,
                hosts: hosts_mode,
            },
            ipc,
            strict_isolators: matches.is("strict-isolators"),
            ..RunArgs::default()
        },
        resolv_conf,
        hosts,
    })
}

/// Checks a list of networks: `host` and `none` stand alone, no name comes twice.
fn networks(list: &str) -> Result<String, Failure> {
    let mut names: Vec<&str> = Vec::new();
    for part in list.split(',') {
        let name = part.split(':').next().unwrap_or(part);
        if name.is_empty() {
            return Err(Failure::new(format!(
                "invalid value {list:?} for --net: a network has no name"
            )));
        }
        if names.contains(&name) {
            return Err(Failure::new(format!(
                "network {name:?} is given more than once"
            )));
        }
        names.push(name);
    }
    let alone = names.iter().find(|n| matches!(**n, "host" | "none"));
    match alone {
        Some(name) if names.len() > 1 => Err(Failure::new(format!(
            "network {name:?} cannot be combined with others"
        ))),
        _ => Ok(list.to_owned()),
    }
}

/// As the kernel and DNS allow: at most 64 bytes, no control characters or spaces.
fn check_hostname(name: &str) -> Result<(), Failure> {
    let fine = name.len() <= 64 && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    match fine {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "invalid value {name:?} for --hostname: it must have at most 64 bytes, no spaces and no slash"
        ))),
    }
}

/// Several values, separated by commas or given apart.
fn values(matches: &ArgMatches, flag: &str) -> Vec<String> {
    let given = matches.strings(flag);
    let parts = given.iter().flat_map(|v| v.split(',')).map(str::trim);
    parts.filter(|p| !p.is_empty()).map(str::to_owned).collect()
}

/// Where `/etc/resolv.conf` comes from (page "DNS configuration").
fn resolv_conf(matches: &ArgMatches) -> Result<(FileMode, Option<String>), Failure> {
    let servers = values(matches, "dns");
    let (search, options) = (values(matches, "dns-search"), values(matches, "dns-opt"));
    let domain = matches.str("dns-domain");
    let details = !search.is_empty() || !options.is_empty() || !domain.is_empty();
    if let Some(word) = servers
        .iter()
        .find(|s| matches!(s.as_str(), "host" | "none"))
    {
        if servers.len() > 1 || details {
            return Err(Failure::new(format!(
                "cannot mix --dns={word} with other --dns options"
            )));
        }
        return Ok(match word.as_str() {
            "host" => (FileMode::Host, None),
            _ => (FileMode::None, None),
        });
    }
    if servers.is_empty() && !details {
        return Ok((FileMode::Default, None));
    }
    if let Some(bad) = servers.iter().find(|s| s.parse::<IpAddr>().is_err()) {
        return Err(Failure::new(format!(
            "invalid value {bad:?} for --dns: must be an IP address, 'host' or 'none'"
        )));
    }
    let mut text = String::from("# Generated by rkt run\n\n");
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    servers
        .iter()
        .for_each(|s| text.push_str(&format!("nameserver {s}\n")));
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    if !domain.is_empty() {
        text.push_str(&format!("domain {domain}\n"));
    }
    if text.contains(['\r', '\0']) || text.lines().count() > 64 {
        return Err(Failure::new(
            "the --dns options do not make a valid resolv.conf",
        ));
    }
    Ok((FileMode::Stage0, Some(text)))
}

/// What `/etc/hosts` begins with when entries are added.
const HOSTS_DEFAULTS: &str = "# Generated by rkt run\n\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n\n";

/// Where `/etc/hosts` comes from.
fn hosts(matches: &ArgMatches) -> Result<(FileMode, Option<String>), Failure> {
    let entries = values(matches, "hosts-entry");
    if entries.is_empty() {
        return Ok((FileMode::Default, None));
    }
    if entries.iter().any(|e| e == "host") {
        return match entries.len() {
            1 => Ok((FileMode::Host, None)),
            _ => Err(Failure::new(
                "cannot mix --hosts-entry=host with other entries",
            )),
        };
    }
    let mut lines: Vec<(IpAddr, Vec<&str>)> = Vec::new();
    for entry in &entries {
        let invalid = || {
            Failure::new(format!(
                "invalid value {entry:?} for --hosts-entry: must be IP=HOST or 'host'"
            ))
        };
        let (ip, host) = entry.split_once('=').ok_or_else(invalid)?;
        let ip: IpAddr = ip.parse().map_err(|_| invalid())?;
        let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !plain {
            return Err(invalid());
        }
        match lines.iter_mut().find(|(known, _)| *known == ip) {
            Some((_, hosts)) => hosts.push(host),
            None => lines.push((ip, vec![host])),
        }
    }
    let mut text = HOSTS_DEFAULTS.to_owned();
    for (ip, hosts) in lines {
        text.push_str(&format!("{ip} {}\n", hosts.join(" ")));
    }
    Ok((FileMode::Stage0, Some(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(line: &str) -> ArgMatches {
        let root = crate::cli::root(|_| true);
        let matches = root.try_get_matches_from(line.split_whitespace()).unwrap();
        let (_, inner) = matches.subcommand().unwrap();
        inner.clone()
    }

    #[test]
    fn resolv_conf_has_the_documented_order() {
        let (mode, text) = resolv_conf(&matches(
            "rkt run --dns=8.8.8.8 --dns=4.2.2.2 --dns-domain=example.org --dns-opt=debug --dns-opt=rotate --dns-search=example.com --dns-search=example.gov x",
        ))
        .unwrap();
        assert_eq!(mode, FileMode::Stage0);
        assert_eq!(
            text.unwrap(),
            "# Generated by rkt run\n\nsearch example.com example.gov\nnameserver 8.8.8.8\nnameserver 4.2.2.2\noptions debug rotate\ndomain example.org\n"
        );
        assert_eq!(
            resolv_conf(&matches("rkt run --dns=host x")).unwrap().0,
            FileMode::Host
        );
        assert_eq!(
            resolv_conf(&matches("rkt run x")).unwrap().0,
            FileMode::Default
        );
        assert!(resolv_conf(&matches("rkt run --dns=host --dns-opt=x y")).is_err());
        assert!(resolv_conf(&matches("rkt run --dns=nope y")).is_err());
    }

    #[test]
    fn hosts_entries_of_one_address_share_a_line() {
        let (_, text) = hosts(&matches(
            "rkt run --hosts-entry 198.51.100.0=host1,198.51.100.1=host2 --hosts-entry 198.51.100.0=host3 x",
        ))
        .unwrap();
        assert!(
            text.unwrap()
                .ends_with("\n\n198.51.100.0 host1 host3\n198.51.100.1 host2\n")
        );
        assert!(hosts(&matches("rkt run --hosts-entry=1.2.3.4 x")).is_err());
    }

    #[test]
    fn uses_of_net_add_up() {
        let net = |line: &str| networks(&matches(line).strings("net").join(","));
        assert_eq!(net("rkt run x").unwrap(), "default");
        assert_eq!(net("rkt run --net x").unwrap(), "default");
        assert_eq!(
            net("rkt run --net=a:IP=1.2.3.4 --net x --net=b,c").unwrap(),
            "a:IP=1.2.3.4,default,b,c"
        );
        assert!(net("rkt run --net=a --net=b,a x").is_err());
        assert!(net("rkt run --net=host --net=b x").is_err());
    }

    #[test]
    fn networks_are_checked() {
        assert!(networks("default,lan:IP=10.0.0.2").is_ok());
        for bad in ["", "a,", "a,a", "none,default", "host,a"] {
            assert!(networks(bad).is_err(), "{bad}");
        }
    }
}

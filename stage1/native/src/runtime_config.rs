//! What the pod was started with, kept for the entrypoints that come later (surface: "Files in a pod
//! dir").

use serde::{Deserialize, Serialize};
use stage1_abi::{DnsConfMode, InsecureOptions, Labels, RunArgs, path};

use crate::error::Error;
use crate::run::write_file;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RuntimeConfig {
    private_users: String,
    hostname: String,
    debug: bool,
    mutable: bool,
    resolv_conf_mode: String,
    etc_hosts_mode: String,
    net_list: String,
    interactive: bool,
    insecure_options: Insecure,
    #[serde(rename = "IPCMode")]
    ipc_mode: String,
    /// Of the pod's processes and mounts, where the host has SELinux.
    #[serde(default)]
    selinux_context: String,
    #[serde(default)]
    selinux_mount_context: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Insecure {
    disable_paths: bool,
    disable_capabilities: bool,
    disable_seccomp: bool,
}

/// Writes the file.
pub(crate) fn write(args: &RunArgs, labels: Option<&Labels>) -> Result<(), Error> {
    let (resolv, hosts) = args.dns_conf_mode.names();
    let config = RuntimeConfig {
        private_users: args
            .private_users
            .map_or_else(String::new, |p| p.to_string()),
        hostname: args.hostname.clone().unwrap_or_default(),
        debug: args.debug,
        mutable: args.mutable,
        resolv_conf_mode: resolv.into(),
        etc_hosts_mode: hosts.into(),
        net_list: args.net.clone(),
        interactive: args.interactive,
        insecure_options: Insecure {
            disable_paths: args.insecure.disable_paths,
            disable_capabilities: args.insecure.disable_capabilities,
            disable_seccomp: args.insecure.disable_seccomp,
        },
        ipc_mode: args.ipc.clone().unwrap_or_default(),
        selinux_context: labels.map_or_else(String::new, |labels| labels.process.clone()),
        selinux_mount_context: labels.map_or_else(String::new, |labels| labels.file.clone()),
    };
    let text = serde_json::to_string(&config).map_err(|source| Error::Write {
        path: path::RUNTIME_CONFIG.into(),
        source: source.into(),
    })?;
    // Nobody looks before the pid is written.
    write_file(path::RUNTIME_CONFIG, &text)
}

/// Reads back what concerns the pod's apps.
pub(crate) fn read(uuid: &str) -> Result<(RunArgs, Option<Labels>), Error> {
    let failed = |source| Error::Read {
        path: path::RUNTIME_CONFIG.into(),
        source,
    };
    let text = std::fs::read_to_string(path::RUNTIME_CONFIG).map_err(failed)?;
    let config: RuntimeConfig =
        serde_json::from_str(&text).map_err(|error| failed(error.into()))?;
    let dns = format!(
        "resolv={},hosts={}",
        config.resolv_conf_mode, config.etc_hosts_mode
    );
    let labels = Labels {
        process: config.selinux_context,
        file: config.selinux_mount_context,
    };
    let labels = Some(labels).filter(|labels| !labels.process.is_empty());
    let args = RunArgs {
        uuid: uuid.to_owned(),
        debug: config.debug,
        mutable: config.mutable,
        interactive: config.interactive,
        net: config.net_list,
        hostname: Some(config.hostname).filter(|h| !h.is_empty()),
        private_users: config.private_users.parse().ok(),
        ipc: Some(config.ipc_mode).filter(|i| !i.is_empty()),
        dns_conf_mode: dns.parse().unwrap_or(DnsConfMode::default()),
        insecure: InsecureOptions {
            disable_paths: config.insecure_options.disable_paths,
            disable_capabilities: config.insecure_options.disable_capabilities,
            disable_seccomp: config.insecure_options.disable_seccomp,
        },
        ..RunArgs::default()
    };
    Ok((args, labels))
}

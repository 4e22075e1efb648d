//! From the manifests and the arguments to the plan of the pod.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use appc::{App, EventName, PodManifest, Quantity, RuntimeApp};
use sandbox::cgroup::{AppCgroup, Device, Limits};
use stage1_abi::{FileMode, RunArgs, annotation, path};
use supervisor::{AppPlan, LogPlan, PodPlan, StreamMode, StreamModes, VolumePlan};

use crate::error::Error;
use crate::layout::{self, Wishes};
use crate::mounts::Owner;
use crate::{isolators, kubernetes, manifest, mounts};

/// How long apps may take to end after TERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of `/dev/shm`, where nobody says more.
const SHM_SIZE: u64 = 64 << 20;

/// Volumes by the name under which they are gathered.
pub(crate) type Volumes = BTreeMap<String, VolumePlan>;

/// What the plans of a pod's apps depend on.
#[derive(Debug)]
pub(crate) struct Pod<'a> {
    pub(crate) args: &'a RunArgs,
    pub(crate) manifest: &'a PodManifest,
    /// The pod has a network stack of its own.
    pub(crate) own_network: bool,
    /// See [`has_user_namespace`].
    pub(crate) user_namespace: bool,
    /// Devices that volumes give to some of the apps.
    pub(crate) devices: &'a [Device],
    /// What the pod's isolators come to.
    pub(crate) isolation: &'a isolators::PodIsolation,
}

/// What makes the cgroup of an app, given its name, its limits and its devices.
pub(crate) type MakeCgroup<'a> =
    dyn Fn(&str, &Limits, &[Device]) -> Result<Option<AppCgroup>, sandbox::Error> + 'a;

impl Pod<'_> {
    /// The plan of the pod in the working directory.
    pub(crate) fn plan(&self, cgroup_for: &MakeCgroup<'_>) -> Result<PodPlan, Error> {
        self.refuse_unsupported()?;
        let isolation = self.isolation;
        let outcomes = &isolation.outcomes;
        outcomes.report("the pod", isolation.strict, Path::new(path::ISOLATORS))?;
        let mut volumes = Volumes::new();
        host_files(self.args, &mut volumes);
        if let Some(logs) = kubernetes::directory(self.manifest)? {
            volumes.insert(format!("/{}", path::KUBERNETES_LOG), logs);
        }
        let mut apps = Vec::with_capacity(self.manifest.apps.len());
        for runtime in &self.manifest.apps {
            apps.push(self.app(runtime, &mut volumes, cgroup_for)?);
        }
        Ok(PodPlan {
            hostname: self.args.hostname_of(&self.args.uuid),
            volumes: volumes.into_values().collect(),
            apps,
            log: log(&self.args.uuid),
            sysctls: isolation.sysctls.clone(),
            shm_size: self.shm_size()?,
            labels: isolation.labels.clone(),
            user_namespace: self.user_namespace,
            mutable: self.args.mutable,
            debug: self.args.debug,
            stop_timeout: STOP_TIMEOUT,
        })
    }

    fn shm_size(&self) -> Result<u64, Error> {
        let name = annotation::SHM_SIZE;
        let Some(text) = self.manifest.annotations.get(name) else {
            return Ok(SHM_SIZE);
        };
        let size = Quantity::parse(text).map_err(|e| Error::Unsupported(format!("{name}: {e}")))?;
        match u64::try_from(size.value()) {
            // None at all would be, to the kernel, no bound.
            Ok(size) if size > 0 => Ok(size),
            _ => Err(Error::Unsupported(format!("{name}: {text:?} is no size"))),
        }
    }

    /// The plan of one app. Its volumes come to those of the pod.
    pub(crate) fn app(
        &self,
        runtime: &RuntimeApp,
        volumes: &mut Volumes,
        cgroup_for: &MakeCgroup<'_>,
    ) -> Result<AppPlan, Error> {
        let name = runtime.name.as_str();
        let app = manifest::app_of(runtime)?;
        let isolation = isolators::of_app(name, &app, self.isolation)?;
        isolation.outcomes.report(
            &format!("app {name:?}"),
            self.isolation.strict,
            &path::app_isolators(name),
        )?;
        let mounts = mounts::of_app(
            self.manifest,
            runtime,
            &app,
            Owner {
                users: self.args.private_users,
                labels: self.isolation.labels.as_ref(),
            },
            volumes,
        )?;
        let notify = runtime.annotations.get(annotation::SUPPORTS_NOTIFY) == Some("true");
        let devices = match self.devices {
            [] => Vec::new(),
            _ => mounts::devices_of_app(&mounts, volumes),
        };
        let operations = layout::operations(Wishes {
            app: name,
            args: self.args,
            hostname: &self.args.hostname_of(&self.args.uuid),
            mounts,
            root_read_only: runtime.read_only_rootfs,
            own_network: self.own_network,
            hide_pid: self.manifest.annotations.get(annotation::HIDE_PID),
            notify,
        });
        let mut variables = environment(&app);
        if notify {
            variables.push(("NOTIFY_SOCKET".into(), path::NOTIFY_IN_APP.into()));
        }
        let streams = self.streams(runtime)?;
        if streams.has(StreamMode::Terminal)
            || (streams.has(StreamMode::Interactive) && std::io::stdin().is_terminal())
        {
            name_terminal(&mut variables);
        }
        let cgroup = cgroup_for(name, &isolation.limits, &devices)?;
        let handler = |event| app.event_handler(event).map(|h| h.exec.clone());
        Ok(AppPlan {
            name: name.to_owned(),
            pre_start: handler(EventName::PreStart),
            post_stop: handler(EventName::PostStop),
            environment: variables,
            notify,
            working_directory: PathBuf::from(app.working_directory()),
            streams,
            log_file: kubernetes::file(self.manifest, runtime)?,
            user: app.user,
            group: app.group,
            supplementary_gids: app.supplementary_gids,
            exec: app.exec,
            sockets: Vec::new(),
            operations,
            security: isolation.security,
            file_context: isolation.file_context,
            user_namespace: self.user_namespace,
            devices: None,
            cgroup,
        })
    }

    /// Where the app's streams lead: its annotations say, or `--interactive` for the only app.
    fn streams(&self, runtime: &RuntimeApp) -> Result<StreamModes, Error> {
        if self.args.interactive {
            return Ok(StreamModes::INTERACTIVE);
        }
        let mut modes = StreamModes::default();
        for (name, mode) in [
            (annotation::STDIN, &mut modes.stdin),
            (annotation::STDOUT, &mut modes.stdout),
            (annotation::STDERR, &mut modes.stderr),
        ] {
            let Some(value) = runtime.annotations.get(name) else {
                continue;
            };
            *mode = match value {
                "null" => StreamMode::Null,
                "log" if name != annotation::STDIN => StreamMode::Log,
                "stream" => StreamMode::Stream,
                "tty" => StreamMode::Terminal,
                "interactive" => StreamMode::Interactive,
                _ => {
                    let reason = format!("annotation {name}: there is no mode {value:?}");
                    return Err(Error::app(runtime.name.as_str(), reason));
                }
            };
        }
        match modes.has(StreamMode::Interactive) {
            true if modes != StreamModes::INTERACTIVE || self.manifest.apps.len() != 1 => {
                Err(Error::app(
                    runtime.name.as_str(),
                    "interactive mode is for all streams of the only app of a pod",
                ))
            }
            _ => Ok(modes),
        }
    }

    /// What this stage1 has no means for is refused, not passed over.
    fn refuse_unsupported(&self) -> Result<(), Error> {
        let args = self.args;
        let unsupported =
            |what: &str| Err(Error::Unsupported(format!("{what} by the native stage1")));
        let modes = ["auto", "private", "parent"];
        if args.ipc.as_deref().is_some_and(|ipc| !modes.contains(&ipc)) {
            return unsupported("this --ipc mode is not supported");
        }
        if args.interactive && self.manifest.apps.len() != 1 {
            return Err(Error::Unsupported(
                "an interactive pod has exactly one app".into(),
            ));
        }
        Ok(())
    }
}

/// Whether the pod is in another user namespace than the host's: one of its own, or the one of an
/// ordinary user, in which this process is already.
pub(crate) fn has_user_namespace(args: &RunArgs, hosts: bool) -> bool {
    args.private_users.is_some() || !hosts
}

/// Whose the pod's journal is: its machine ID is its UUID.
fn log(uuid: &str) -> LogPlan {
    const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
    let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    LogPlan {
        machine_id: id(uuid),
        boot_id: id(&boot),
        expected: systemd::booted(),
    }
}

/// The bytes of a UUID; other text is the zero one.
pub(crate) fn id(text: &str) -> [u8; 16] {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16).map(|d| d as u8))
        .collect();
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|p| p[0] << 4 | p[1]).collect();
    bytes.try_into().unwrap_or_default()
}

/// The app's own variables, from its manifest.
pub(crate) fn environment(app: &App) -> Vec<(String, String)> {
    let variables = app.environment.0.iter();
    variables
        .map(|v| (v.name.clone(), v.value.clone()))
        .collect()
}

/// Tells an app of the kind of its terminal, unless its manifest does: like rkt's, if that has one.
pub(crate) fn name_terminal(variables: &mut Vec<(String, String)>) {
    if !variables.iter().any(|(name, _)| name == "TERM") {
        let term = std::env::var("TERM").unwrap_or_else(|_| "vt100".into());
        variables.push(("TERM".into(), term));
    }
}

/// The host's own resolver and hosts files are shown through the stage1 root file system, like
/// volumes.
fn host_files(args: &RunArgs, volumes: &mut Volumes) {
    let mode = args.dns_conf_mode;
    for (wanted, source, target) in [
        (
            mode.resolv == FileMode::Host,
            "/etc/resolv.conf",
            path::RESOLV_CONF,
        ),
        (mode.hosts == FileMode::Host, "/etc/hosts", path::HOSTS),
    ] {
        if wanted {
            let plan = VolumePlan {
                source: source.into(),
                gathered: Path::new("/").join(target),
                recursive: false,
                mapped: false,
                mount: None,
            };
            volumes.insert(format!("/{target}"), plan);
        }
    }
}

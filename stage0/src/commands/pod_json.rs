//! Pods as JSON, with the field names of the original's `api/v1`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use pod::{Network, Pod};
use serde::Serialize;

use crate::failure::{Doing, Failure};
use crate::output::human;

/// A pod.
#[derive(Debug, Serialize)]
pub(super) struct PodJson {
    /// The UUID.
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    networks: Vec<NetworkJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    app_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    apps: Vec<AppJson>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<u64>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<u64>,
    /// What became of the pod's isolators: applied, changed or unsupported.
    #[serde(skip_serializing_if = "Option::is_none")]
    isolators: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_labels: BTreeMap<String, String>,
}

/// A network of a pod.
#[derive(Debug, Serialize)]
struct NetworkJson {
    #[serde(rename = "netName")]
    name: String,
    #[serde(rename = "netConf")]
    conf: String,
    #[serde(rename = "pluginPath")]
    plugin_path: String,
    #[serde(rename = "ifName")]
    interface: String,
    ip: String,
    args: String,
    mask: String,
}

/// An app of a pod.
#[derive(Debug, Serialize)]
pub(super) struct AppJson {
    name: String,
    state: &'static str,
    /// Nanoseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    image_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<MountJson>,
    /// What became of the app's isolators, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    isolators: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_labels: BTreeMap<String, String>,
}

/// A mount of an app.
#[derive(Debug, Serialize)]
struct MountJson {
    name: String,
    container_path: String,
    host_path: String,
    read_only: bool,
}

impl PodJson {
    /// Reads what there is to read about a pod.
    pub(super) fn of(pod: &Pod) -> Result<Self, Failure> {
        let problem = || format!("cannot read pod {:?}", pod.uuid());
        let manifest = pod.manifest().doing_with(problem)?;
        let networks = super::network::of(pod).doing_with(problem)?;
        let mut json = Self {
            name: pod.uuid().to_owned(),
            state: pod.state().as_str(),
            networks: networks.into_iter().map(NetworkJson::from).collect(),
            app_names: Vec::new(),
            apps: Vec::new(),
            created_at: pod.created().doing_with(problem)?.map(seconds),
            started_at: pod.started().doing_with(problem)?.map(seconds),
            isolators: pod.isolators(None).doing_with(problem)?,
            user_annotations: BTreeMap::new(),
            user_labels: BTreeMap::new(),
        };
        if let Some(manifest) = manifest {
            for app in &manifest.apps {
                json.app_names.push(app.name.to_string());
                json.apps.push(AppJson::of(pod, &manifest, app)?);
            }
            json.user_annotations = manifest.user_annotations;
            json.user_labels = manifest.user_labels;
        }
        Ok(json)
    }
}

impl AppJson {
    /// Lines of `key=value`, what is not known left out.
    pub(super) fn text(&self) -> String {
        let time =
            |ns: u64| human::local(SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(ns));
        let mounts: Vec<String> = self.mounts.iter().map(MountJson::text).collect();
        let pairs = |map: &BTreeMap<String, String>| {
            let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{v}")).collect();
            Some(pairs.join(",")).filter(|text| !text.is_empty())
        };
        let fields = [
            ("name", Some(self.name.clone())),
            ("state", Some(self.state.to_owned())),
            ("image_id", Some(self.image_id.clone())),
            ("created_at", self.created_at.map(time)),
            ("started_at", self.started_at.map(time)),
            ("finished_at", self.finished_at.map(time)),
            ("exit_code", self.exit_code.map(|code| code.to_string())),
            ("mounts", Some(mounts.join(",")).filter(|m| !m.is_empty())),
            ("user_annotations", pairs(&self.user_annotations)),
            ("user_labels", pairs(&self.user_labels)),
        ];
        let known = fields
            .into_iter()
            .filter_map(|(k, v)| v.map(|v| format!("{k}={v}\n")));
        known.collect()
    }

    /// Reads what there is to read about an app of a pod.
    pub(super) fn of(
        pod: &Pod,
        manifest: &appc::PodManifest,
        app: &appc::RuntimeApp,
    ) -> Result<Self, Failure> {
        let problem = || {
            format!(
                "cannot read app {:?} of pod {:?}",
                app.name.as_str(),
                pod.uuid()
            )
        };
        let state = pod.app_state(&app.name).doing_with(problem)?;
        let [created, started, finished] = pod.app_times(&app.name).doing_with(problem)?;
        let inner = app.app.as_ref();
        Ok(Self {
            name: app.name.to_string(),
            state: state.as_str(),
            created_at: created.map(nanoseconds),
            started_at: started.map(nanoseconds),
            finished_at: finished.map(nanoseconds),
            exit_code: pod.app_exit_status(&app.name).doing_with(problem)?,
            image_id: app.image.id.to_string(),
            mounts: mounts(pod, manifest, app),
            isolators: pod.isolators(Some(&app.name)).doing_with(problem)?,
            user_annotations: inner
                .map(|a| a.user_annotations.clone())
                .unwrap_or_default(),
            user_labels: inner.map(|a| a.user_labels.clone()).unwrap_or_default(),
        })
    }
}

impl MountJson {
    fn text(&self) -> String {
        let mode = if self.read_only { ":ro" } else { "" };
        format!(
            "{}:{}:{}{mode}",
            self.name, self.host_path, self.container_path
        )
    }
}

/// The app's mounts: those of the pod manifest, then the mount points that a volume fulfils.
fn mounts(pod: &Pod, manifest: &appc::PodManifest, app: &appc::RuntimeApp) -> Vec<MountJson> {
    let mut all = Vec::new();
    let points = app.app.iter().flat_map(|a| &a.mount_points);
    let mut add = |volume: &appc::Volume, own: bool, path: &str| {
        let point = points.clone().find(|point| point.path == path);
        let source = volume.source.clone();
        let host = source.unwrap_or_else(|| {
            let shared = pod.dir().path().join(stage1_abi::path::SHARED_VOLUMES);
            let name = stage1_abi::path::volume_key(&app.name, own, &volume.name);
            shared.join(name).display().to_string()
        });
        all.push(MountJson {
            name: volume.name.to_string(),
            container_path: path.to_owned(),
            host_path: host,
            read_only: volume.is_read_only(point),
        });
    };
    for mount in &app.mounts {
        if let Some(volume) = manifest.volume_of(mount) {
            add(volume, mount.app_volume.is_some(), &mount.path);
        }
    }
    for point in points.clone() {
        let overridden = app.mounts.iter().any(|m| m.path == point.path);
        let volume = manifest.volumes.iter().find(|v| v.name == point.name);
        if let (false, Some(volume)) = (overridden, volume) {
            add(volume, false, &point.path);
        }
    }
    all
}

impl From<Network> for NetworkJson {
    fn from(n: Network) -> Self {
        Self {
            name: n.name,
            conf: n.conf,
            plugin_path: n.plugin_path,
            interface: n.interface,
            ip: n.ip,
            args: n.args,
            mask: n.mask,
        }
    }
}

fn since_epoch(time: SystemTime) -> std::time::Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

fn seconds(time: SystemTime) -> u64 {
    since_epoch(time).as_secs()
}

fn nanoseconds(time: SystemTime) -> u64 {
    u64::try_from(since_epoch(time).as_nanos()).unwrap_or(u64::MAX)
}

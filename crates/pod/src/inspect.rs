//! What can be read about a pod: manifests, times, process, networks, exit statuses.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use appc::{ImageManifest, PodManifest};
use stage1_abi::path;

use crate::error::Error;
use crate::pod::Pod;
use crate::state::State;

/// One network of a pod, as stage1 wrote it to `net-info.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
pub struct Network {
    /// Name of the network.
    #[serde(rename = "netName", default)]
    pub name: String,
    /// Path of its configuration.
    #[serde(rename = "netConf", default)]
    pub conf: String,
    /// Path of the plugin, if one was used.
    #[serde(rename = "pluginPath", default)]
    pub plugin_path: String,
    /// Interface inside the pod.
    #[serde(rename = "ifName", default)]
    pub interface: String,
    /// IPv4 address inside the pod.
    #[serde(default)]
    pub ip: String,
    /// Arguments from `--net=NAME:ARGS`.
    #[serde(default)]
    pub args: String,
    /// Dotted network mask.
    #[serde(default)]
    pub mask: String,
}

/// State of one app in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppState {
    /// The pod's files do not tell.
    Unknown,
    /// Not started yet.
    Created,
    /// Started and not ended.
    Running,
    /// Ended.
    Exited,
}

impl AppState {
    /// The documented name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
        }
    }
}

impl Pod {
    /// The pod manifest's bytes; `None` while it is not written yet.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn manifest_bytes(&self) -> Result<Option<Vec<u8>>, Error> {
        present(self.dir.read(path::POD_MANIFEST))
    }

    /// The pod manifest; `None` while it is not written yet.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn manifest(&self) -> Result<Option<PodManifest>, Error> {
        let Some(bytes) = self.manifest_bytes()? else {
            return Ok(None);
        };
        PodManifest::parse(&bytes)
            .map(Some)
            .map_err(|source| self.bad_manifest("manifest".to_owned(), source))
    }

    /// The image manifest of one of the pod's apps, as it was when the pod was prepared.
    ///
    /// # Errors
    /// The file is missing or cannot be understood.
    pub fn app_image(&self, app: &str) -> Result<ImageManifest, Error> {
        let file = path::app_manifest(app);
        let bytes = self.dir.read(&file)?;
        ImageManifest::parse(&bytes).map_err(|e| self.bad_manifest(file.display().to_string(), e))
    }

    /// The manifest of the stage1 image.
    ///
    /// # Errors
    /// The file is missing or cannot be understood.
    pub fn stage1_manifest(&self) -> Result<ImageManifest, Error> {
        let bytes = self.dir.read(path::STAGE1_MANIFEST)?;
        ImageManifest::parse(&bytes)
            .map_err(|e| self.bad_manifest(path::STAGE1_MANIFEST.to_owned(), e))
    }

    fn bad_manifest(&self, file: String, source: appc::Error) -> Error {
        Error::Manifest {
            uuid: self.uuid.clone(),
            file,
            source,
        }
    }

    /// When the pod was made.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn created(&self) -> Result<Option<SystemTime>, Error> {
        self.mtime(path::POD_CREATED)
    }

    /// When stage1 reported the pod's process.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn started(&self) -> Result<Option<SystemTime>, Error> {
        match self.mtime(path::PID)? {
            Some(time) => Ok(Some(time)),
            None => self.mtime(path::PPID),
        }
    }

    fn mtime(&self, name: impl AsRef<std::path::Path>) -> Result<Option<SystemTime>, Error> {
        let stat = self.dir.stat(name)?;
        Ok(stat.map(|s| system_time(s.st_mtime, s.st_mtime_nsec)))
    }

    /// Tree store id of the stage1 image.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn stage1_tree(&self) -> Result<Option<String>, Error> {
        self.dir.read_text(path::STAGE1_TREE_STORE_ID)
    }

    /// Tree store id of an app's image.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn app_tree(&self, app: &str) -> Result<Option<String>, Error> {
        self.dir.read_text(path::app_tree_store_id(app))
    }

    /// Whether the trees are overlay mounts instead of copies.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn uses_overlay(&self) -> Result<bool, Error> {
        Ok(self.dir.stat(path::OVERLAY_PREPARED)?.is_some())
    }

    /// Where what stage1 writes in its root file system is found, below the pod directory.
    ///
    /// # Errors
    /// The tree store id cannot be read.
    pub fn stage1_written(&self) -> Result<PathBuf, Error> {
        let tree = match self.uses_overlay()? {
            true => self.stage1_tree()?,
            false => None,
        };
        Ok(path::stage1_written(tree.as_deref()))
    }

    /// The host pid of the process that `enter` enters: the one in `pid`, or the only child of the
    /// one in `ppid`. `None` while stage1 has written neither.
    ///
    /// # Errors
    /// The files are malformed, or the process has gone.
    pub fn pid(&self) -> Result<Option<u32>, Error> {
        if let Some(text) = self.dir.read_text(path::PID)? {
            return self.number(path::PID, &text).map(Some);
        }
        let Some(text) = self.dir.read_text(path::PPID)? else {
            return Ok(None);
        };
        let parent: u32 = self.number(path::PPID, &text)?;
        let children = PathBuf::from(format!("/proc/{parent}/task/{parent}/children"));
        match std::fs::read_to_string(&children) {
            Ok(list) => match list.split_whitespace().collect::<Vec<_>>().as_slice() {
                [] => Ok(None),
                [only] => self.number(path::PPID, only).map(Some),
                many => Err(Error::Malformed {
                    uuid: self.uuid.clone(),
                    file: path::PPID.to_owned(),
                    reason: format!("process {parent} has {} children", many.len()),
                }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", children, error)),
        }
    }

    fn number<T: std::str::FromStr>(&self, file: &str, text: &str) -> Result<T, Error> {
        text.parse().map_err(|_| Error::Malformed {
            uuid: self.uuid.clone(),
            file: file.to_owned(),
            reason: format!("{text:?} is not a number"),
        })
    }

    /// The directories of the pod's cgroups; none while stage1 has not made them, or if it makes
    /// none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn cgroups(&self) -> Result<Vec<PathBuf>, Error> {
        let text = self.dir.read_text(path::CGROUPS)?.unwrap_or_default();
        Ok(text.lines().map(PathBuf::from).collect())
    }

    /// The pod's networks; empty while stage1 has not written them, or with host networking.
    ///
    /// # Errors
    /// The file is malformed.
    pub fn networks(&self) -> Result<Vec<Network>, Error> {
        let Some(bytes) = present(self.dir.read(path::NET_INFO))? else {
            return Ok(Vec::new());
        };
        serde_json::from_slice(&bytes).map_err(|error| Error::Malformed {
            uuid: self.uuid.clone(),
            file: path::NET_INFO.to_owned(),
            reason: error.to_string(),
        })
    }

    /// The exit status of an app; `None` while it has none.
    ///
    /// # Errors
    /// The file is malformed.
    pub fn app_exit_status(&self, app: &str) -> Result<Option<i32>, Error> {
        let file = self.stage1_written()?.join(path::app_status(app));
        match self.dir.read_text(&file)? {
            Some(text) if !text.is_empty() => {
                self.number(&file.display().to_string(), &text).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What became of the isolators of an app, or of the pod itself: what its stage1 wrote. `None`
    /// where there were none, or before the pod was started.
    ///
    /// # Errors
    /// The file is malformed.
    pub fn isolators(&self, app: Option<&str>) -> Result<Option<serde_json::Value>, Error> {
        let file = app.map_or_else(|| path::ISOLATORS.into(), path::app_isolators);
        let Some(text) = self.dir.read_text(&file)? else {
            return Ok(None);
        };
        let value = serde_json::from_str(&text);
        value.map(Some).map_err(|error| Error::Malformed {
            uuid: self.uuid.clone(),
            file: file.display().to_string(),
            reason: error.to_string(),
        })
    }

    /// When an app was created, started and ended, as far as it was.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn app_times(&self, app: &str) -> Result<[Option<SystemTime>; 3], Error> {
        let written = self.stage1_written()?;
        Ok([
            self.mtime(written.join(path::app_created(app)))?,
            self.mtime(written.join(path::app_started(app)))?,
            self.mtime(written.join(path::app_status(app)))?,
        ])
    }

    /// The state of an app, from the pod's and the app's files.
    ///
    /// # Errors
    /// The app's status is malformed.
    pub fn app_state(&self, app: &str) -> Result<AppState, Error> {
        if self.app_exit_status(app)?.is_some() {
            return Ok(AppState::Exited);
        }
        let [created, started, _] = self.app_times(app)?;
        Ok(match self.state {
            State::Running if started.is_some() => AppState::Running,
            State::Running if created.is_some() => AppState::Created,
            State::Running => AppState::Running,
            State::Embryo | State::Preparing | State::Prepared => AppState::Created,
            state if state.is_exited() => AppState::Exited,
            _ => AppState::Unknown,
        })
    }
}

fn present(read: Result<Vec<u8>, Error>) -> Result<Option<Vec<u8>>, Error> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Seconds and nanoseconds of a file's time. Times before 1970 are no pod's: they become 1970.
pub(crate) fn system_time(seconds: i64, nanoseconds: impl TryInto<u32>) -> SystemTime {
    let nanoseconds = nanoseconds.try_into().unwrap_or(0).min(999_999_999);
    let seconds = u64::try_from(seconds).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

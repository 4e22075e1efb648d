//! Logs for the kubelet: the annotations that name their directory and files.

use std::path::{Component, Path, PathBuf};

use appc::{PodManifest, RuntimeApp};
use stage1_abi::{annotation, path};
use supervisor::VolumePlan;

use crate::error::Error;

/// The host's directory, if the pod keeps such logs.
pub(crate) fn directory(pod: &PodManifest) -> Result<Option<VolumePlan>, Error> {
    match pod.annotations.get(annotation::LOG_MODE) {
        None => return Ok(None),
        Some(annotation::KUBERNETES) => {}
        Some(other) => {
            let name = annotation::LOG_MODE;
            let reason = format!("annotation {name}: there is no mode {other:?}");
            return Err(Error::Unsupported(reason));
        }
    }
    let name = annotation::KUBERNETES_LOG_DIR;
    match pod.annotations.get(name).map(Path::new) {
        Some(source) if source.is_absolute() => Ok(Some(VolumePlan {
            source: source.to_owned(),
            gathered: Path::new("/").join(path::KUBERNETES_LOG),
            recursive: false,
            // The supervisor's files there are the host's, whatever its own ids are.
            mapped: true,
            mount: None,
        })),
        _ => Err(Error::Unsupported(format!(
            "annotation {name} must be the absolute path of a directory"
        ))),
    }
}

/// An app's file, relative to the directory.
pub(crate) fn file(pod: &PodManifest, app: &RuntimeApp) -> Result<Option<PathBuf>, Error> {
    let name = annotation::KUBERNETES_LOG_PATH;
    let Some(path) = app.annotations.get(name).map(Path::new) else {
        return Ok(None);
    };
    if pod.annotations.get(annotation::LOG_MODE).is_none() {
        return Ok(None);
    }
    let inside = |part| matches!(part, Component::Normal(_));
    match path.file_name().is_some() && path.components().all(inside) {
        true => Ok(Some(path.to_owned())),
        false => Err(Error::app(
            app.name.as_str(),
            format!("annotation {name}: {path:?} is no path below the pod's directory of logs"),
        )),
    }
}

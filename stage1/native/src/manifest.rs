//! The manifests in the pod directory, which is the working directory.

use std::path::Path;

use appc::{App, ImageManifest, PodManifest, RuntimeApp};
use stage1_abi::path;

use crate::error::Error;

/// The pod manifest.
pub(crate) fn pod() -> Result<PodManifest, Error> {
    let path = Path::new(path::POD_MANIFEST);
    PodManifest::parse(&read(path)?).map_err(|source| Error::Manifest {
        path: path.into(),
        source,
    })
}

/// What an app runs: the pod manifest's word, or its image's.
pub(crate) fn app_of(runtime: &RuntimeApp) -> Result<App, Error> {
    if let Some(app) = &runtime.app {
        return Ok(app.clone());
    }
    let path = path::app_manifest(runtime.name.as_str());
    let image = ImageManifest::parse(&read(&path)?).map_err(|source| Error::Manifest {
        path: path.clone(),
        source,
    })?;
    image.app.ok_or_else(|| {
        Error::app(
            runtime.name.as_str(),
            "neither the pod nor the image says what to run",
        )
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.into(),
        source,
    })
}

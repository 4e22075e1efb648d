//! The pod manifest as a whole.

use appc::{AcName, ExposedPort, Mount, PodManifest, RuntimeApp, Volume};

use super::app::{AppRequest, MergedImage, inherit_annotations};
use super::env::PodEnv;
use crate::failure::{Doing, Failure};
use crate::output;

/// What the command line says about the pod.
#[derive(Debug, Default)]
pub(crate) struct PodRequest {
    pub(crate) apps: Vec<AppRequest>,
    pub(crate) volumes: Vec<Volume>,
    /// Mounts given before the first image: for all apps.
    pub(crate) mounts: Vec<Mount>,
    pub(crate) ports: Vec<ExposedPort>,
    pub(crate) env: PodEnv,
}

/// Makes the pod manifest; `images` are those of the requested apps, in their order.
pub(crate) fn generate(
    request: &PodRequest,
    images: &[MergedImage],
) -> Result<PodManifest, Failure> {
    let mut manifest = PodManifest::new();
    for (app, image) in request.apps.iter().zip(images) {
        let runtime = app.merge(image, &request.env, &request.mounts)?;
        if manifest.app(&runtime.name).is_some() {
            return Err(Failure::new(format!(
                "multiple apps with the name {:?} in the pod: give them names with --name",
                runtime.name.as_str()
            )));
        }
        manifest.apps.push(runtime);
    }
    manifest.volumes.clone_from(&request.volumes);
    manifest.ports.clone_from(&request.ports);
    check_ports(&manifest)?;
    complete(&mut manifest)?;
    Ok(manifest)
}

/// An app to add to the pod of this manifest. The volumes that its mount points lack become its own.
pub(crate) fn add(
    manifest: &PodManifest,
    request: &AppRequest,
    image: &MergedImage,
) -> Result<RuntimeApp, Failure> {
    let mut runtime = request.merge(image, &PodEnv::default(), &[])?;
    let mut implicit = Vec::new();
    fulfil(&mut runtime, &manifest.volumes, &mut implicit)?;
    for volume in implicit {
        let mounts = runtime.mounts.iter_mut();
        for mount in mounts.filter(|m| m.volume == volume.name) {
            mount.app_volume = Some(volume.clone());
        }
    }
    Ok(runtime)
}

/// Completes a manifest that the user wrote (`--pod-manifest`): what its apps leave to their images
/// is filled in.
pub(crate) fn adopt(
    mut manifest: PodManifest,
    images: &[MergedImage],
) -> Result<PodManifest, Failure> {
    for (app, image) in manifest.apps.iter_mut().zip(images) {
        app.image.id = image.id.clone();
        inherit_annotations(app, &image.manifest);
        if app.app.is_none() {
            app.app.clone_from(&image.manifest.app);
        }
        if app.app.is_none() {
            return Err(Failure::new(format!(
                "no exec specified: neither the pod manifest nor image {:?} has an 'app' section for {:?}",
                image.manifest.name.as_str(),
                app.name.as_str()
            )));
        }
    }
    complete(&mut manifest)?;
    Ok(manifest)
}

/// Gives every mount point a volume and checks the result as a whole.
fn complete(manifest: &mut PodManifest) -> Result<(), Failure> {
    let mut implicit = Vec::new();
    for app in &mut manifest.apps {
        fulfil(app, &manifest.volumes, &mut implicit)?;
    }
    manifest.volumes.extend(implicit);
    manifest.validate().doing("invalid pod manifest")
}

/// Adds an empty volume for each mount point of the app that no volume and no mount fulfils.
fn fulfil(
    app: &mut RuntimeApp,
    volumes: &[Volume],
    implicit: &mut Vec<Volume>,
) -> Result<(), Failure> {
    for mount in &app.mounts {
        let known = mount.app_volume.is_some() || volumes.iter().any(|v| v.name == mount.volume);
        if !known {
            return Err(Failure::new(format!(
                "no volume {:?} for the mount at {:?} in app {:?}: declare it with --volume",
                mount.volume.as_str(),
                mount.path,
                app.name.as_str()
            )));
        }
    }
    let points = app.app.iter().flat_map(|a| &a.mount_points);
    let mut added = Vec::new();
    for point in points {
        let by_name = volumes.iter().any(|v| v.name == point.name);
        let by_path = app.mounts.iter().any(|m| m.path == point.path);
        if by_name || by_path {
            continue;
        }
        output::note(&format!(
            "warning: no volume specified for mount point {:?}, implicitly creating an \"empty\" volume. This volume will be removed when the pod is garbage-collected.",
            point.name.as_str()
        ));
        let name = implicit_volume(&app.name, &point.name)?;
        let mut volume = Volume::empty(name.clone());
        volume.read_only = point.read_only.then_some(true);
        implicit.push(volume);
        added.push(Mount::new(name, point.path.clone()));
    }
    app.mounts.extend(added);
    Ok(())
}

/// The name of the volume that a mount point gets when it is given none.
pub(crate) fn implicit_volume(app: &AcName, point: &AcName) -> Result<AcName, Failure> {
    AcName::sanitize(&format!("{app}-{point}")).doing("cannot name an implicit volume")
}

/// Every exposed port must be one that an app declares.
fn check_ports(manifest: &PodManifest) -> Result<(), Failure> {
    let declared = |name: &AcName| {
        let apps = manifest.apps.iter().filter_map(|a| a.app.as_ref());
        apps.flat_map(|a| &a.ports).any(|p| p.name == *name)
    };
    match manifest
        .ports
        .iter()
        .find(|p| p.pod_port.is_none() && !declared(&p.name))
    {
        None => Ok(()),
        Some(port) => Err(Failure::new(format!(
            "no port named {:?} found in any app of the pod",
            port.name.as_str()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use appc::{AcIdentifier, App, Hash, ImageManifest, MountPoint};

    fn image(points: &[(&str, &str)]) -> MergedImage {
        let mut manifest = ImageManifest::new(AcIdentifier::parse("example.com/a").unwrap());
        let mut app = App::new(vec!["/x".into()]);
        app.mount_points = points
            .iter()
            .map(|(n, p)| MountPoint::new(AcName::parse(n).unwrap(), *p))
            .collect();
        manifest.app = Some(app);
        MergedImage {
            id: Hash::from_sha512(&[1; 64]),
            manifest,
        }
    }

    #[test]
    fn mount_points_without_volume_get_an_empty_one() {
        let request = PodRequest {
            apps: vec![AppRequest::default()],
            volumes: vec![Volume::parse("data,kind=host,source=/srv").unwrap()],
            ..PodRequest::default()
        };
        let pod = generate(&request, &[image(&[("data", "/d"), ("tmp", "/t")])]).unwrap();
        let names: Vec<_> = pod.volumes.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names, ["data", "a-tmp"]);
        assert_eq!(pod.apps[0].mounts[0].path, "/t");
        assert_eq!(PodManifest::parse(&pod.to_json()).unwrap(), pod);
    }

    #[test]
    fn names_collide_and_mounts_need_volumes() {
        let two = PodRequest {
            apps: vec![AppRequest::default(), AppRequest::default()],
            ..PodRequest::default()
        };
        let error = generate(&two, &[image(&[]), image(&[])]).unwrap_err();
        assert!(error.to_string().contains("--name"));
        let mount = PodRequest {
            apps: vec![AppRequest::default()],
            mounts: vec![Mount::parse("volume=x,target=/y").unwrap()],
            ..PodRequest::default()
        };
        assert!(
            generate(&mount, &[image(&[])])
                .unwrap_err()
                .to_string()
                .contains("--volume")
        );
    }
}

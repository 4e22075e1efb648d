//! One app of a pod: its image and what the command line says about it.

use std::collections::BTreeMap;

use appc::{
    AcIdentifier, AcName, Annotation, App, EnvironmentVariable, Hash, ImageManifest, Mount,
    RuntimeApp, RuntimeImage,
};

use stage1_abi::annotation;

use super::env::PodEnv;
use super::isolators::IsolatorFlags;
use crate::failure::{Doing, Failure};

/// What the command line says about one image.
#[derive(Debug, Default)]
pub(crate) struct AppRequest {
    /// The image, as it was named.
    pub(crate) image: String,
    /// The file with the image's signature, when it is not beside the image.
    pub(crate) signature: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) exec: Option<String>,
    /// The words between `--` and `---`.
    pub(crate) args: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) supplementary_gids: Option<Vec<u32>>,
    pub(crate) working_dir: Option<String>,
    pub(crate) readonly_rootfs: bool,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) environment: Vec<EnvironmentVariable>,
    pub(crate) annotations: Vec<Annotation>,
    pub(crate) user_annotations: BTreeMap<String, String>,
    pub(crate) user_labels: BTreeMap<String, String>,
    pub(crate) isolators: IsolatorFlags,
}

/// An image that was found.
#[derive(Debug)]
pub(crate) struct MergedImage {
    pub(crate) id: Hash,
    pub(crate) manifest: ImageManifest,
}

impl AppRequest {
    /// The app as the pod manifest has it. `mounts` are those given for all apps.
    pub(crate) fn merge(
        &self,
        image: &MergedImage,
        env: &PodEnv,
        mounts: &[Mount],
    ) -> Result<RuntimeApp, Failure> {
        let manifest = &image.manifest;
        let mut app = match (&manifest.app, &self.exec) {
            (Some(app), _) => app.clone(),
            (None, Some(_)) => App::new(Vec::new()),
            (None, None) => {
                return Err(Failure::new(format!(
                    "no exec specified: image {:?} has no 'app' section and --exec was not given",
                    manifest.name.as_str()
                )));
            }
        };
        self.override_app(&mut app)?;
        if app.exec.is_empty() {
            return Err(Failure::new(format!(
                "image {:?} has an empty \"exec\" and neither --exec nor arguments were given",
                manifest.name.as_str()
            )));
        }
        env.merge(&mut app.environment, &self.environment);
        app.validate()
            .doing_with(|| format!("invalid app made of image {:?}", manifest.name.as_str()))?;
        let mut runtime = RuntimeApp::new(
            self.app_name(manifest)?,
            RuntimeImage::new(image.id.clone()),
        );
        runtime.image.name = Some(manifest.name.clone());
        runtime.image.labels = manifest.labels.clone();
        runtime.app = Some(app);
        inherit_annotations(&mut runtime, manifest);
        runtime.read_only_rootfs = self.readonly_rootfs;
        runtime.mounts = merge_mounts(mounts, &self.mounts);
        for annotation in &self.annotations {
            runtime
                .annotations
                .set(annotation.name.clone(), annotation.value.clone());
        }
        Ok(runtime)
    }

    /// `--exec` takes the place of the image's program and arguments; other arguments follow it.
    fn override_app(&self, app: &mut App) -> Result<(), Failure> {
        if let Some(exec) = &self.exec {
            app.exec = vec![exec.clone()];
        }
        app.exec.extend(self.args.iter().cloned());
        if let Some(user) = &self.user {
            app.user.clone_from(user);
        }
        if let Some(group) = &self.group {
            app.group.clone_from(group);
        }
        if let Some(gids) = &self.supplementary_gids {
            app.supplementary_gids.clone_from(gids);
        }
        if let Some(dir) = &self.working_dir {
            app.working_directory = Some(dir.clone());
        }
        app.user_annotations.extend(self.user_annotations.clone());
        app.user_labels.extend(self.user_labels.clone());
        self.isolators.apply(&mut app.isolators)
    }

    /// `--name`, or the last part of the image's name.
    fn app_name(&self, manifest: &ImageManifest) -> Result<AcName, Failure> {
        match &self.name {
            Some(name) => AcName::parse(name).doing("invalid value for --name"),
            None => AcName::sanitize(manifest.name.base_name()).doing_with(|| {
                format!(
                    "image {:?} has no usable app name, give one with --name",
                    manifest.name.as_str()
                )
            }),
        }
    }
}

/// What stage1 must know of the image's annotations; the pod manifest's own word counts.
pub(super) fn inherit_annotations(runtime: &mut RuntimeApp, image: &ImageManifest) {
    let name = annotation::SUPPORTS_NOTIFY;
    if let (Some(value), None) = (image.annotations.get(name), runtime.annotations.get(name))
        && let Ok(name) = AcIdentifier::parse(name)
    {
        runtime.annotations.set(name, value.to_owned());
    }
}

/// The mounts of all apps, then the app's own: of two at the same path the app's wins.
fn merge_mounts(all: &[Mount], own: &[Mount]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in all.iter().chain(own) {
        match mounts.iter_mut().find(|m| m.path == mount.path) {
            Some(earlier) => *earlier = mount.clone(),
            None => mounts.push(mount.clone()),
        }
    }
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(app: Option<App>) -> MergedImage {
        let name = appc::AcIdentifier::parse("example.com/reduce-worker").unwrap();
        let mut manifest = ImageManifest::new(name);
        manifest.app = app;
        MergedImage {
            id: Hash::from_sha512(&[1; 64]),
            manifest,
        }
    }

    fn merge(request: &AppRequest, image: &MergedImage) -> Result<RuntimeApp, Failure> {
        request.merge(image, &PodEnv::default(), &[])
    }

    #[test]
    fn arguments_follow_the_images_or_the_given_program() {
        let image = image(Some(App::new(vec!["/bin/worker".into(), "-a".into()])));
        let mut request = AppRequest {
            args: vec!["-v".into()],
            ..AppRequest::default()
        };
        let app = merge(&request, &image).unwrap();
        assert_eq!(app.app.unwrap().exec, ["/bin/worker", "-a", "-v"]);
        assert_eq!(app.name, "reduce-worker");
        request.exec = Some("/bin/ov".into());
        let app = merge(&request, &image).unwrap();
        assert_eq!(app.app.unwrap().exec, ["/bin/ov", "-v"]);
    }

    #[test]
    fn an_image_without_app_needs_exec() {
        let none = image(None);
        let error = merge(&AppRequest::default(), &none).unwrap_err();
        assert!(error.to_string().starts_with("no exec specified"));
        let request = AppRequest {
            exec: Some("/x".into()),
            ..AppRequest::default()
        };
        assert_eq!(merge(&request, &none).unwrap().app.unwrap().user, "0");
    }

    #[test]
    fn an_apps_mount_overrides_the_pods() {
        let mount = |v, p| Mount::new(AcName::parse(v).unwrap(), p);
        let merged = merge_mounts(&[mount("a", "/x"), mount("b", "/y")], &[mount("c", "/x")]);
        assert_eq!(merged, [mount("c", "/x"), mount("b", "/y")]);
    }
}

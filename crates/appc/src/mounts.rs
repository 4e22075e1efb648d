//! Mount points of an image and mounts of a pod (specification, aci.md and pods.md).

use serde::{Deserialize, Serialize};

use crate::check::{At, Check, absolute_path, path_rule};
use crate::json::{Extra, is_false, nullable};
use crate::parameters::Parameters;
use crate::{AcName, Error, Volume};

/// A place where an app expects outside data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// The name that the executor looks a volume up by.
    pub name: AcName,
    /// The absolute path in the app's root.
    pub path: String,
    /// Whether it is mounted read-only.
    #[serde(
        rename = "readOnly",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_false"
    )]
    pub read_only: bool,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A volume of the pod at a path of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The volume's name.
    pub volume: AcName,
    /// The absolute path in the app's root.
    pub path: String,
    /// A volume of this app alone; it stands for the pod's volume of that name.
    #[serde(rename = "appVolume", default, skip_serializing_if = "Option::is_none")]
    pub app_volume: Option<Volume>,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

impl MountPoint {
    /// A mount point that may be written to.
    pub fn new(name: AcName, path: impl Into<String>) -> Self {
        MountPoint {
            name,
            path: path.into(),
            read_only: false,
            extra: Extra::new(),
        }
    }
}

impl Mount {
    /// A mount of a pod's volume.
    pub fn new(volume: AcName, path: impl Into<String>) -> Self {
        Mount {
            volume,
            path: path.into(),
            app_volume: None,
            extra: Extra::new(),
        }
    }

    /// Reads the command line's form, `volume=NAME,target=PATH`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut list = Parameters::split("mount", text, None)?;
        let mount = Mount::new(
            AcName::parse(list.required("volume")?)?,
            list.required("target")?,
        );
        path_rule(&mount.path).map_err(|reason| list.fail(format!("target {reason}")))?;
        list.finish()?;
        Ok(mount)
    }

    /// Reads the form of `rkt app add --mnt-volume`, a volume of this app alone and its target:
    /// `name=NAME,kind=host,source=/p,target=/q[,readOnly=b]…`.
    pub fn parse_with_volume(text: &str) -> Result<Self, Error> {
        let mut list = Parameters::split("mounted volume", text, None)?;
        let volume = Volume::take(&mut list)?;
        let mut mount = Mount::new(volume.name.clone(), list.required("target")?);
        path_rule(&mount.path).map_err(|reason| list.fail(format!("target {reason}")))?;
        list.finish()?;
        mount.app_volume = Some(volume);
        Ok(mount)
    }
}

impl Check for MountPoint {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        absolute_path(&self.path, &at.field("path"))
    }
}

impl Check for Mount {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        absolute_path(&self.path, &at.field("path"))?;
        match &self.app_volume {
            Some(volume) => volume.check(&at.field("appVolume")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_of_one_app() {
        let m =
            Mount::parse_with_volume("name=a,kind=host,source=/s,target=/t,readOnly=1").unwrap();
        assert_eq!((m.volume.as_str(), m.path.as_str()), ("a", "/t"));
        assert_eq!(m.app_volume.unwrap().read_only, Some(true));
        assert!(Mount::parse_with_volume("name=a,kind=empty").is_err());
    }

    #[test]
    fn command_line_form() {
        let m = Mount::parse("volume=data,target=/var/lib").unwrap();
        assert_eq!((m.volume.as_str(), m.path.as_str()), ("data", "/var/lib"));
        for bad in [
            "",
            "volume=data",
            "target=/x",
            "volume=data,target=x",
            "volume=A,target=/x",
            "volume=a,target=/x,y=z",
        ] {
            assert!(Mount::parse(bad).is_err(), "{bad:?}");
        }
    }
}

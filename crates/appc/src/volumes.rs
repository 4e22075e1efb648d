//! Volumes of a pod (specification, pods.md, "volumes").

use serde::{Deserialize, Serialize};

use crate::check::{At, Check, path_rule};
use crate::json::{Extra, is_false, nullable};
use crate::parameters::Parameters;
use crate::{AcName, Error, MountPoint};

/// What fills a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeKind {
    /// A directory that lives as long as the pod.
    Empty,
    /// A path of the host.
    Host,
}

/// A volume that a pod offers to its apps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The name that mounts refer to.
    pub name: AcName,
    /// What fills it.
    pub kind: VolumeKind,
    /// The absolute path on the host; only and always for [`VolumeKind::Host`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether it is mounted read-only; the image's mount point decides when absent.
    #[serde(rename = "readOnly", default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Whether mounts below `source` come along; the flavor decides when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
    /// Whether a pod with a user namespace sees the files of a host volume as if its own ids owned
    /// them: what belongs to the host's root belongs to the pod's. Not in the specification.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_false"
    )]
    pub idmap: bool,
    /// Octal access mode of an empty volume; see [`Volume::mode_bits`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Owner of an empty volume, 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group of an empty volume, 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Volume {
    /// An empty volume with mode 0755 that belongs to root.
    pub fn empty(name: AcName) -> Self {
        Volume {
            name,
            kind: VolumeKind::Empty,
            source: None,
            read_only: None,
            recursive: None,
            idmap: false,
            mode: Some("0755".to_owned()),
            uid: Some(0),
            gid: Some(0),
            extra: Extra::new(),
        }
    }

    /// Whether it is mounted read-only where an image has this mount point, if it has one: what is
    /// said of the volume goes before what the image says of the place (CHANGELOG, v0.5.1).
    pub fn is_read_only(&self, point: Option<&MountPoint>) -> bool {
        let point = || point.is_some_and(|point| point.read_only);
        self.read_only.unwrap_or_else(point)
    }

    /// A volume from an absolute path of the host; the path is checked with the manifest.
    pub fn host(name: AcName, source: impl Into<String>) -> Self {
        Volume {
            kind: VolumeKind::Host,
            source: Some(source.into()),
            mode: None,
            uid: None,
            gid: None,
            ..Volume::empty(name)
        }
    }

    /// Reads the command line's form: `NAME,kind=host,source=/p[,readOnly=b][,recursive=b][,idmap=b]` or
    /// `NAME,kind=empty[,mode=0755][,uid=0][,gid=0][,readOnly=b]`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut list = Parameters::split("volume", text, Some("name"))?;
        let volume = Volume::take(&mut list)?;
        list.finish()?;
        Ok(volume)
    }

    /// Takes the parameters of a volume out of a list.
    pub(crate) fn take(list: &mut Parameters<'_>) -> Result<Self, Error> {
        let name = AcName::parse(list.required("name")?)?;
        let mut volume = match list.required("kind")? {
            "empty" => Volume::empty(name),
            "host" => Volume {
                source: None,
                ..Volume::host(name, "")
            },
            other => return Err(list.fail(format!("kind must be empty or host, not {other:?}"))),
        };
        volume.source = list.take("source").map(str::to_owned);
        volume.read_only = list.boolean("readOnly")?;
        volume.recursive = list.boolean("recursive")?;
        volume.idmap = list.boolean("idmap")?.unwrap_or(false);
        volume.mode = list.take("mode").map(str::to_owned).or(volume.mode);
        volume.uid = list.number("uid")?.or(volume.uid);
        volume.gid = list.number("gid")?.or(volume.gid);
        volume
            .rule()
            .map_err(|(field, reason)| list.fail(format!("{field} {reason}")))?;
        Ok(volume)
    }

    /// The access mode of an empty volume: 0755 when none is given.
    pub fn mode_bits(&self) -> u32 {
        self.mode.as_deref().and_then(octal).unwrap_or(0o755)
    }

    /// The broken rule and the field it is about.
    fn rule(&self) -> Result<(), (&'static str, &'static str)> {
        let empty_only = [
            ("mode", self.mode.is_some()),
            ("uid", self.uid.is_some()),
            ("gid", self.gid.is_some()),
        ];
        match (self.kind, &self.source) {
            (VolumeKind::Empty, Some(source)) if !source.is_empty() => {
                return Err(("source", "is not allowed for an empty volume"));
            }
            (VolumeKind::Empty, _) if self.idmap => {
                return Err(("idmap", "is only allowed for a host volume"));
            }
            (VolumeKind::Empty, _) => {}
            (VolumeKind::Host, None) => return Err(("source", "is required for a host volume")),
            (VolumeKind::Host, Some(source)) => {
                path_rule(source).map_err(|reason| ("source", reason))?;
                if let Some((field, _)) = empty_only.iter().find(|(_, given)| *given) {
                    return Err((field, "is only allowed for an empty volume"));
                }
            }
        }
        match &self.mode {
            Some(mode) if octal(mode).is_none() => Err(("mode", "must be octal, at most 7777")),
            _ => Ok(()),
        }
    }
}

fn octal(mode: &str) -> Option<u32> {
    let plain = mode.bytes().all(|b| b.is_ascii_digit());
    u32::from_str_radix(mode, 8)
        .ok()
        .filter(|bits| plain && *bits <= 0o7777)
}

impl Check for Volume {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        self.rule()
            .map_err(|(field, reason)| at.field(field).fail(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_forms() {
        let v =
            Volume::parse("data,kind=host,source=/srv/a=b,readOnly=true,recursive=false").unwrap();
        assert_eq!(v.source.as_deref(), Some("/srv/a=b"));
        assert_eq!((v.read_only, v.recursive), (Some(true), Some(false)));
        let v = Volume::parse("tmp,kind=empty,mode=1777,uid=7").unwrap();
        assert_eq!((v.mode_bits(), v.uid, v.gid), (0o1777, Some(7), Some(0)));
        assert_eq!(
            serde_json::to_string(&v).unwrap(),
            r#"{"name":"tmp","kind":"empty","mode":"1777","uid":7,"gid":0}"#
        );
        assert!(Volume::parse("name=x,kind=empty").is_ok());
    }

    #[test]
    fn command_line_mistakes_are_named() {
        for (text, part) in [
            ("", "must not be empty"),
            ("data", "kind is missing"),
            ("data,kind=host", "source is required"),
            (
                "data,kind=host,source=rel",
                "source must be an absolute path",
            ),
            ("data,kind=empty,source=/x", "source is not allowed"),
            ("data,kind=disk", "kind must be empty or host"),
            ("data,kind=empty,mode=9", "mode must be octal"),
            ("data,kind=empty,mode=17777", "mode must be octal"),
            ("data,kind=host,source=/x,uid=1", "uid is only allowed"),
            ("data,kind=empty,uid=-1", "uid must be a number"),
            (
                "data,kind=host,source=/x,readOnly=yes",
                "readOnly must be true or false",
            ),
            ("data,kind=empty,kind=empty", "kind is given more than once"),
            ("data,kind=empty,size=1G", "unknown parameter \"size\""),
            ("data,kind=empty,oops", "\"oops\" is not KEY=VALUE"),
        ] {
            let message = Volume::parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }
}

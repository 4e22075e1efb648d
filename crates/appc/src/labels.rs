//! Image labels (specification, aci.md, "labels").

use serde::{Deserialize, Serialize};

use crate::check::{At, Check, no_nul, unique};
use crate::json::{Extra, list_type, nullable};
use crate::{AcIdentifier, Error};

/// One label of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The key; `name` is not allowed.
    pub name: AcIdentifier,
    /// Any text, empty when absent.
    #[serde(default, deserialize_with = "nullable")]
    pub value: String,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Label {
    /// A label.
    pub fn new(name: AcIdentifier, value: impl Into<String>) -> Self {
        Label {
            name,
            value: value.into(),
            extra: Extra::new(),
        }
    }
}

/// The labels of an image: keys are unique, and `os` with `arch` is a known combination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(pub Vec<Label>);

list_type!(Labels, Label);

/// The operating systems and the architectures known on each (aci.md, "os, arch").
pub const VALID_OS_ARCH: &[(&str, &[&str])] = &[
    ("darwin", &["x86_64", "i386"]),
    ("freebsd", &["amd64", "i386", "arm"]),
    (
        "linux",
        &[
            "amd64",
            "i386",
            "aarch64",
            "aarch64_be",
            "armv6l",
            "armv7l",
            "armv7b",
            "ppc64",
            "ppc64le",
            "s390x",
        ],
    ),
];

/// The `os` and `arch` labels of the machine this was compiled for, in the specification's words;
/// the compiler's own word for an architecture that the specification does not know.
pub fn host_os_arch() -> (&'static str, &'static str) {
    let little = cfg!(target_endian = "little");
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" if os == "darwin" => "x86_64",
        "x86_64" => "amd64",
        "x86" => "i386",
        "aarch64" if little => "aarch64",
        "aarch64" => "aarch64_be",
        "arm" if os == "freebsd" => "arm",
        "arm" if little => "armv7l",
        "arm" => "armv7b",
        "powerpc64" if little => "ppc64le",
        "powerpc64" => "ppc64",
        other => other,
    };
    (os, arch)
}

impl Labels {
    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|l| l.name == name)
            .map(|l| l.value.as_str())
    }

    /// Sets a label: replaced where it stands, or added at the end.
    pub fn set(&mut self, name: AcIdentifier, value: impl Into<String>) {
        match self.0.iter_mut().find(|l| l.name == name) {
            Some(label) => label.value = value.into(),
            None => self.0.push(Label::new(name, value)),
        }
    }

    /// Whether an image with the labels `image` satisfies these, as a dependency's labels must
    /// be: every one of these is there with the same value (aci.md, "Dependency Matching").
    pub fn satisfied_by(&self, image: &Labels) -> bool {
        self.iter()
            .all(|wanted| image.get(&wanted.name) == Some(&wanted.value))
    }

    /// Checks the labels by themselves, as when they came from a command line.
    pub fn validate(&self) -> Result<(), Error> {
        self.check(&At::root().field("labels"))
    }

    fn check_os_arch(&self, at: &At<'_>) -> Result<(), Error> {
        let Some(os) = self.get("os") else {
            return Ok(());
        };
        let Some((_, arches)) = VALID_OS_ARCH.iter().find(|(name, _)| *name == os) else {
            let known: Vec<_> = VALID_OS_ARCH.iter().map(|(name, _)| *name).collect();
            return Err(at.fail(format!(
                "unknown os {os:?}, must be one of {}",
                known.join(", ")
            )));
        };
        match self.get("arch") {
            Some(arch) if !arches.contains(&arch) => Err(at.fail(format!(
                "unknown arch {arch:?} for os {os}, must be one of {}",
                arches.join(", ")
            ))),
            _ => Ok(()),
        }
    }
}

impl Check for Labels {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        unique(&self.0, at, |l| &l.name)?;
        for (i, label) in self.iter().enumerate() {
            let at = at.index(i);
            if label.name == "name" {
                return Err(at
                    .field("name")
                    .fail("\"name\" is the image's own name, not a label"));
            }
            no_nul(&label.value, &at.field("value"))?;
        }
        self.check_os_arch(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(n, v)| Label::new(AcIdentifier::parse(n).unwrap(), *v))
            .collect()
    }

    #[test]
    fn os_and_arch_are_a_known_pair() {
        for good in [
            &[("os", "linux"), ("arch", "ppc64le")][..],
            &[("os", "darwin")],
            &[("arch", "vax")],
            &[],
        ] {
            labels(good).validate().unwrap();
        }
        let fail = |pairs: &[(&str, &str)]| labels(pairs).validate().unwrap_err().to_string();
        assert!(fail(&[("os", "plan9")]).starts_with("labels: unknown os \"plan9\""));
        assert!(fail(&[("os", "linux"), ("arch", "x86_64")]).contains("one of amd64, "));
        assert_eq!(
            fail(&[("a", "1"), ("a", "2")]),
            "labels[1]: a appears more than once"
        );
        assert!(fail(&[("name", "x")]).starts_with("labels[0].name: "));
        let (os, arch) = host_os_arch();
        labels(&[("os", os), ("arch", arch)]).validate().unwrap();
    }

    #[test]
    fn dependencies_match_as_the_specification_says() {
        let image = labels(&[("version", "1"), ("os", "linux")]);
        assert!(labels(&[]).satisfied_by(&image));
        assert!(labels(&[("os", "linux")]).satisfied_by(&image));
        assert!(!labels(&[("os", "darwin")]).satisfied_by(&image));
        assert!(!labels(&[("env", "canary")]).satisfied_by(&image));
    }
}

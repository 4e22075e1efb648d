//! Which SELinux contexts a pod gets (page "rkt and SELinux"). Where the kernel has no SELinux that is
//! found out by one look, and nothing else happens.

use std::path::Path;

use appc::{App, IsolatorValue, Isolators, PodManifest, SelinuxContext};
use pod::{Dir, Pods};
use rustix::rand::{GetRandomFlags, getrandom};
use sandbox::label::selinux::{self, FilesIn};
use stage1_abi::{Labels, path};

use crate::failure::{Doing, Failure};
use crate::podfiles::FILE;

/// Where policies are, and which one is the host's.
const POLICIES: &str = "/etc/selinux";
/// The policy where `/etc/selinux/config` names none, as libselinux has it.
const USUAL: &str = "targeted";
/// Names the contexts of containers, below a policy's directory.
const CONTEXTS: &str = "contexts/lxc_contexts";

/// Chooses the contexts of a pod, or takes the one that its manifest asks for, and names them in its
/// directory. `None` where the host has no SELinux, or its policy no contexts for containers.
pub(crate) fn reserve(
    pods: &Pods,
    pod: &Dir,
    manifest: &PodManifest,
) -> Result<Option<Labels>, Failure> {
    let Some(levels) = selinux::has_levels() else {
        return Ok(None);
    };
    let Some(base) = of_policy(Path::new(POLICIES))? else {
        return Ok(None);
    };
    let problem = "cannot choose a SELinux context";
    let note = |labels: Labels| {
        let text = labels.to_string();
        pod.write_whole(path::SELINUX_PREPARED, text.as_bytes(), FILE)?;
        Ok(labels)
    };
    let labels = match wished(&manifest.isolators) {
        Some(wish) => note(Labels {
            process: wish.to_string(),
            file: base.file_at(&wish.level),
        }),
        None if levels => {
            let mut random = [0u8; 4];
            getrandom(&mut random, GetRandomFlags::empty()).doing(problem)?;
            pods.reserve_level(pod, u32::from_ne_bytes(random), |level| {
                note(Labels {
                    process: with_level(&base.process, level),
                    file: with_level(&base.file, level),
                })
            })
        }
        None => note(base),
    };
    let labels = labels.doing(problem)?;
    for context in [&labels.process, &labels.file] {
        let known = selinux::is_known(context);
        if !known.doing_with(|| format!("cannot check the SELinux context {context:?}"))? {
            return Err(Failure::new(format!(
                "the loaded SELinux policy does not have the context {context:?}, to which the pod's manifest or {} leads",
                Path::new(POLICIES).join("*").join(CONTEXTS).display()
            )));
        }
    }
    Ok(Some(labels))
}

/// The contexts of a pod that was prepared before. One that was prepared without SELinux gets some
/// now, one that was prepared with it does without where the kernel has none any more.
pub(crate) fn of_prepared(
    pods: &Pods,
    pod: &Dir,
    manifest: &PodManifest,
) -> Result<Option<Labels>, Failure> {
    if selinux::has_levels().is_none() {
        return Ok(None);
    }
    match of(pod)? {
        None => reserve(pods, pod, manifest),
        labels => Ok(labels),
    }
}

/// The contexts of a pod that runs.
pub(crate) fn of(pod: &Dir) -> Result<Option<Labels>, Failure> {
    let problem = || format!("cannot read {}", path::SELINUX_PREPARED);
    match pod.read_text(path::SELINUX_PREPARED).doing_with(problem)? {
        None => Ok(None),
        // Without them the pod would not be confined.
        Some(text) => match text.parse() {
            Ok(labels) => Ok(Some(labels)),
            Err(()) => Err(Failure::new(format!("{}: {text:?} is none", problem()))),
        },
    }
}

/// The context of the root file system of an app: the pod's, at the level that the app asks for.
pub(crate) fn of_root(labels: Option<&Labels>, app: Option<&App>) -> Option<String> {
    let labels = labels?;
    let wish = app.and_then(|app| wished(&app.isolators));
    Some(wish.map_or_else(|| labels.file.clone(), |wish| labels.file_at(&wish.level)))
}

/// The context that isolators ask for (`os/linux/selinux-context`).
fn wished(isolators: &Isolators) -> Option<SelinuxContext> {
    isolators.0.iter().find_map(|i| match i.decode() {
        Ok(IsolatorValue::SelinuxContext(context)) => Some(context),
        _ => None,
    })
}

/// While what this returns is there, files that are made are in a context, if there is one.
pub(crate) fn files_in(context: Option<&str>) -> Result<Option<FilesIn>, Failure> {
    let files = context.map(|context| {
        FilesIn::new(context)
            .doing_with(|| format!("cannot make files in the SELinux context {context:?}"))
    });
    files.transpose()
}

/// What the host's policy has for containers.
fn of_policy(policies: &Path) -> Result<Option<Labels>, Failure> {
    let read = |file: &Path| match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => text
            .map(Some)
            .doing_with(|| format!("cannot read {}", file.display())),
    };
    let config = read(&policies.join("config"))?.unwrap_or_default();
    let policy = value(&config, "SELINUXTYPE").unwrap_or(USUAL);
    let file = policies.join(policy).join(CONTEXTS);
    let Some(text) = read(&file)? else {
        return Ok(None);
    };
    let context = |key| {
        let context = value(&text, key).filter(|context| context.split(':').count() >= 3);
        context
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(format!("{}: there is no context {key:?}", file.display())))
    };
    Ok(Some(Labels {
        process: context("process")?,
        file: context("file")?,
    }))
}

/// What a key has in a file of lines `KEY=VALUE` or `KEY = "VALUE"`.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim() == key && !value.is_empty()).then_some(value)
    })
}

/// A context with these categories. Of its own level only the lowest sensitivity is kept.
fn with_level(context: &str, categories: &str) -> String {
    let mut parts = context.splitn(4, ':');
    let [user, role, kind] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let level = parts.next().unwrap_or("s0");
    let sensitivity = level.split([':', '-']).next().unwrap_or("s0");
    format!("{user}:{role}:{kind}:{sensitivity}:{categories}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policys_contexts_are_found() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of_policy(dir.path()).unwrap(), None);
        let put = |file: &str, text: &str| {
            let file = dir.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        put(
            "config",
            "# SELINUXTYPE= one of\nSELINUX=enforcing\nSELINUXTYPE=strict\n",
        );
        assert_eq!(of_policy(dir.path()).unwrap(), None);
        let file = format!("strict/{CONTEXTS}");
        put(
            &file,
            "process = \"u:r:p:s0\"\nro_file = \"u:o:r:s0\"\nfile = \"u:o:f:s0\"\n",
        );
        let labels = of_policy(dir.path()).unwrap().unwrap();
        assert_eq!([labels.process, labels.file], ["u:r:p:s0", "u:o:f:s0"]);
        put(&file, "process = \"u:r:p:s0\"\nfile = \"nothing\"\n");
        let error = of_policy(dir.path()).unwrap_err().to_string();
        assert!(error.contains("\"file\""), "{error}");
    }

    #[test]
    fn a_level_takes_the_place_of_a_contexts_own() {
        for (context, labelled) in [
            ("u:r:t:s0", "u:r:t:s0:c1,c2"),
            ("u:r:t", "u:r:t:s0:c1,c2"),
            ("u:r:t:s3-s15:c0.c1023", "u:r:t:s3:c1,c2"),
            ("u:r:t:s0:c7", "u:r:t:s0:c1,c2"),
        ] {
            assert_eq!(with_level(context, "c1,c2"), labelled);
        }
    }
}

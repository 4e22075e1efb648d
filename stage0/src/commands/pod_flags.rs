//! Flags of `run` and `prepare` that say what is in the pod, and the position rules of those that
//! belong to single images: each follows its image.

use clap::{Arg, ArgMatches, Command};

use appc::{AcIdentifier, Annotation, EnvironmentVariable, ExposedPort, Mount, Volume};
use stage1_abi::annotation;

use super::file_systems;
use crate::cli::flags::{Values, boolean, list, switch, text, words};
use crate::cli::groups::{Groups, MARK};
use crate::failure::{Doing, Failure};
use crate::manifest::{AppRequest, IsolatorFlags, PodRequest, read_env_file};

/// Adds the flags.
pub(super) fn arguments(command: Command) -> Command {
    let command = command.args([
        list("port", "ports to expose on the host (requires contained network). Syntax: --port=NAME:[HOSTIP:]HOSTPORT"),
        switch("inherit-env", "inherit all environment variables not set by apps"),
        switch("no-overlay", "disable overlay filesystem"),
        switch("private-users", "run within user namespaces"),
        list("set-env", "environment variable to set for all the apps in the form name=value"),
        list("set-env-file", "path to an environment variables file"),
        switch("store-only", "use only available images in the store (do not discover or download from remote URLs)").hide(true),
        switch("no-store", "fetch images ignoring the local store").hide(true),
        text("pull-policy", "new", "when to pull an image"),
        text("pod-manifest", "", "the path to the pod manifest. If it's non-empty, then only '--net', '--no-overlay' and '--interactive' will have effect"),
        list("volume", "volumes to make available in the pod"),
        list("signature", "local signature file to use in validating the preceding image"),
        list(MARK, "").hide(true),
        words("image"),
    ]);
    crate::stage1::arguments(command)
        .args(file_systems::flags())
        .args(per_app())
}

/// The flags that follow an image.
pub(super) fn per_app() -> Vec<Arg> {
    vec![
        list("exec", "override the exec command for the preceding image"),
        list(
            "working-dir",
            "override the working directory of the preceding image",
        ),
        list(
            "readonly-rootfs",
            "if set, the app's rootfs will be mounted read-only",
        ),
        list(
            "mount",
            "mount point binding a volume to a path within an app",
        ),
        list(
            "user",
            "user override for the preceding image (example: '--user=user')",
        ),
        list(
            "group",
            "group override for the preceding image (example: '--group=group')",
        ),
        list(
            "supplementary-gids",
            "supplementary group IDs override for the preceding image (example: '--supplementary-gids=1024,2048')",
        ),
        list(
            "name",
            "set the name of the app (example: '--name=foo'). If not set, then the app name default to the image's name",
        ),
        list(
            "annotation",
            "set the app's annotations (example: '--annotation=foo=bar')",
        )
        .hide(true),
        list(
            "user-annotation",
            "set the app's annotations (example: '--user-annotation=foo=bar')",
        ),
        list(
            "user-label",
            "set the app's labels (example: '--user-label=foo=bar')",
        ),
        list(
            "environment",
            "set the app's environment variables (example: '--environment=foo=bar')",
        ),
        list(
            "memory",
            "memory limit for the preceding image (example: '--memory=16Mi', '--memory=50M', '--memory=1G')",
        ),
        list(
            "cpu",
            "cpu limit for the preceding image (example: '--cpu=500m')",
        ),
        list(
            "cpu-shares",
            "cpu-shares assigns the specified CPU time share weight (example: '--cpu-shares=2048')",
        ),
        list(
            "caps-retain",
            "capability to retain (example: '--caps-retain=CAP_SYS_ADMIN')",
        ),
        list(
            "caps-remove",
            "capability to remove (example: '--caps-remove=CAP_MKNOD')",
        ),
        list("cap-retain", "").hide(true),
        list("cap-remove", "").hide(true),
        list(
            "seccomp",
            "seccomp filter override (example: '--seccomp mode=retain,errno=EPERM,chmod,chown')",
        ),
        list("oom-score-adj", "oom-score-adj isolator override"),
        list(
            "stdin",
            "mode for this application stdin: \"null\", \"tty\" or \"stream\" (default \"null\")",
        ),
        list(
            "stdout",
            "mode for this application stdout: \"log\", \"null\", \"tty\" or \"stream\" (default \"log\")",
        ),
        list(
            "stderr",
            "mode for this application stderr: \"log\", \"null\", \"tty\" or \"stream\" (default \"log\")",
        ),
    ]
}

/// Flags that old scripts still give.
pub(super) const DEPRECATED: &[(&str, &str)] = &[
    ("store-only", "please use --pull-policy=never"),
    ("no-store", "please use --pull-policy=update"),
    ("cap-retain", "please use --caps-retain"),
    ("cap-remove", "please use --caps-remove"),
];

/// A flag's value and where it stands on the command line.
pub(super) type Placed<'a> = (usize, &'a str, &'a str);

/// Reads what the command line says about the pod and its apps.
pub(super) fn read(matches: &ArgMatches, groups: &Groups) -> Result<PodRequest, Failure> {
    let mut request = read_apps(matches, groups, 0)?;
    read_pod(matches, &mut request)?;
    Ok(request)
}

/// Reads what the command line says about single apps. `before` is how many words come before the
/// first image.
pub(super) fn read_apps(
    matches: &ArgMatches,
    groups: &Groups,
    before: usize,
) -> Result<PodRequest, Failure> {
    let mut images = placed(matches, "image");
    images.drain(..before.min(images.len()));
    let mut request = PodRequest::default();
    for (_, _, image) in &images {
        request.apps.push(AppRequest {
            image: (*image).to_owned(),
            ..AppRequest::default()
        });
    }
    let per_app = per_app();
    let mut flags: Vec<Placed> = per_app
        .iter()
        .flat_map(|arg| placed(matches, arg.get_id().as_str()))
        .chain(placed(matches, MARK))
        .chain(placed(matches, "signature"))
        .collect();
    flags.sort_unstable_by_key(|(at, ..)| *at);
    for (at, flag, value) in flags {
        let image = images.iter().rposition(|(image, ..)| *image < at);
        match (image, flag) {
            (None, "mount") => request
                .mounts
                .push(Mount::parse(value).doing("invalid value for --mount")?),
            (None, MARK) => return Err(Failure::new("-- must follow an image")),
            (None, _) => return Err(Failure::new(format!("--{flag} must follow an image"))),
            (Some(image), _) => apply(&mut request.apps[image], flag, value, groups)?,
        }
    }
    Ok(request)
}

/// The values of a flag with their positions.
pub(super) fn placed<'a>(matches: &'a ArgMatches, id: &'a str) -> Vec<Placed<'a>> {
    // Not every command has every flag.
    if !matches.given(id) {
        return Vec::new();
    }
    let indices = matches.indices_of(id).into_iter().flatten();
    let values = matches.get_many::<String>(id).into_iter().flatten();
    indices
        .zip(values)
        .map(|(at, v)| (at, id, v.as_str()))
        .collect()
}

fn read_pod(matches: &ArgMatches, request: &mut PodRequest) -> Result<(), Failure> {
    for volume in matches.strings("volume") {
        let volume = Volume::parse(&volume).doing("invalid value for --volume")?;
        if request.volumes.iter().any(|v| v.name == volume.name) {
            return Err(Failure::new(format!(
                "volume {:?} is given more than once",
                volume.name.as_str()
            )));
        }
        request.volumes.push(volume);
    }
    for port in matches.strings("port") {
        let port = ExposedPort::parse(&port).doing("invalid value for --port")?;
        if request.ports.iter().any(|p| p.name == port.name) {
            return Err(Failure::new(format!(
                "port {:?} is given more than once",
                port.name.as_str()
            )));
        }
        request.ports.push(port);
    }
    request.env.inherit = matches.is("inherit-env");
    for file in matches.strings("set-env-file") {
        for variable in read_env_file(&file)? {
            request.env.explicit.set(&variable.name, variable.value);
        }
    }
    let mut seen = Vec::new();
    for text in matches.strings("set-env") {
        let variable = EnvironmentVariable::parse(&text).doing("invalid value for --set-env")?;
        if seen.contains(&variable.name) {
            return Err(Failure::new(format!(
                "environment variable {:?} is already set",
                variable.name
            )));
        }
        seen.push(variable.name.clone());
        request.env.explicit.set(&variable.name, variable.value);
    }
    Ok(())
}

/// Puts one flag's value into the app it follows.
fn apply(app: &mut AppRequest, flag: &str, value: &str, groups: &Groups) -> Result<(), Failure> {
    let invalid = || format!("invalid value {value:?} for --{flag}");
    let own = value.to_owned();
    match flag {
        MARK => {
            let group = value.parse::<usize>().ok().and_then(|n| groups.get(n));
            if !app.args.is_empty() {
                return Err(Failure::new(format!(
                    "image {:?} has its arguments given twice",
                    app.image
                )));
            }
            app.args = group.ok_or_else(|| Failure::new(invalid()))?.clone();
        }
        "exec" => once(&mut app.exec, own, flag)?,
        "signature" => once(&mut app.signature, own, flag)?,
        "name" => once(&mut app.name, own, flag)?,
        "working-dir" => app.working_dir = Some(own),
        "readonly-rootfs" => {
            app.readonly_rootfs =
                boolean(value).map_err(|e| Failure::new(format!("{}: {e}", invalid())))?
        }
        "mount" => app.mounts.push(Mount::parse(value).doing_with(invalid)?),
        "user" => app.user = Some(own),
        "group" => app.group = Some(own),
        "supplementary-gids" => {
            let gids: Result<Vec<u32>, _> = value.split(',').map(|g| g.trim().parse()).collect();
            app.supplementary_gids = Some(gids.doing_with(invalid)?);
        }
        "environment" => {
            let variable = EnvironmentVariable::parse(value).doing_with(invalid)?;
            if app.environment.iter().any(|v| v.name == variable.name) {
                return Err(Failure::new(format!(
                    "environment variable {:?} is already set",
                    variable.name
                )));
            }
            app.environment.push(variable);
        }
        "annotation" => {
            let (name, value) = pair(flag, value)?;
            let name = AcIdentifier::parse(name).doing_with(invalid)?;
            app.annotations.push(Annotation::new(name, value));
        }
        "user-annotation" => {
            let (key, value) = pair(flag, value)?;
            app.user_annotations
                .insert(key.to_owned(), value.to_owned());
        }
        "user-label" => {
            let (key, value) = pair(flag, value)?;
            app.user_labels.insert(key.to_owned(), value.to_owned());
        }
        "stdin" => app
            .annotations
            .push(stream(annotation::STDIN, flag, value)?),
        "stdout" => app
            .annotations
            .push(stream(annotation::STDOUT, flag, value)?),
        "stderr" => app
            .annotations
            .push(stream(annotation::STDERR, flag, value)?),
        _ => isolator(&mut app.isolators, flag, own)?,
    }
    Ok(())
}

/// The mode of a stream, as the annotation that tells stage1 (page "rkt run", "Per-application
/// options").
fn stream(name: &str, flag: &str, mode: &str) -> Result<Annotation, Failure> {
    let known: &[&str] = match flag {
        "stdin" => &["null", "tty", "stream"],
        _ => &["log", "null", "tty", "stream"],
    };
    if !known.contains(&mode) {
        return Err(Failure::new(format!(
            "invalid value {mode:?} for --{flag}: must be one of {}",
            known.join(", ")
        )));
    }
    let name = AcIdentifier::parse(name).doing("invalid annotation")?;
    Ok(Annotation::new(name, mode))
}

/// The flags that make isolators; they are read when the image's own are known.
fn isolator(flags: &mut IsolatorFlags, flag: &str, value: String) -> Result<(), Failure> {
    match flag {
        "memory" => flags.memory = Some(value),
        "cpu" => flags.cpu = Some(value),
        "cpu-shares" => flags.cpu_shares = Some(value),
        "oom-score-adj" => flags.oom_score_adj = Some(value),
        "caps-retain" | "cap-retain" => add(&mut flags.caps_retain, &value),
        "caps-remove" | "cap-remove" => add(&mut flags.caps_remove, &value),
        "seccomp" => flags.seccomp = Some(value),
        _ => return Err(Failure::new(format!("--{flag} is not handled"))),
    }
    Ok(())
}

fn once(place: &mut Option<String>, value: String, flag: &str) -> Result<(), Failure> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Failure::new(format!(
            "--{flag} can only be given once for an image"
        ))),
    }
}

/// A comma-separated list that may be given in several parts.
fn add(list: &mut Option<String>, value: &str) {
    *list = Some(match list.take() {
        Some(earlier) => format!("{earlier},{value}"),
        None => value.to_owned(),
    });
}

pub(super) fn pair<'a>(flag: &str, text: &'a str) -> Result<(&'a str, &'a str), Failure> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| {
            Failure::new(format!(
                "invalid value {text:?} for --{flag}: must be NAME=VALUE"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<PodRequest, Failure> {
        let args = line.split_whitespace().map(Into::into).collect();
        let (args, groups) = crate::cli::groups::split(args).unwrap();
        let matches = crate::cli::root(|_| true)
            .try_get_matches_from(args)
            .unwrap();
        let (_, run) = matches.subcommand().unwrap();
        read(run, &groups)
    }

    #[test]
    fn flags_belong_to_the_image_before_them() {
        let pod = parse("rkt run --mount volume=v,target=/all a --name=x --exec /b -- -c d --- e --name y --readonly-rootfs=true").unwrap();
        let [a, e] = pod.apps.as_slice() else {
            panic!("{pod:?}")
        };
        assert_eq!(
            (a.image.as_str(), a.name.as_deref(), a.exec.as_deref()),
            ("a", Some("x"), Some("/b"))
        );
        assert_eq!(a.args, ["-c", "d"]);
        assert_eq!(
            (e.image.as_str(), e.name.as_deref(), e.readonly_rootfs),
            ("e", Some("y"), true)
        );
        assert_eq!(pod.mounts.len(), 1);
        assert!(e.args.is_empty() && a.mounts.is_empty());
    }

    #[test]
    fn position_mistakes_are_named() {
        let message = |line| parse(line).unwrap_err().to_string();
        assert_eq!(
            message("rkt run --exec=/x a"),
            "--exec must follow an image"
        );
        assert_eq!(
            message("rkt run a --exec=/x --exec=/y"),
            "--exec can only be given once for an image"
        );
        assert_eq!(
            message("rkt run a --environment=x"),
            "invalid value \"x\" for --environment"
        );
        assert_eq!(message("rkt prepare -- a"), "-- must follow an image");
    }
}

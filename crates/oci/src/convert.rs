//! An image configuration as an App Container image manifest: with the names that the original's
//! converter (docker2aci) gave to ports, mount points and annotations.

use appc::{AcIdentifier, AcName, App, ImageManifest, MountPoint, Port};

use crate::{Config, Digest, Execution, Result};

const PREFIX: &str = "appc.io/docker";

/// Where an image comes from, as its manifest tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The image's name.
    pub name: AcIdentifier,
    /// Its `version` label.
    pub tag: Option<String>,
    /// The registry, with the repository in it.
    pub repository: Option<(String, String)>,
    /// What a person typed.
    pub original: String,
}

/// The manifest of the image as App Container has it; `digest` is that of its own manifest.
///
/// # Errors
/// A port is no number, or the manifest would break another rule of App Container.
pub fn to_appc(
    config: &Config,
    config_digest: &Digest,
    digest: &Digest,
    origin: &Origin,
) -> Result<ImageManifest> {
    let mut manifest = ImageManifest::new(origin.name.clone());
    name(&mut manifest, origin)?;
    let labels = [
        ("os", config.os.as_str()),
        ("arch", arch(&config.architecture, &config.variant)),
    ];
    for (name, value) in labels {
        if !value.is_empty() {
            manifest.labels.set(AcIdentifier::parse(name)?, value);
        }
    }
    let run = &config.config;
    annotate(&mut manifest, "author", &config.author)?;
    if appc::Date::parse(&config.created).is_ok() {
        annotate(&mut manifest, "created", &config.created)?;
    }
    let mut docker =
        |name: &str, value: &str| annotate(&mut manifest, &format!("{PREFIX}/{name}"), value);
    docker("imageid", config_digest.as_str())?;
    docker("manifesthash", digest.as_str())?;
    docker("entrypoint", &as_list(&run.entrypoint))?;
    docker("cmd", &as_list(&run.cmd))?;
    docker("stopsignal", &run.stop_signal)?;
    manifest.app = Some(app(run)?);
    manifest.validate()?;
    Ok(manifest)
}

/// Names an image's manifest after where it comes from. What an earlier name said goes.
///
/// # Errors
/// Never: the names of the annotations are valid.
pub fn name(manifest: &mut ImageManifest, origin: &Origin) -> Result<()> {
    manifest.name = origin.name.clone();
    let registry = origin.repository.as_ref().map(|(registry, _)| registry);
    let repository = origin.repository.as_ref().map(|(_, name)| name);
    let tag = origin.tag.as_ref();
    match tag.filter(|tag| !tag.is_empty()) {
        Some(tag) => manifest.labels.set(AcIdentifier::parse("version")?, tag),
        None => manifest.labels.0.retain(|label| label.name != "version"),
    }
    for (name, value) in [
        ("originalname", Some(&origin.original)),
        ("registryurl", registry),
        ("repository", repository),
        ("tag", registry.and(tag)),
    ] {
        let name = format!("{PREFIX}/{name}");
        manifest.annotations.0.retain(|known| known.name != *name);
        annotate(manifest, &name, value.map_or("", String::as_str))?;
    }
    Ok(())
}

/// Most annotations are only of interest to people; a NUL would spoil the whole.
fn annotate(manifest: &mut ImageManifest, name: &str, value: &str) -> Result<()> {
    if !value.is_empty() && !value.contains('\0') {
        manifest.annotations.set(AcIdentifier::parse(name)?, value);
    }
    Ok(())
}

fn app(run: &Execution) -> Result<App> {
    let exec = run.entrypoint.iter().chain(&run.cmd).cloned();
    let mut app = App::new(exec.collect());
    (app.user, app.group) = user_and_group(&run.user);
    for variable in &run.env {
        if let Some((name, value)) = variable.split_once('=') {
            app.environment.set(name, value);
        }
    }
    app.working_directory = match run.working_dir.as_str() {
        "" => None,
        dir if dir.starts_with('/') => Some(dir.to_owned()),
        dir => Some(format!("/{dir}")),
    };
    app.user_labels = run.labels.clone();
    app.mount_points = mount_points(&run.volumes)?;
    app.ports = ports(&run.exposed_ports)?;
    Ok(app)
}

/// A user alone stands for the group of the same name or number too.
fn user_and_group(user: &str) -> (String, String) {
    let word = |text: &str| match text {
        "" => "0".to_owned(),
        text => text.to_owned(),
    };
    match user.split_once(':') {
        Some((user, group)) => (word(user), word(group)),
        None => (word(user), word(user)),
    }
}

fn ports(exposed: &[String]) -> Result<Vec<Port>> {
    let mut ports = Vec::new();
    for text in exposed {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let bad = || crate::Error::Unusable {
            what: "configuration",
            reason: format!("exposes {text:?}, which is not PORT/PROTOCOL"),
        };
        // A range is a port with a count in App Container.
        let (first, last) = number.split_once('-').unwrap_or((number, number));
        let (first, last): (u16, u16) = match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => (first, last),
            _ => return Err(bad()),
        };
        let mut port = Port::new(AcName::sanitize(text)?, protocol, first);
        port.count = (last - first).saturating_add(1);
        ports.push(port);
    }
    ports.sort_by(|a: &Port, b: &Port| a.name.cmp(&b.name));
    Ok(ports)
}

fn mount_points(volumes: &[String]) -> Result<Vec<MountPoint>> {
    let mut points: Vec<MountPoint> = Vec::new();
    for path in volumes {
        let absolute = format!("/{}", path.trim_start_matches('/'));
        let name = AcName::sanitize(&format!("volume{absolute}"))?;
        let taken = |name: &AcName| points.iter().any(|p| p.name == *name);
        let mut unique = name.clone();
        let mut number = 0;
        while taken(&unique) {
            number += 1;
            unique = AcName::parse(&format!("{name}-{number}"))?;
        }
        points.push(MountPoint::new(unique, absolute));
    }
    points.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(points)
}

fn as_list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        words => serde_json::json!(words).to_string(),
    }
}

/// Go's words are those of the specification, except for these.
fn arch<'a>(arch: &'a str, variant: &str) -> &'a str {
    match (arch, variant) {
        ("386", _) => "i386",
        ("arm64", _) => "aarch64",
        ("arm", "v7" | "") => "armv7l",
        ("arm", _) => "armv6l",
        (other, _) => other,
    }
}

/// The configuration of an OCI image whose only layer holds what the ACI with this manifest holds.
pub fn from_appc(manifest: &ImageManifest, layer: &Digest) -> Vec<u8> {
    let mut run = serde_json::Map::new();
    if let Some(app) = &manifest.app {
        let mut set = |name: &str, value: serde_json::Value| {
            run.insert(name.to_owned(), value);
        };
        set("User", format!("{}:{}", app.user, app.group).into());
        set("Entrypoint", app.exec.clone().into());
        set("WorkingDir", app.working_directory().into());
        let environment = app.environment.iter();
        let environment = environment.map(|v| format!("{}={}", v.name, v.value));
        set("Env", environment.collect::<Vec<_>>().into());
        let empty = || serde_json::Value::Object(serde_json::Map::new());
        let ports = app.ports.iter();
        let ports = ports.map(|p| (format!("{}/{}", p.port, p.protocol), empty()));
        set(
            "ExposedPorts",
            ports.collect::<serde_json::Map<_, _>>().into(),
        );
        let volumes = app.mount_points.iter().map(|m| (m.path.clone(), empty()));
        set("Volumes", volumes.collect::<serde_json::Map<_, _>>().into());
    }
    let mut labels: serde_json::Map<String, serde_json::Value> = manifest
        .annotations
        .iter()
        .map(|a| (a.name.to_string(), a.value.clone().into()))
        .collect();
    labels.insert("appc.io/name".to_owned(), manifest.name.as_str().into());
    run.insert("Labels".to_owned(), labels.into());
    let label = |name: &str| manifest.labels.get(name);
    let machine = crate::Platform::host();
    let architecture = match label("arch") {
        Some("i386") => "386".to_owned(),
        Some("aarch64") => "arm64".to_owned(),
        Some("armv6l" | "armv7l") => "arm".to_owned(),
        Some(other) => other.to_owned(),
        None => machine.architecture,
    };
    serde_json::json!({
        "os": label("os").unwrap_or("linux"),
        "architecture": architecture,
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [layer.as_str()]},
    })
    .to_string()
    .into_bytes()
}

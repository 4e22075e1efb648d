//! Fetching from a real registry, beside the floor (decompressing and unpacking alone) and others
//! that do the same.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use e2e::oci::{Layer, Layout, OciImage};
use e2e::{Registry, Rkt, TempDir};
use serde_json::json;

use super::Programs;
use super::containerd::Containerd;
use super::measure::{Random, median, time_warm};
use super::report::Table;
use crate::Result;

const LAYERS: usize = 5;
const FILES: usize = 2_000;
const ROUNDS: usize = 5;

/// Compares and enters the figures.
pub(crate) fn run(programs: &Programs, table: &mut Table) -> Result<()> {
    let dir = TempDir::new();
    let registry = Registry::start();
    let layout = publish(&dir, &registry)?;
    let blobs = layers_of(&layout, "one");
    println!("{:.0} MB to fetch", megabytes(&blobs));
    let image = registry.image("bench:one");
    let mut times: [Vec<f64>; 6] = Default::default();
    let (mut again, mut shared, mut peak) = (Vec::new(), Vec::new(), 0);
    // Nothing goes before the end: what the disk still does for removed files would be measured, too.
    let mut written = Vec::new();
    for _ in 0..ROUNDS {
        let dir = TempDir::new();
        times[0].push(time_warm(&mut floor(&dir, &blobs))?);
        let rkt = Rkt::of(programs.rkt.clone());
        times[1].push(time_warm(&mut fetch(&rkt, &image))?);
        again.push(time_warm(&mut fetch(&rkt, &image))?);
        shared.push(time_warm(&mut fetch(&rkt, &registry.image("bench:two")))?);
        times[2].push(time_warm(&mut skopeo(&dir, &image))?);
        let plain = Rkt::of(programs.rkt.clone());
        times[3].push(time_warm(&mut unprivileged(&plain, &image)?)?);
        times[4].push(time_warm(&mut podman(&dir, &image))?);
        let containerd = Containerd::start(&dir)?;
        let name = image.trim_start_matches("docker://");
        times[5].push(time_warm(&mut containerd.pull(name))?);
        let watched = Rkt::of(programs.rkt.clone());
        peak = peak.max(peak_memory(fetch(&watched, &image))?);
        written.push((dir, [rkt, plain, watched]));
    }
    let names = [
        "floor: igzip -dc | tar x, all layers at once",
        "rkt fetch, with trees",
        "skopeo copy to oci:",
        "rkt fetch, unprivileged",
        "podman pull",
        "ctr images pull",
    ];
    let medians = times.map(median);
    for (name, median) in names.iter().zip(medians) {
        println!("{name:<46} {median:>8.1} ms");
    }
    let (again, shared) = (median(again), median(shared));
    println!("{:<46} {again:>8.1} ms", "rkt fetch of what is there");
    println!(
        "{:<46} {shared:>8.1} ms",
        "rkt fetch, four layers of five there"
    );
    let [floor, fetch, skopeo, plain, podman, containerd] = medians;
    table.at_most("fetch from a registry / floor", fetch / floor, 1.3, "x");
    table.at_most(
        "fetch from a registry / podman pull",
        fetch / podman,
        0.25,
        "x",
    );
    table.at_most(
        "fetch from a registry / ctr images pull",
        fetch / containerd,
        0.25,
        "x",
    );
    table.at_most("unprivileged fetch / skopeo copy", plain / skopeo, 1.0, "x");
    table.at_most("fetch of what is there", again, 30.0, "ms");
    table.at_most(
        "fetch with four of five layers there / all",
        shared / fetch,
        0.4,
        "x",
    );
    #[allow(clippy::cast_precision_loss, reason = "a figure to be printed")]
    let peak = peak as f64 / 1024.0;
    table.at_most("peak memory of a fetch", peak, 64.0, "MiB");
    Ok(())
}

/// Contents of files as images have them: of this machine's own programs, libraries and documents,
/// taken at even distances.
fn real_files(count: usize) -> Result<Vec<Vec<u8>>> {
    const LARGEST: u64 = 8 << 20;
    let (mut dirs, mut paths) = (vec![std::path::PathBuf::from("/usr")], Vec::new());
    while let Some(dir) = dirs.pop() {
        // What is removed meanwhile is not taken.
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => dirs.push(entry.path()),
                Ok(found) if found.is_file() && found.len() <= LARGEST => paths.push(entry.path()),
                _ => {}
            }
        }
    }
    paths.sort_unstable();
    if paths.len() < count {
        return Err(format!(
            "/usr has fewer than {count} files to make images of"
        ));
    }
    let taken = (0..count).map(|n| &paths[n * paths.len() / count]);
    taken
        .map(|path| std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display())))
        .collect()
}

/// Two images that share all layers but one, pushed.
fn publish(dir: &TempDir, registry: &Registry) -> Result<Layout> {
    let mut contents = real_files((LAYERS + 1) * FILES)?;
    let bytes: usize = contents.iter().map(Vec::len).sum();
    let each = bytes as f64 / 1e6 * LAYERS as f64 / (LAYERS + 1) as f64;
    println!("images of {} files, {each:.0} MB", LAYERS * FILES);
    // Every layer has some of everything.
    Random::new().shuffle(&mut contents);
    let mut contents = contents.into_iter();
    let mut layer = |number: usize| {
        let files = contents.by_ref().take(FILES).enumerate();
        files.fold(Layer::new(), |layer, (file, content)| {
            let name = format!("data/{number}/{:02}/{file}", file % 100);
            layer.file(&name, 0o644, content)
        })
    };
    let mut layers: Vec<Layer> = (0..LAYERS).map(&mut layer).collect();
    let mut layout = Layout::new(dir.join("layout"));
    layout.add(&OciImage::new(json!({}), &layers), "one");
    layers[LAYERS - 1] = layer(LAYERS);
    layout.add(&OciImage::new(json!({}), &layers), "two");
    for name in ["one", "two"] {
        registry.push(&layout.reference(name), &format!("bench:{name}"), &[]);
    }
    Ok(layout)
}

/// The files of an image's layers.
fn layers_of(layout: &Layout, name: &str) -> Vec<std::path::PathBuf> {
    let read = |path: &Path| -> serde_json::Value {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    };
    let index = read(&layout.path().join("index.json"));
    let named =
        |d: &&serde_json::Value| d["annotations"]["org.opencontainers.image.ref.name"] == name;
    let manifest = index["manifests"]
        .as_array()
        .and_then(|m| m.iter().find(named));
    let digest = manifest
        .and_then(|d| d["digest"].as_str())
        .unwrap_or_default();
    let manifest = read(&layout.blob_path(digest));
    let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
    layers
        .iter()
        .map(|l| layout.blob_path(l["digest"].as_str().unwrap_or_default()))
        .collect()
}

fn megabytes(files: &[std::path::PathBuf]) -> f64 {
    let sizes = files.iter().filter_map(|file| std::fs::metadata(file).ok());
    sizes.map(|found| found.len() as f64).sum::<f64>() / 1e6
}

fn floor(dir: &TempDir, blobs: &[std::path::PathBuf]) -> Command {
    let mut script = String::new();
    for (number, blob) in blobs.iter().enumerate() {
        let to = dir.join(&format!("floor-{number}"));
        script.push_str(&format!(
            "(mkdir {to} && igzip -dc < {blob} | tar x -C {to}) & ",
            to = to.display(),
            blob = blob.display()
        ));
    }
    let mut sh = Command::new("sh");
    sh.args(["-c", &format!("{script} wait")]);
    sh
}

fn fetch(rkt: &Rkt, image: &str) -> Command {
    rkt.strict_command(&["--insecure-options=image,http", "fetch", image])
}

/// The same as nobody, who cannot render.
fn unprivileged(rkt: &Rkt, image: &str) -> Result<Command> {
    as_nobody(rkt, &fetch(rkt, image))
}

/// A command of rkt as nobody's.
pub(crate) fn as_nobody(rkt: &Rkt, command: &Command) -> Result<Command> {
    let data = rkt.data();
    let nobody = 65534;
    // A store that members of a group share: one of the user's own would be rendered, too.
    let given = std::os::unix::fs::chown(&data, None, Some(nobody)).and_then(|()| {
        std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o2770))
    });
    given.map_err(|e| format!("cannot give {} away: {e}", data.display()))?;
    let id = nobody.to_string();
    Ok(e2e::as_user(&id, &id, command))
}

fn skopeo(dir: &TempDir, image: &str) -> Command {
    let mut skopeo = Command::new("skopeo");
    let to = format!("oci:{}", dir.join("skopeo").display());
    skopeo.args([
        "--insecure-policy",
        "copy",
        "--src-tls-verify=false",
        image,
        &to,
    ]);
    skopeo
}

fn podman(dir: &TempDir, image: &str) -> Command {
    let mut podman = Command::new("podman");
    let root = dir.join("podman");
    podman
        .arg(format!("--root={}", root.join("root").display()))
        .arg(format!("--runroot={}", root.join("run").display()))
        .args(["pull", "--quiet", "--tls-verify=false", image]);
    podman
}

/// Kilobytes that a program had at most.
fn peak_memory(mut command: Command) -> Result<u64> {
    let null = std::process::Stdio::null;
    let child = command.stdout(null()).stderr(null()).spawn();
    let mut child = child.map_err(|e| format!("cannot execute {command:?}: {e}"))?;
    let status = format!("/proc/{}/status", child.id());
    let (mut peak, begin) = (0, Instant::now());
    while matches!(child.try_wait(), Ok(None)) && begin.elapsed().as_secs() < 60 {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let now = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
        peak = peak.max(now.unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Ok(peak)
}

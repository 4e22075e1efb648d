//! Builds the default stage1 and packs it as an ACI, so that its bytes and its image ID are
//! constants of the `rkt` binary.
//!
//! The stage1 program is built by a cargo of its own, in its own target directory: as small as it
//! gets, whatever profile rkt itself is built in.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::Digest;

/// The entrypoints, as annotations name them; one program under all their names, in which a dash
/// stands for the slash.
const ENTRYPOINTS: [&str; 9] = [
    "run",
    "enter",
    "gc",
    "stop",
    "attach",
    "app/add",
    "app/start",
    "app/stop",
    "app/rm",
];
/// Directories that the supervisor works in, and one that nobody can look into.
const DIRECTORIES: [(&str, u32); 22] = [
    ("dev", 0o755),
    ("dev/shm", 0o755),
    ("etc", 0o755),
    ("opt", 0o755),
    ("opt/stage2", 0o755),
    ("proc", 0o755),
    ("rkt", 0o755),
    ("rkt/inaccessible", 0o755),
    ("rkt/inaccessible/directory", 0),
    ("rkt/status", 0o755),
    ("rkt/volumes", 0o755),
    ("run", 0o755),
    ("sys", 0o755),
    // Laid below every image: the mount points that apps need and few images lack.
    ("skeleton", 0o755),
    ("skeleton/dev", 0o755),
    ("skeleton/etc", 0o755),
    ("skeleton/proc", 0o755),
    ("skeleton/run", 0o755),
    ("skeleton/run/systemd", 0o755),
    ("skeleton/run/systemd/journal", 0o755),
    ("skeleton/sys", 0o755),
    ("skeleton/tmp", 0o1777),
];
/// The interface version that the native stage1 speaks.
const INTERFACE: &str = "6";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("..");
    for part in [
        "stage1",
        "crates/appc",
        "crates/journal",
        "crates/net",
        "crates/sandbox",
        "crates/stage1-abi",
        "crates/systemd",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
    }
    let program = std::fs::read(build(&root, &out)?)?;
    let aci = pack(&program)?;
    let digest: String = sha2::Sha512::digest(&aci)[..32]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    println!("cargo::rustc-env=RKT_STAGE1_ID=sha512-{digest}");
    std::fs::write(out.join("stage1.aci"), aci)?;
    Ok(())
}

/// Builds the program and says where it is.
fn build(root: &Path, out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target = std::env::var("TARGET")?;
    let profile = match std::env::var("PROFILE")?.as_str() {
        "release" => "stage1",
        _ => "stage1-dev",
    };
    let dir = out.join("stage1");
    let mut cargo = Command::new(std::env::var("CARGO")?);
    cargo
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--package",
            "stage1-native",
            "--profile",
            profile,
        ])
        .arg("--target")
        .arg(&target)
        .arg("--target-dir")
        .arg(&dir)
        // What the outer cargo tells this script would be taken for orders by the inner one.
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CLIPPY_ARGS")
        .env("CARGO_INCREMENTAL", "0");
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!("building the stage1 program failed: {status}").into());
    }
    Ok(dir.join(target).join(profile).join("stage1"))
}

/// An ACI of the program under its entrypoints' names; the same bytes for the same program.
fn pack(program: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut tar = tar::Builder::new(Vec::new());
    let manifest = manifest()?;
    let mut add = |path: String, kind, mode, link: Option<&str>, data: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(data.len() as u64);
        match link {
            Some(link) => tar.append_link(&mut header, path, link),
            None => tar.append_data(&mut header, path, data),
        }
    };
    use tar::EntryType::{Directory, Link, Regular};
    add("manifest".into(), Regular, 0o644, None, manifest.as_bytes())?;
    add("rootfs/".into(), Directory, 0o755, None, &[])?;
    add("rootfs/ex/".into(), Directory, 0o755, None, &[])?;
    let first = format!("rootfs/ex/{}", ENTRYPOINTS[0]);
    add(first.clone(), Regular, 0o755, None, program)?;
    for (path, mode) in DIRECTORIES {
        add(format!("rootfs/{path}/"), Directory, mode, None, &[])?;
    }
    add("rootfs/rkt/inaccessible/file".into(), Regular, 0, None, &[])?;
    let hostname = "rootfs/skeleton/etc/hostname";
    add(hostname.into(), Regular, 0o644, None, &[])?;
    for name in &ENTRYPOINTS[1..] {
        add(
            format!("rootfs/ex/{}", file_name(name)),
            Link,
            0o755,
            Some(&first),
            &[],
        )?;
    }
    Ok(tar.into_inner()?)
}

/// The image's manifest.
fn manifest() -> Result<String, Box<dyn Error>> {
    let annotation = |name: &str, value: &str| {
        format!(r#"{{"name":"coreos.com/rkt/stage1/{name}","value":"{value}"}}"#)
    };
    let mut annotations: Vec<String> = ENTRYPOINTS
        .iter()
        .map(|name| annotation(name, &format!("/ex/{}", file_name(name))))
        .collect();
    annotations.push(annotation("interface-version", INTERFACE));
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH")?;
    let arch = match arch.as_str() {
        "x86_64" => "amd64",
        "x86" => "i386",
        "powerpc64" => "ppc64le",
        other => other,
    };
    document(arch, &annotations.join(","))
}

/// The name of the program of an entrypoint.
fn file_name(entrypoint: &str) -> String {
    entrypoint.replace('/', "-")
}

fn document(arch: &str, annotations: &str) -> Result<String, Box<dyn Error>> {
    let version = std::env::var("CARGO_PKG_VERSION")?;
    Ok(format!(
        r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"coreos.com/rkt/stage1-native","labels":[{{"name":"version","value":"{version}"}},{{"name":"arch","value":"{arch}"}},{{"name":"os","value":"linux"}}],"annotations":[{annotations}]}}"#
    ))
}

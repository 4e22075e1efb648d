//! Making App Container images, good and bad ones, without rkt's own code.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// How an image file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// A bare tar.
    None,
    /// By `gzip`.
    Gzip,
    /// By `bzip2`.
    Bzip2,
    /// By `xz`.
    Xz,
    /// By `zstd`.
    Zstd,
}

impl Compression {
    pub(crate) fn program(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Bzip2 => Some("bzip2"),
            Self::Xz => Some("xz"),
            Self::Zstd => Some("zstd"),
        }
    }
}

#[derive(Clone, Debug)]
enum Entry {
    Bytes {
        name: String,
        mode: u32,
        bytes: Vec<u8>,
    },
    Copy {
        name: String,
        mode: u32,
        from: PathBuf,
    },
    Dir {
        name: String,
        mode: u32,
    },
    Link {
        name: String,
        target: String,
        hard: bool,
    },
    Fifo(String),
    Device {
        name: String,
        major: u32,
        minor: u32,
    },
}

/// An image under construction: a manifest and entries of a tar.
#[derive(Clone, Debug)]
pub struct Aci {
    manifest: Value,
    raw_manifest: Option<Vec<u8>>,
    entries: Vec<Entry>,
}

impl Aci {
    /// An image of that name for linux/amd64, without an app.
    pub fn new(name: &str) -> Self {
        let manifest = json!({
            "acKind": "ImageManifest", "acVersion": "0.8.11", "name": name,
            "labels": [{"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}],
        });
        Self {
            manifest,
            raw_manifest: None,
            entries: Vec::new(),
        }
    }

    /// Adds a label.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        push(
            &mut self.manifest["labels"],
            json!({"name": name, "value": value}),
        );
        self
    }

    /// Adds an annotation of the image.
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        push(
            &mut self.manifest["annotations"],
            json!({"name": name, "value": value}),
        );
        self
    }

    /// Gives it an app that executes this, as root.
    pub fn exec(mut self, words: &[&str]) -> Self {
        let app = &mut self.manifest["app"];
        app["exec"] = json!(words);
        for field in ["user", "group"] {
            if app[field].is_null() {
                app[field] = json!("0");
            }
        }
        self
    }

    /// Sets any field of the app.
    pub fn app(mut self, field: &str, value: Value) -> Self {
        self.manifest["app"][field] = value;
        self
    }

    /// Sets any field of the manifest.
    pub fn field(mut self, field: &str, value: Value) -> Self {
        self.manifest[field] = value;
        self
    }

    /// Declares a port of the app.
    pub fn port(mut self, name: &str, protocol: &str, port: u16) -> Self {
        push(
            &mut self.manifest["app"]["ports"],
            json!({"name": name, "protocol": protocol, "port": port}),
        );
        self
    }

    /// Adds a variable to the app's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        push(
            &mut self.manifest["app"]["environment"],
            json!({"name": name, "value": value}),
        );
        self
    }

    /// Declares a mount point of the app.
    pub fn mount_point(mut self, name: &str, path: &str) -> Self {
        push(
            &mut self.manifest["app"]["mountPoints"],
            json!({"name": name, "path": path}),
        );
        self
    }

    /// Adds a mount point that is read-only.
    pub fn read_only_mount_point(mut self, name: &str, path: &str) -> Self {
        push(
            &mut self.manifest["app"]["mountPoints"],
            json!({"name": name, "path": path, "readOnly": true}),
        );
        self
    }

    /// Adds an isolator to the app.
    pub fn isolator(mut self, name: &str, value: Value) -> Self {
        push(
            &mut self.manifest["app"]["isolators"],
            json!({"name": name, "value": value}),
        );
        self
    }

    /// Replaces the whole manifest by these bytes, which need not be JSON.
    pub fn raw_manifest(mut self, bytes: &[u8]) -> Self {
        self.raw_manifest = Some(bytes.to_vec());
        self
    }

    /// The manifest as it is now.
    pub fn manifest(&self) -> &Value {
        &self.manifest
    }

    /// Adds a file at that absolute path of the root file system.
    pub fn file(mut self, path: &str, mode: u32, bytes: impl AsRef<[u8]>) -> Self {
        self.entries.push(Entry::Bytes {
            name: in_root(path),
            mode,
            bytes: bytes.as_ref().to_vec(),
        });
        self
    }

    /// Adds a file with the content of one of the host's, read when the image is written.
    pub fn copy(mut self, from: &Path, path: &str, mode: u32) -> Self {
        self.entries.push(Entry::Copy {
            name: in_root(path),
            mode,
            from: from.to_owned(),
        });
        self
    }

    /// Adds a directory.
    pub fn dir(mut self, path: &str, mode: u32) -> Self {
        self.entries.push(Entry::Dir {
            name: in_root(path),
            mode,
        });
        self
    }

    /// Adds a symbolic link.
    pub fn symlink(mut self, path: &str, target: &str) -> Self {
        self.entries.push(Entry::Link {
            name: in_root(path),
            target: target.to_owned(),
            hard: false,
        });
        self
    }

    /// Adds a FIFO.
    pub fn fifo(mut self, path: &str) -> Self {
        self.entries.push(Entry::Fifo(in_root(path)));
        self
    }

    /// Adds a character device.
    pub fn device(mut self, path: &str, major: u32, minor: u32) -> Self {
        let name = in_root(path);
        self.entries.push(Entry::Device { name, major, minor });
        self
    }

    /// Adds an entry whose tar name is exactly this: absolute, with `..`, anything.
    pub fn raw_file(mut self, name: &str, bytes: &[u8]) -> Self {
        self.entries.push(Entry::Bytes {
            name: name.to_owned(),
            mode: 0o644,
            bytes: bytes.to_vec(),
        });
        self
    }

    /// Adds a link whose tar name and target are exactly these.
    pub fn raw_link(mut self, name: &str, target: &str, hard: bool) -> Self {
        self.entries.push(Entry::Link {
            name: name.to_owned(),
            target: target.to_owned(),
            hard,
        });
        self
    }

    /// Writes the image.
    ///
    /// # Errors
    /// When a file cannot be read or written, or the compressor is missing or fails.
    pub fn write(&self, to: &Path, compression: Compression) -> io::Result<()> {
        let file = File::create(to)?;
        let Some(program) = compression.program() else {
            return self.write_tar(file);
        };
        let mut child = Command::new(program)
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(file)
            .spawn()?;
        let pipe = child
            .stdin
            .take()
            .ok_or_else(|| io::Error::other("no pipe to the compressor"))?;
        self.write_tar(io::BufWriter::with_capacity(1 << 16, pipe))?;
        let status = child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("{program}: {status}")))
        }
    }

    fn write_tar(&self, to: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(to);
        let manifest = self
            .raw_manifest
            .clone()
            .unwrap_or_else(|| self.manifest.to_string().into_bytes());
        append(
            &mut tar,
            "manifest",
            tar::EntryType::Regular,
            0o644,
            &manifest,
        )?;
        append(&mut tar, "rootfs", tar::EntryType::Directory, 0o755, &[])?;
        for entry in &self.entries {
            match entry {
                Entry::Bytes { name, mode, bytes } => {
                    append(&mut tar, name, tar::EntryType::Regular, *mode, bytes)?;
                }
                Entry::Copy { name, mode, from } => {
                    let mut bytes = Vec::new();
                    File::open(from)?.read_to_end(&mut bytes)?;
                    append(&mut tar, name, tar::EntryType::Regular, *mode, &bytes)?;
                }
                Entry::Dir { name, mode } => {
                    append(&mut tar, name, tar::EntryType::Directory, *mode, &[])?
                }
                Entry::Link { name, target, hard } => append_link(&mut tar, name, target, *hard)?,
                Entry::Fifo(name) => append(&mut tar, name, tar::EntryType::Fifo, 0o644, &[])?,
                Entry::Device { name, major, minor } => {
                    let mut header = header(tar::EntryType::Char, 0o666, 0);
                    put_name(&mut header, name, None);
                    header.set_device_major(*major)?;
                    header.set_device_minor(*minor)?;
                    header.set_cksum();
                    tar.append(&header, io::empty())?;
                }
            }
        }
        tar.into_inner()?.flush()
    }
}

/// The executable bits of a host file, for [`Aci::copy`].
pub(crate) fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).map_or(0o755, |meta| meta.permissions().mode() & 0o7777)
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

fn in_root(path: &str) -> String {
    format!("rootfs/{}", path.trim_start_matches('/'))
}

fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_400_000_000);
    header.set_size(size as u64);
    header
}

/// The name is put into the header's bytes unchecked: the hostile tests need that.
fn append(
    tar: &mut tar::Builder<impl Write>,
    name: &str,
    kind: tar::EntryType,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = header(kind, mode, bytes.len());
    put_name(&mut header, name, None);
    header.set_cksum();
    tar.append(&header, bytes)
}

fn append_link(
    tar: &mut tar::Builder<impl Write>,
    name: &str,
    target: &str,
    hard: bool,
) -> io::Result<()> {
    let kind = if hard {
        tar::EntryType::Link
    } else {
        tar::EntryType::Symlink
    };
    let mut header = header(kind, 0o777, 0);
    put_name(&mut header, name, Some(target));
    header.set_cksum();
    tar.append(&header, io::empty())
}

fn put_name(header: &mut tar::Header, name: &str, target: Option<&str>) {
    let fields = header.as_old_mut();
    assert!(
        name.len() <= fields.name.len(),
        "name too long for a plain header: {name}"
    );
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    if let Some(target) = target {
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
    }
}

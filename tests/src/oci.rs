//! Making OCI images, good and bad ones, without rkt's own code.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::aci::Compression;
use crate::server::{Reply, Request};

/// Media type of an OCI manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed layer; compressed ones add to it.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The digest of some bytes as registries write it.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let digits: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{digits}")
}

/// The archive of one layer, under construction.
#[derive(Debug, Default, Clone)]
pub struct Layer {
    entries: Vec<(tar::Header, Vec<u8>)>,
    compression: Option<Compression>,
}

impl Layer {
    /// An empty layer, to be compressed with gzip.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses it otherwise.
    pub fn compressed(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    fn add(
        mut self,
        kind: tar::EntryType,
        name: &str,
        mode: u32,
        bytes: &[u8],
        link: &str,
        owner: (u64, u64),
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mtime(1_400_000_000);
        header.set_size(bytes.len() as u64);
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.entries.push((header, bytes.to_vec()));
        self
    }

    /// Adds a file; the name is used exactly as it is.
    pub fn file(self, name: &str, mode: u32, bytes: impl AsRef<[u8]>) -> Self {
        let kind = tar::EntryType::Regular;
        self.add(kind, name, mode, bytes.as_ref(), "", (0, 0))
    }

    /// Adds a file whose name does not fit into a header, as GNU tar does.
    pub fn long_file(self, name: &str, mode: u32, bytes: impl AsRef<[u8]>) -> Self {
        let kind = tar::EntryType::GNULongName;
        let long = [name.as_bytes(), &[0]].concat();
        let named = self.add(kind, "././@LongLink", 0o644, &long, "", (0, 0));
        named.file(&name[..name.len().min(100)], mode, bytes)
    }

    /// Adds a directory.
    pub fn dir(self, name: &str, mode: u32) -> Self {
        self.owned_dir(name, mode, 0, 0)
    }

    /// Adds somebody's directory.
    pub fn owned_dir(self, name: &str, mode: u32, uid: u64, gid: u64) -> Self {
        let kind = tar::EntryType::Directory;
        self.add(kind, name, mode, &[], "", (uid, gid))
    }

    /// Adds a symbolic link.
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.add(tar::EntryType::Symlink, name, 0o777, &[], target, (0, 0))
    }

    /// Adds a hard link.
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.add(tar::EntryType::Link, name, 0o644, &[], target, (0, 0))
    }

    /// Takes away what lower layers have under that name.
    pub fn whiteout(self, path: &str) -> Self {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let slash = if above.is_empty() { "" } else { "/" };
        self.file(&format!("{above}{slash}.wh.{name}"), 0, "")
    }

    /// Takes away all that lower layers have in a directory.
    pub fn opaque(self, directory: &str) -> Self {
        self.file(&format!("{directory}/.wh..wh..opq"), 0, "")
    }

    /// The archive.
    pub fn tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (header, bytes) in &self.entries {
            tar.append(header, bytes.as_slice()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn suffix(&self) -> &'static str {
        match self.compression {
            Some(Compression::None) => "",
            Some(Compression::Zstd) => "+zstd",
            _ => "+gzip",
        }
    }

    /// The archive as it is published.
    pub fn published(&self) -> Vec<u8> {
        compress(&self.tar(), self.compression.unwrap_or(Compression::Gzip))
    }
}

fn compress(bytes: &[u8], with: Compression) -> Vec<u8> {
    use std::process::{Command, Stdio};
    let Some(program) = with.program() else {
        return bytes.to_vec();
    };
    let mut child = Command::new(program)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || pipe.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// An image: layers and a configuration.
#[derive(Debug, Clone)]
pub struct OciImage {
    /// How it is run, in Docker's spelling.
    pub config: Value,
    layers: Vec<Layer>,
    platform: (String, String),
}

/// The published parts of an image.
#[derive(Debug, Clone)]
pub struct Published {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The configuration.
    pub config: Vec<u8>,
    /// The layers, the lowest first.
    pub layers: Vec<Vec<u8>>,
}

impl OciImage {
    /// An image for linux/amd64.
    pub fn new(config: Value, layers: &[Layer]) -> Self {
        Self {
            config,
            layers: layers.to_vec(),
            platform: ("linux".to_owned(), "amd64".to_owned()),
        }
    }

    /// With the test program in its lowest layer, started with these arguments.
    pub fn probe(arguments: &[&str], layers: &[Layer]) -> Self {
        let program = fs::read(crate::fixtures::program("probe")).unwrap();
        let base = Layer::new().file("probe", 0o755, program);
        let mut all = vec![base];
        all.extend_from_slice(layers);
        let mut entrypoint = vec!["/probe"];
        entrypoint.extend_from_slice(arguments);
        Self::new(json!({"Entrypoint": entrypoint}), &all)
    }

    /// For another machine.
    pub fn for_platform(mut self, os: &str, architecture: &str) -> Self {
        self.platform = (os.to_owned(), architecture.to_owned());
        self
    }

    /// Sets a field of its configuration.
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.config[name] = value;
        self
    }

    /// Its parts.
    pub fn published(&self) -> Published {
        let tars = self.layers.iter().map(|l| sha256(&l.tar()));
        let config = json!({
            "os": self.platform.0, "architecture": self.platform.1,
            "created": "2024-05-01T12:00:00Z", "author": "somebody",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": tars.collect::<Vec<_>>()},
        });
        let config = config.to_string().into_bytes();
        let layers: Vec<Vec<u8>> = self.layers.iter().map(Layer::published).collect();
        let described: Vec<Value> = layers
            .iter()
            .zip(&self.layers)
            .map(|(bytes, l)| descriptor(&format!("{LAYER}{}", l.suffix()), bytes))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config), "layers": described,
        });
        Published {
            manifest: manifest.to_string().into_bytes(),
            config,
            layers,
        }
    }
}

impl Published {
    /// Answers as a registry would that has this image alone.
    pub fn answer(&self, request: &Request) -> Reply {
        let path = request.path.as_str();
        if path.contains("/manifests/") {
            return Reply::ok(self.manifest.clone()).header("content-type", MANIFEST);
        }
        let mut parts = self.layers.iter().chain([&self.config]);
        let found = parts.find(|bytes| path.ends_with(&sha256(bytes)));
        found.map_or(Reply::status(404), |bytes| Reply::part(bytes, request))
    }

    /// What `docker save` writes of it; its layers are not compressed.
    pub fn saved(&self, layers: &[Layer], tag: &str) -> Vec<u8> {
        let names: Vec<String> = (0..layers.len())
            .map(|n| format!("{n}/layer.tar"))
            .collect();
        let list = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": names}]);
        let begin = Layer::new()
            .file("manifest.json", 0o644, list.to_string())
            .file("config.json", 0o644, &self.config);
        let all = names.iter().zip(layers);
        all.fold(begin, |tar, (name, layer)| {
            tar.file(name, 0o644, layer.tar())
        })
        .tar()
    }
}

/// A descriptor of some bytes.
pub fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": sha256(bytes), "size": bytes.len()})
}

/// An image layout on disk.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    images: Vec<Value>,
}

impl Layout {
    /// An empty one.
    pub fn new(path: PathBuf) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let layout = Self {
            path,
            images: Vec::new(),
        };
        layout.write_index();
        layout
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an image under a name.
    pub fn add(&mut self, image: &OciImage, name: &str) -> Published {
        let published = image.published();
        self.add_published(&published, name);
        published
    }

    /// Adds an image that may not be sound.
    pub fn add_published(&mut self, image: &Published, name: &str) {
        self.blob(&image.config);
        for layer in &image.layers {
            self.blob(layer);
        }
        self.document(MANIFEST, &image.manifest, name);
    }

    /// Adds a manifest or an index under a name.
    pub fn document(&mut self, kind: &str, bytes: &[u8], name: &str) {
        self.blob(bytes);
        let mut entry = descriptor(kind, bytes);
        if !name.is_empty() {
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        self.images.push(entry);
        self.write_index();
    }

    /// Adds a blob.
    pub fn blob(&self, bytes: &[u8]) {
        fs::write(self.blob_path(&sha256(bytes)), bytes).unwrap();
    }

    /// The file of a blob.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.path.join("blobs").join(digest.replace(':', "/"))
    }

    fn write_index(&self) {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.images});
        fs::write(self.path.join("index.json"), index.to_string()).unwrap();
    }

    /// How rkt is told of one of its images.
    pub fn reference(&self, name: &str) -> String {
        match name {
            "" => format!("oci:{}", self.path.display()),
            name => format!("oci:{}:{name}", self.path.display()),
        }
    }
}

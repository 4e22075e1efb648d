//! Archives made byte by byte, so that hostile ones can be made too.
#![allow(
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test program uses a part of these helpers, which are for tests only"
)]

use std::path::Path;

/// A manifest with a name, and more members of the object.
pub fn manifest(name: &str, more: &str) -> Vec<u8> {
    format!(r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"{name}"{more}}}"#)
        .into_bytes()
}

/// One header field after another, with the checksum put in.
#[derive(Clone)]
pub struct Header {
    pub block: [u8; 512],
}

impl Header {
    pub fn new(kind: u8, name: &str) -> Self {
        let mut header = Header { block: [0; 512] };
        header.put(0, &name.as_bytes()[..name.len().min(100)]);
        header.put(257, b"ustar\x0000");
        header.block[156] = kind;
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        header
            .mode(mode)
            .number(108, 8, 0)
            .number(116, 8, 0)
            .number(136, 12, 1_400_000_000);
        header.number(124, 12, 0);
        header
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.block[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn number(&mut self, at: usize, width: usize, value: u64) -> &mut Self {
        let text = format!("{value:0width$o}\0", width = width - 1);
        self.put(at, text.as_bytes())
    }

    pub fn mode(&mut self, mode: u64) -> &mut Self {
        self.number(100, 8, mode)
    }

    pub fn owner(&mut self, uid: u64, gid: u64) -> &mut Self {
        self.number(108, 8, uid).number(116, 8, gid)
    }

    pub fn size(&mut self, size: u64) -> &mut Self {
        self.number(124, 12, size)
    }

    pub fn link(&mut self, target: &str) -> &mut Self {
        self.put(157, &target.as_bytes()[..target.len().min(100)])
    }

    pub fn finish(&mut self) -> [u8; 512] {
        self.put(148, b"        ");
        let sum: u64 = self.block.iter().map(|b| u64::from(*b)).sum();
        let text = format!("{sum:06o}\0 ");
        self.put(148, text.as_bytes());
        self.block
    }
}

/// An archive being made.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    /// With a manifest and a `rootfs` directory.
    pub fn aci(name: &str, more: &str) -> Self {
        let mut tar = Tar::default();
        tar.file("manifest", &manifest(name, more))
            .directory("rootfs");
        tar
    }

    pub fn header(&mut self, header: &mut Header) -> &mut Self {
        self.0.extend(header.finish());
        self
    }

    pub fn data(&mut self, data: &[u8]) -> &mut Self {
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(&mut self, name: &str, data: &[u8]) -> &mut Self {
        self.header(Header::new(b'0', name).size(data.len() as u64))
            .data(data)
    }

    pub fn directory(&mut self, name: &str) -> &mut Self {
        self.header(&mut Header::new(b'5', name))
    }

    pub fn symlink(&mut self, name: &str, target: &str) -> &mut Self {
        self.header(Header::new(b'2', name).link(target))
    }

    pub fn hard_link(&mut self, name: &str, target: &str) -> &mut Self {
        self.header(Header::new(b'1', name).link(target))
    }

    pub fn pax(&mut self, records: &[(&str, &[u8])]) -> &mut Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let mut length = body + body.to_string().len();
            if length.to_string().len() > body.to_string().len() {
                length += 1;
            }
            data.extend(format!("{length} {key}=").bytes());
            data.extend(*value);
            data.push(b'\n');
        }
        self.header(Header::new(b'x', "pax").size(data.len() as u64))
            .data(&data)
    }

    /// With the end-of-archive mark.
    pub fn end(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }
}

/// All that is below a directory, but for empty directories and locks of a store at rest.
pub fn files(directory: &Path) -> Vec<String> {
    fn walk(at: &Path, top: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                walk(&path, top, found);
            } else {
                found.push(path.strip_prefix(top).unwrap().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    if directory.exists() {
        walk(directory, directory, &mut found);
    }
    found.sort();
    found
}

/// What a refused import must not leave: blobs, manifests, trees, temporary files.
pub fn leftovers(data: &Path) -> Vec<String> {
    let cas = data.join("cas");
    let mut found = Vec::new();
    for folder in ["blob", "imageManifest", "tmp", "tree", "building"] {
        found.extend(files(&cas.join(folder)));
        if ["tmp", "tree", "building"].contains(&folder) {
            let entries = cas.join(folder).read_dir().into_iter().flatten();
            found.extend(entries.map(|e| e.unwrap().path().display().to_string()));
        }
    }
    found
}

//! The directories of trusted keys (page "Signing and Verification Guide", "Establishing Trust").

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use appc::AcIdentifier;
use rustix::fs::{Mode, OFlags};

use crate::{CosignKey, Error, Key, Result};

/// No key file is larger.
const LIMIT: u64 = 1 << 20;
const KEYS: &str = "trustedkeys";
/// What follows the fingerprint in the name of a cosign key's file.
const COSIGN: &str = ".pub";
const ROOT: &str = "root.d";
const PREFIX: &str = "prefix.d";

/// What a key is trusted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All images.
    Root,
    /// Images whose names are this or begin with this and a slash.
    Prefix(AcIdentifier),
}

impl Scope {
    fn dir(&self) -> PathBuf {
        match self {
            Self::Root => PathBuf::from(ROOT),
            Self::Prefix(prefix) => Path::new(PREFIX).join(prefix.as_str()),
        }
    }
}

/// The trusted keys of a machine.
#[derive(Debug, Clone)]
pub struct Keystore {
    system: PathBuf,
    local: PathBuf,
}

impl Keystore {
    /// The keystore below the system and the local configuration directory.
    pub fn new(system: &Path, local: &Path) -> Self {
        Self {
            system: system.join(KEYS),
            local: local.join(KEYS),
        }
    }

    /// The keys that may sign images of this name: those of all prefixes of it and those trusted
    /// for everything. Where several files speak of one key, the one for the longest prefix decides,
    /// and the local one before the system's; an empty file says that the key is not trusted.
    ///
    /// # Errors
    /// A directory or file cannot be read; a file is no key or another one than its name says.
    pub fn keys_for(&self, image: &AcIdentifier) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        for (fingerprint, path) in self.files(image, "")? {
            keys.extend(read(&path, &fingerprint)?);
        }
        Ok(keys)
    }

    /// The same for keys that sign OCI images, whose names are `REGISTRY/REPOSITORY`.
    ///
    /// # Errors
    /// As [`Keystore::keys_for`].
    pub fn cosign_keys_for(&self, image: &AcIdentifier) -> Result<Vec<CosignKey>> {
        let mut keys = Vec::new();
        for (fingerprint, path) in self.files(image, COSIGN)? {
            let bytes = read_file(&path)?;
            if bytes.is_empty() {
                continue;
            }
            let key = CosignKey::parse(&bytes).map_err(|error| Error::Stored {
                path: path.clone(),
                source: Box::new(error),
            })?;
            if key.fingerprint() != fingerprint {
                return Err(Error::Misnamed {
                    path,
                    found: key.fingerprint(),
                });
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// The files that speak of keys for an image, by fingerprint.
    fn files(&self, image: &AcIdentifier, suffix: &str) -> Result<BTreeMap<String, PathBuf>> {
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        for scope in scopes(image) {
            for store in [&self.system, &self.local] {
                files.extend(key_files(&store.join(&scope), suffix)?);
            }
        }
        Ok(files)
    }

    /// Trusts a key; returns the file it is in.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn trust(&self, key: &Key, scope: &Scope) -> Result<PathBuf> {
        self.add(scope, &key.fingerprint(), &key.armoured()?)
    }

    /// Trusts a key that signs OCI images; returns the file it is in.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn trust_cosign(&self, key: &CosignKey, scope: &Scope) -> Result<PathBuf> {
        let name = format!("{}{COSIGN}", key.fingerprint());
        self.add(scope, &name, key.pem().as_bytes())
    }

    fn add(&self, scope: &Scope, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let dir = self.local.join(scope.dir());
        std::fs::create_dir_all(&dir).map_err(|e| Error::io("make directory", &dir, e))?;
        let path = dir.join(name);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&dir)?;
            file.write_all(bytes)?;
            let mode = std::fs::Permissions::from_mode(0o644);
            file.as_file().set_permissions(mode)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(&dir)?.sync_all()
        };
        write().map_err(|e| Error::io("write", &path, e))?;
        Ok(path)
    }
}

/// The directories that matter for an image, those that decide coming last. The grammar of names
/// keeps `..` and empty words out.
fn scopes(image: &AcIdentifier) -> Vec<PathBuf> {
    let mut dirs = vec![PathBuf::from(ROOT)];
    let mut dir = PathBuf::from(PREFIX);
    for word in image.as_str().split('/') {
        dir.push(word);
        dirs.push(dir.clone());
    }
    dirs
}

/// Files of a directory that are named as keys are, by fingerprint; none if it does not exist.
fn key_files(dir: &Path, suffix: &str) -> Result<Vec<(String, PathBuf)>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let listing = match std::fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read directory", dir, error)),
    };
    let mut files = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|e| Error::io("read directory", dir, e))?;
        let kind = entry.file_type();
        let kind = kind.map_err(|e| Error::io("inspect", entry.path(), e))?;
        match entry.file_name().into_string() {
            Ok(name) if kind.is_file() => {
                let print = name.strip_suffix(suffix).filter(|p| is_fingerprint(p));
                files.extend(print.map(|p| (p.to_owned(), entry.path())));
            }
            _ => {}
        }
    }
    Ok(files)
}

fn is_fingerprint(name: &str) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    matches!(name.len(), 40 | 64) && name.bytes().all(digit)
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map(File::from);
    let mut bytes = Vec::new();
    file.map_err(std::io::Error::from)
        .and_then(|file| file.take(LIMIT).read_to_end(&mut bytes))
        .map_err(|e| Error::io("read", path, e))?;
    Ok(bytes)
}

/// The key of a file; none if it is empty.
fn read(path: &Path, fingerprint: &str) -> Result<Option<Key>> {
    let bytes = read_file(path)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let keys = Key::parse_all(&bytes).map_err(|error| Error::Stored {
        path: path.to_owned(),
        source: Box::new(error),
    })?;
    let mut found = String::new();
    for key in keys {
        found = key.fingerprint();
        if found == fingerprint {
            return Ok(Some(key));
        }
    }
    Err(Error::Misnamed {
        path: path.to_owned(),
        found,
    })
}

//! One configuration file: found, read with a limit, and its fields taken out.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value};

use crate::auth::Credentials;
use crate::dirs::Layer;
use crate::{Error, Paths, Result, Stage1, Tpm};

/// No configuration is larger.
const LIMIT: u64 = 1 << 20;
/// The version of every kind there is.
const VERSION: &str = "v1";
/// Of a wrong kind or version this much is shown.
const SHOWN: usize = 64;
const MUST_BE_TEXT: &str = "must be a string that is not empty";

/// A file.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    kind: String,
    fields: Map<String, Value>,
}

/// The configuration files of a directory, by name; none if it does not exist. Only regular files
/// whose names end in `.json` count; symbolic links and directories do not.
pub(crate) fn entries(dir: &Path) -> Result<Vec<Entry>> {
    let listing = match std::fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io("read directory", dir, source)),
    };
    let mut files = Vec::new();
    for item in listing {
        let item = item.map_err(|source| io("read directory", dir, source))?;
        let path = item.path();
        let kind = item.file_type().map_err(|e| io("inspect", &path, e))?;
        if kind.is_file() && path.extension().is_some_and(|e| e == "json") {
            files.push(path);
        }
    }
    files.sort_unstable();
    files.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Result<Entry> {
    // Between listing and opening it may have become anything.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&path, flags, Mode::empty());
    let file = File::from(opened.map_err(|e| io("open", &path, e.into()))?);
    let mut bytes = Vec::new();
    file.take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| io("read", &path, e))?;
    match bytes.len() as u64 > LIMIT {
        false => Entry::parse(path, &bytes),
        true => Err(Error::TooLarge { path, limit: LIMIT }),
    }
}

fn io(operation: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// Checks bytes as a file of any of the subdirectories.
///
/// # Errors
/// The fault, were the bytes a file of the last subdirectory that refused them.
pub fn check(bytes: &[u8]) -> Result<()> {
    let entry = Entry::parse(PathBuf::from("file.json"), bytes)?;
    let credentials = Credentials::default().add(&entry);
    let paths = Paths::default().add(&entry);
    let stage1 = Stage1::default().add(&entry);
    credentials
        .or(paths)
        .or(stage1)
        .or(Tpm::default().add(&entry))
}

impl Entry {
    fn parse(path: PathBuf, bytes: &[u8]) -> Result<Self> {
        let fields = match serde_json::from_slice::<Value>(bytes) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => {
                return Err(Error::Field {
                    path,
                    field: "",
                    reason: "must be an object",
                });
            }
            Err(source) => return Err(Error::Syntax { path, source }),
        };
        let mut entry = Self {
            path,
            kind: String::new(),
            fields,
        };
        entry.kind = entry.required("rktKind")?.to_owned();
        let version = entry.required("rktVersion")?;
        if version != VERSION {
            return Err(Error::Version {
                version: version.chars().take(SHOWN).collect(),
                kind: entry.kind.chars().take(SHOWN).collect(),
                path: entry.path,
            });
        }
        Ok(entry)
    }

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// The error for a kind that lies in the wrong directory.
    pub(crate) fn misplaced(&self, directory: &'static str) -> Error {
        Error::Kind {
            path: self.path.clone(),
            kind: self.kind.chars().take(SHOWN).collect(),
            directory,
        }
    }

    /// The error for a field.
    pub(crate) fn bad(&self, field: &'static str, reason: &'static str) -> Error {
        Error::Field {
            path: self.path.clone(),
            field,
            reason,
        }
    }

    /// The error for something that `earlier` defines too.
    pub(crate) fn duplicate(&self, what: impl Into<String>, earlier: &Path) -> Error {
        Error::Duplicate {
            path: self.path.clone(),
            earlier: earlier.to_owned(),
            what: what.into(),
        }
    }

    /// A string that may be missing; an empty one counts as missing.
    pub(crate) fn optional(&self, field: &'static str) -> Result<Option<&str>> {
        self.text(self.fields.get(field), field)
    }

    /// A string that must be there.
    pub(crate) fn required(&self, field: &'static str) -> Result<&str> {
        self.optional(field)?
            .ok_or_else(|| self.bad(field, MUST_BE_TEXT))
    }

    /// A string inside `credentials`; `field` is its name with that in front.
    pub(crate) fn credential(&self, field: &'static str) -> Result<Option<&str>> {
        let object = match self.fields.get("credentials") {
            Some(Value::Object(object)) => object,
            _ => return Err(self.bad("credentials", "must be an object")),
        };
        let name = field.trim_start_matches("credentials.");
        self.text(object.get(name), field)
    }

    /// The same where it must be there.
    pub(crate) fn needed_credential(&self, field: &'static str) -> Result<&str> {
        self.credential(field)?
            .ok_or_else(|| self.bad(field, MUST_BE_TEXT))
    }

    /// A list of hosts, each perhaps with a port.
    pub(crate) fn hosts(&self, field: &'static str) -> Result<Vec<&str>> {
        let list = match self.fields.get(field) {
            Some(Value::Array(list)) if !list.is_empty() => list,
            _ => return Err(self.bad(field, "must be a list that is not empty")),
        };
        let good = list.iter().filter_map(Value::as_str).filter(|t| is_host(t));
        let hosts: Vec<&str> = good.collect();
        match hosts.len() == list.len() {
            true => Ok(hosts),
            false => Err(self.bad(field, "must hold hosts, each perhaps with a port")),
        }
    }

    fn text<'a>(&self, value: Option<&'a Value>, field: &'static str) -> Result<Option<&'a str>> {
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(self.bad(field, "must not hold a NUL"))
            }
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|t| !t.is_empty())),
            Some(_) => Err(self.bad(field, "must be a string")),
        }
    }
}

/// Host and port as a URL has them (RFC 3986), without user information.
pub(crate) fn is_host(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]%".contains(&b);
    (1..=300).contains(&text.len()) && text.bytes().all(plain)
}

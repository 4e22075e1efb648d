//! The kinds `auth` and `dockerAuth`: credentials for servers and registries.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::Result;
use crate::dirs::{Dirs, Layer, load};
use crate::entry::Entry;

/// Something nobody should see by accident: its debug form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basic {
    /// The name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// How rkt shows a server who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Basic HTTP authentication.
    Basic(Basic),
    /// OAuth bearer token.
    OAuth {
        /// The token.
        token: Secret,
    },
    /// AWS signatures, version 4.
    Aws {
        /// The access key's id.
        access_key_id: String,
        /// The access key's secret.
        secret_access_key: Secret,
        /// The region; found from the host's name when it is not given.
        region: Option<String>,
    },
}

/// Credentials by host (`HOST[:PORT]`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// For images and signatures over HTTP.
    pub hosts: BTreeMap<String, Auth>,
    /// For Docker registries.
    pub registries: BTreeMap<String, Basic>,
    /// The files that define them.
    sources: BTreeMap<(&'static str, String), PathBuf>,
}

impl Credentials {
    /// Reads the kinds `auth` and `dockerAuth`.
    ///
    /// # Errors
    /// A directory or file cannot be read, a file is no valid configuration, two files of one
    /// directory define the same.
    pub fn load(dirs: &Dirs) -> Result<Self> {
        load(dirs)
    }

    fn claim(&mut self, entry: &Entry, kind: &'static str, host: &str) -> Result<()> {
        let key = (kind, host.to_owned());
        match self.sources.insert(key, entry.path.clone()) {
            None => Ok(()),
            Some(earlier) => Err(entry.duplicate(format!("{kind} for {host:?}"), &earlier)),
        }
    }
}

const AUTH: &str = "auth";
const DOCKER_AUTH: &str = "dockerAuth";

impl Layer for Credentials {
    const DIRECTORY: &'static str = "auth.d";

    fn add(&mut self, entry: &Entry) -> Result<()> {
        match entry.kind() {
            AUTH => {
                let (hosts, auth) = (entry.hosts("domains")?, auth(entry)?);
                for host in hosts {
                    self.claim(entry, AUTH, host)?;
                    self.hosts.insert(host.to_owned(), auth.clone());
                }
            }
            DOCKER_AUTH => {
                let (registries, basic) = (entry.hosts("registries")?, basic(entry)?);
                for registry in registries {
                    self.claim(entry, DOCKER_AUTH, registry)?;
                    self.registries.insert(registry.to_owned(), basic.clone());
                }
            }
            _ => return Err(entry.misplaced(Self::DIRECTORY)),
        }
        Ok(())
    }

    fn supersede(&mut self, higher: Self) {
        self.hosts.extend(higher.hosts);
        self.registries.extend(higher.registries);
        self.sources.extend(higher.sources);
    }
}

fn auth(entry: &Entry) -> Result<Auth> {
    match entry.required("type")? {
        "basic" => basic(entry).map(Auth::Basic),
        "oauth" => Ok(Auth::OAuth {
            token: secret(entry, "credentials.token")?,
        }),
        "aws" => Ok(Auth::Aws {
            access_key_id: entry
                .needed_credential("credentials.accessKeyID")?
                .to_owned(),
            secret_access_key: secret(entry, "credentials.secretAccessKey")?,
            region: entry
                .credential("credentials.awsRegion")?
                .map(str::to_owned),
        }),
        _ => Err(entry.bad("type", "must be basic, oauth or aws")),
    }
}

fn basic(entry: &Entry) -> Result<Basic> {
    Ok(Basic {
        user: entry.needed_credential("credentials.user")?.to_owned(),
        password: secret(entry, "credentials.password")?,
    })
}

fn secret(entry: &Entry, field: &'static str) -> Result<Secret> {
    let text = entry.needed_credential(field)?;
    Ok(Secret(text.to_owned()))
}

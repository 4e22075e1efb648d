//! Images and keys from elsewhere, as the command line asks for them.

mod aliases;
mod archive;
mod dependencies;
mod keys;
mod names;
mod registry;

use std::path::PathBuf;
use std::sync::OnceLock;

use config::{Credentials, Login};
use distribution::Docker;
use fetch::{Client, Downloader, Insecure};

use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::output::progress::Bars;

pub(crate) use aliases::call;
pub(crate) use archive::Wanted;
pub(crate) use keys::{discover as discover_keys, fetch as fetch_keys};

/// Everything that a fetch over the network needs.
pub(crate) struct Net<'a> {
    context: &'a Context,
    pub(crate) client: Client,
    pub(crate) bars: Bars,
    scratch: PathBuf,
    credentials: OnceLock<Credentials>,
}

impl<'a> Net<'a> {
    /// Allows what the user allows for images.
    pub(crate) fn new(context: &'a Context) -> Self {
        Self::with(
            context,
            Insecure {
                http: context.insecure.http,
                tls: context.insecure.tls,
            },
        )
    }

    /// Allows this, and all if the user allows it for keys.
    fn for_keys(context: &'a Context, allowed: Insecure) -> Self {
        let any = context.insecure.pubkey;
        Self::with(
            context,
            Insecure {
                http: any || allowed.http,
                tls: any || allowed.tls,
            },
        )
    }

    fn with(context: &'a Context, insecure: Insecure) -> Self {
        Self {
            context,
            client: Client::new(insecure),
            bars: Bars::new(),
            scratch: context.data_dir.join("cas/tmp"),
            credentials: OnceLock::new(),
        }
    }

    /// Who the user is, as rkt's configuration has it; read when it is asked for.
    fn credentials(&self) -> Result<&Credentials, config::Error> {
        match self.credentials.get() {
            Some(known) => Ok(known),
            None => {
                let loaded = Credentials::load(&self.context.dirs)?;
                Ok(self.credentials.get_or_init(|| loaded))
            }
        }
    }

    /// Gets files from servers.
    pub(crate) fn downloader(&self) -> Result<Downloader<'_>, Failure> {
        let credentials = self
            .credentials()
            .doing("cannot read the configuration of credentials")?;
        Ok(Downloader {
            client: &self.client,
            hosts: &credentials.hosts,
            scratch: &self.scratch,
            progress: &self.bars,
        })
    }

    /// Who the user is to a registry: rkt's configuration first, then Docker's.
    pub(crate) fn login(&self, registry: &str) -> fetch::Result<Option<Login>> {
        let known = &self.credentials()?.registries;
        let other = || Docker::other_names(registry).find_map(|name| known.get(name));
        match known.get(registry).or_else(other) {
            Some(basic) => Ok(Some(Login::Basic(basic.clone()))),
            None => Ok(Login::from_docker(registry)?),
        }
    }
}

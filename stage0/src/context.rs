//! What every command works with: the global options, read once.

use std::path::{Path, PathBuf};

use clap::ArgMatches;
use config::{Dirs, Paths};
use pod::{Pod, Pods};

use crate::cli::flags::Values;
use crate::cli::groups::Groups;
use crate::failure::{Doing, Failure};

/// Security features that `--insecure-options` names (page "rkt Commands").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Insecure {
    /// Signatures of images are not checked.
    pub(crate) image: bool,
    /// Certificates of servers are not checked.
    pub(crate) tls: bool,
    /// Images and keys may come over plain HTTP.
    pub(crate) http: bool,
    /// Keys may come over insecure connections.
    pub(crate) pubkey: bool,
    /// What stage1 is told to leave out.
    pub(crate) run: stage1_abi::InsecureOptions,
}

impl Insecure {
    /// Reads comma-separated lists.
    pub(crate) fn parse<'a>(lists: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut set = Self::default();
        let words = lists.into_iter().flat_map(|list| list.split(','));
        for word in words.map(str::trim) {
            match word {
                "" | "none" | "ondisk" => {}
                "image" => set.image = true,
                "tls" => set.tls = true,
                "http" => set.http = true,
                "pubkey" => set.pubkey = true,
                "capabilities" => set.run.disable_capabilities = true,
                "paths" => set.run.disable_paths = true,
                "seccomp" => set.run.disable_seccomp = true,
                "all-fetch" => set.all_fetch(),
                "all-run" => set.all_run(),
                "all" => {
                    set.all_fetch();
                    set.all_run();
                }
                _ => return Err(format!("unknown value {word:?} for --insecure-options")),
            }
        }
        Ok(set)
    }

    fn all_fetch(&mut self) {
        (self.image, self.tls, self.http, self.pubkey) = (true, true, true, true);
    }

    fn all_run(&mut self) {
        self.run.disable_capabilities = true;
        self.run.disable_paths = true;
        self.run.disable_seccomp = true;
    }
}

/// The global options and what follows from them.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) debug: bool,
    /// Absolute, without symbolic links as far as it exists.
    pub(crate) data_dir: PathBuf,
    pub(crate) local_config: PathBuf,
    /// The configuration directories; the local one is among them.
    pub(crate) dirs: Dirs,
    pub(crate) insecure: Insecure,
    /// Keys of signers that nobody is trusted for yet are taken from their own servers.
    pub(crate) trust_keys_from_https: bool,
    /// Arguments of images, taken out of the command line.
    pub(crate) groups: Groups,
}

impl Context {
    /// Reads the global options.
    pub(crate) fn new(matches: &ArgMatches, groups: Groups) -> Result<Self, Failure> {
        let insecure = matches.strings("insecure-options");
        let insecure =
            Insecure::parse(insecure.iter().map(String::as_str)).map_err(Failure::new)?;
        let local_config = PathBuf::from(matches.str("local-config"));
        let user = matches.str("user-config");
        let dirs = Dirs {
            system: PathBuf::from(matches.str("system-config")),
            local: local_config.clone(),
            user: (!user.is_empty()).then(|| PathBuf::from(user)),
        };
        Ok(Self {
            debug: matches.is("debug"),
            data_dir: data_dir(matches, &dirs)?,
            local_config,
            dirs,
            insecure,
            trust_keys_from_https: matches.is("trust-keys-from-https"),
            groups,
        })
    }

    /// Where stage1 images are installed.
    pub(crate) fn stage1_images(&self) -> Result<PathBuf, Failure> {
        let configured = paths(&self.dirs)?.stage1_images;
        Ok(configured.unwrap_or_else(|| PathBuf::from(STAGE1_IMAGES)))
    }

    /// The pods, for reading.
    pub(crate) fn pods(&self) -> Result<Pods, Failure> {
        Pods::open(&self.data_dir).doing("cannot open the pods")
    }

    /// The pod that a UUID or the beginning of one names.
    pub(crate) fn pod(&self, pods: &Pods, uuid: &str) -> Result<Pod, Failure> {
        pods.find(uuid).doing("problem retrieving pod")
    }

    /// Prints what is done, when `--debug` asks for it.
    pub(crate) fn trace(&self, message: impl FnOnce() -> String) {
        if self.debug {
            crate::output::note(&message());
        }
    }
}

/// Where stage1 images are installed unless the configuration says otherwise.
const STAGE1_IMAGES: &str = "/usr/lib/rkt/stage1-images";

fn paths(dirs: &Dirs) -> Result<Paths, Failure> {
    Paths::load(dirs).doing("cannot read the configuration of paths")
}

/// What the flag says, else the configuration, else the documents.
fn data_dir(matches: &ArgMatches, dirs: &Dirs) -> Result<PathBuf, Failure> {
    let flag = Path::new(matches.str("dir"));
    match matches.given("dir") {
        true => absolute(flag),
        false => absolute(paths(dirs)?.data.as_deref().unwrap_or(flag)),
    }
}

/// An absolute path without symbolic links; a directory that does not exist yet keeps its name.
fn absolute(dir: &Path) -> Result<PathBuf, Failure> {
    match dir.canonicalize() {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::path::absolute(dir)
            .doing_with(|| format!("cannot make the data directory {} absolute", dir.display())),
        Err(error) => {
            Err(error).doing_with(|| format!("cannot resolve the data directory {}", dir.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insecure_options_are_a_set() {
        let set = Insecure::parse(["none", "image,seccomp"]).unwrap();
        assert!(set.image && set.run.disable_seccomp && !set.tls && !set.run.disable_paths);
        let all = Insecure::parse(["all"]).unwrap();
        assert!(all.image && all.tls && all.http && all.pubkey && all.run.disable_paths);
        assert!(Insecure::parse(["imag"]).is_err());
    }
}

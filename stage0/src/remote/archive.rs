//! Archives over HTTP (page "Image Fetching Behavior").

use std::error::Error;
use std::io::Read;
use std::time::SystemTime;

use appc::{ImageManifest, ImageName};
use distribution::{Distribution, Location};
use fetch::{Deferrable, Place, Watched};
use store::{Accepting, ImageId, ImportOptions, Remote};
use trust::Keystore;

use super::{Net, keys};
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::images::{Images, PullPolicy, renders};
use crate::output;
use crate::signed::{self, Witness};

/// What is wanted of an archive.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// The signature's file, if one was named.
    pub(crate) signature: Option<&'a str>,
    /// The name that it must have.
    pub(crate) name: Option<&'a ImageName>,
    /// The ID that it must have.
    pub(crate) id: Option<ImageId>,
}

impl Images {
    /// The image at a URL.
    pub(crate) fn at_url(
        &self,
        context: &Context,
        url: &str,
        policy: PullPolicy,
        wanted: &Wanted<'_>,
    ) -> Result<ImageId, Failure> {
        let known = self.known(&at(url))?;
        match (policy, known) {
            (PullPolicy::Never | PullPolicy::New, Some(id)) => return Ok(id),
            (PullPolicy::Never, None) => {
                return Err(Failure::new(format!("{url} is not in the store")));
            }
            _ => {}
        }
        let signature = format!("{url}.asc");
        let place = Place {
            image: url.to_owned(),
            signature,
        };
        self.download(context, &place, wanted)
    }

    /// Fetches an archive, if it is not what the store has from there.
    pub(super) fn download(
        &self,
        context: &Context,
        place: &Place,
        wanted: &Wanted<'_>,
    ) -> Result<ImageId, Failure> {
        let point = at(&place.image);
        let known = self.store.remote(&point.to_uri());
        let known = known.doing("cannot look into the store")?;
        if let Some(known) = &known
            && known.is_fresh()
        {
            self.must_fit(&known.image, wanted)?;
            return Ok(known.image.clone());
        }
        output::note(&format!("fetching image from {}", place.image));
        let net = Net::new(context);
        let downloader = net.downloader()?;
        let signature = Vouching::begin(context, &downloader, place, wanted.signature)?;
        let etag = known.as_ref().map(|k| k.etag.as_str());
        let problem = "cannot fetch it";
        let mut remote = match downloader.large(&place.image, etag).doing(problem)? {
            None => {
                let mut remote = known.ok_or_else(|| Failure::new(problem))?;
                self.must_fit(&remote.image, wanted)?;
                remote.download_time = SystemTime::now();
                remote
            }
            Some(mut download) => {
                let reader = Reading {
                    watched: downloader.watched(&mut download, "ACI"),
                    signature,
                };
                let options = ImportOptions {
                    render: renders(),
                    latest: wanted
                        .name
                        .is_some_and(|n| n.labels.get("version").is_none()),
                    expected: wanted.id.clone(),
                    ..ImportOptions::default()
                };
                let imported = self.store.import_if(reader, &options, |read| {
                    wanted.fits(read.manifest)?;
                    Reading::vouch(read, context, &downloader, place)
                });
                let remote = imported.as_ref().ok().map(|info| Remote {
                    url: point.to_uri(),
                    signature_url: place.signature.clone(),
                    etag: download.etag.clone(),
                    image: info.id.clone(),
                    max_age: download.max_age,
                    download_time: SystemTime::now(),
                });
                // Only what a server broke off is worth keeping.
                if !matches!(&imported, Err(error) if error.is_source()) {
                    download.finish();
                }
                imported.doing(problem)?;
                remote.ok_or_else(|| Failure::new(problem))?
            }
        };
        remote.signature_url.clone_from(&place.signature);
        self.store
            .set_remote(&remote)
            .doing("cannot note where the image came from")?;
        Ok(remote.image)
    }
}

impl Images {
    /// Checks an image of the store that is at the place where another one may have been asked for.
    fn must_fit(&self, id: &ImageId, wanted: &Wanted<'_>) -> Result<(), Failure> {
        let problem = || format!("image {id} cannot be used");
        let manifest = self.store.manifest(id).doing_with(problem)?;
        if let Some(other) = wanted.id.as_ref().filter(|wanted| !wanted.same_as(id)) {
            return Err(Failure::new(format!(
                "the image is {id}, not {other} as asked for"
            )));
        }
        wanted
            .fits(&manifest)
            .map_err(|reason| Failure::new(format!("{}: {reason}", problem())))
    }
}

fn at(url: &str) -> Distribution {
    Distribution::AciArchive(Location::Url(url.to_owned()))
}

impl Wanted<'_> {
    /// Whether an image is the one that was asked for (specification, discovery.md, "Validation").
    fn fits(&self, manifest: &ImageManifest) -> Result<(), store::Refusal> {
        let Some(wanted) = self.name else {
            return Ok(());
        };
        if wanted.name != manifest.name {
            return Err(format!(
                "it is {:?}, not {:?} as asked for",
                manifest.name.as_str(),
                wanted.name.as_str()
            )
            .into());
        }
        let differs = wanted
            .labels
            .iter()
            .find(|label| manifest.labels.get(&label.name) != Some(&label.value));
        match differs {
            None => Ok(()),
            Some(label) => Err(format!(
                "its label {:?} is {:?}, not {:?} as asked for",
                label.name.as_str(),
                manifest.labels.get(&label.name).unwrap_or_default(),
                label.value
            )
            .into()),
        }
    }
}

/// What will vouch for an archive that is being read.
enum Vouching {
    /// Nothing has to.
    Needless,
    /// A signature that is there.
    Signature(Box<Witness>),
    /// One that the server gives when the image was fetched.
    Deferred,
}

impl Vouching {
    fn begin(
        context: &Context,
        downloader: &fetch::Downloader<'_>,
        place: &Place,
        file: Option<&str>,
    ) -> Result<Self, Failure> {
        if context.insecure.image {
            output::note("warning: image signature verification has been disabled");
            return Ok(Self::Needless);
        }
        if let Some(file) = file {
            let witness = signed::read_signature(file.as_ref())?;
            return Ok(Self::Signature(Box::new(witness)));
        }
        let url = &place.signature;
        output::note(&format!("downloading signature from {url}"));
        let problem =
            || "cannot get the signature (--insecure-options=image does without)".to_owned();
        let got = downloader.deferrable(url, signed::LIMIT as usize);
        match got.doing_with(problem)? {
            Deferrable::Later => Ok(Self::Deferred),
            Deferrable::Now(bytes) => {
                let witness = Witness::parse(&bytes);
                let witness = witness.doing_with(|| format!("cannot use the signature {url}"))?;
                Ok(Self::Signature(Box::new(witness)))
            }
        }
    }
}

/// An archive that is read once: what the store reads is what was signed.
struct Reading<'d> {
    watched: Watched<'d>,
    signature: Vouching,
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.watched.read(buffer)?;
        if let Vouching::Signature(witness) = &mut self.signature {
            witness.see(buffer.get(..read).unwrap_or_default());
        }
        Ok(read)
    }
}

impl Reading<'_> {
    /// Says whether the archive may be used as the image of this name.
    fn vouch(
        read: Accepting<'_, Self>,
        context: &Context,
        downloader: &fetch::Downloader<'_>,
        place: &Place,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        // What stands behind the archive was signed too.
        let Accepting {
            mut source,
            manifest,
            hash,
        } = read;
        std::io::copy(&mut source, &mut std::io::sink())?;
        let witness = match source.signature {
            Vouching::Needless => return Ok(()),
            Vouching::Signature(witness) => *witness,
            Vouching::Deferred => {
                let url = &place.signature;
                let Deferrable::Now(bytes) = downloader.deferrable(url, signed::LIMIT as usize)?
                else {
                    return Err(format!("the signature {url} is still not there").into());
                };
                let mut witness = Witness::parse(&bytes)?;
                let mut kept = source.watched.again()?;
                let mut buffer = vec![0; 256 << 10];
                while witness.hashing.wants_bytes() {
                    match kept.read(&mut buffer)? {
                        0 => break,
                        read => witness.see(&buffer[..read]),
                    }
                }
                witness
            }
        };
        let keystore = Keystore::new(&context.dirs.system, &context.dirs.local);
        if context.trust_keys_from_https && keystore.keys_for(&manifest.name)?.is_empty() {
            keys::trust_discovered(context, &keystore, &manifest.name)?;
        }
        let keys = keystore.keys_for(&manifest.name)?;
        let signer = witness.hashing.verify(&keys, hash)?;
        signed::tell(&signer);
        Ok(())
    }
}

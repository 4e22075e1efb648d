//! Images of registries.

use std::time::{Duration, SystemTime};

use distribution::{Distribution, Docker};
use fetch::{Found, Repository};
use oci::Digest;
use store::{ImageId, Remote};

use super::Net;

use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::images::{Images, PullPolicy, renders};
use crate::output;
use crate::signed;

impl Images {
    /// An image of a registry (page "Image Fetching Behavior").
    pub(crate) fn of_registry(
        &self,
        context: &Context,
        image: &Docker,
        policy: PullPolicy,
    ) -> Result<ImageId, Failure> {
        let point = Distribution::Docker(image.clone());
        if policy != PullPolicy::Update
            && let Some(id) = self.known(&point)?
        {
            return Ok(id);
        }
        if policy == PullPolicy::Never {
            return Err(Failure::new(format!("{point} is not in the store")));
        }
        output::note(&format!("fetching image from {point}"));
        let net = Net::new(context);
        let find = |registry: &str| net.login(registry);
        let repository = Repository::new(&net.client, image, &find, &net.bars);
        let found = repository.find(&self.store).doing("cannot fetch it")?;
        let name = format!("{}/{}", image.registry, image.repository);
        let vouch = |digests: &[Digest]| {
            signed::vouch_oci(
                context,
                &point.to_string(),
                Some(&name),
                digests,
                &repository,
            )
        };
        let id = match found {
            Found::Stored(id, digests) => {
                vouch(&digests)?;
                id
            }
            Found::Image(found) => {
                vouch(&found.digests())?;
                let latest = image.tag.as_deref() == Some("latest");
                let info = found.import(&self.store, renders(), latest);
                info.doing("cannot fetch it")?.id
            }
        };
        self.remember(&point, &id)?;
        Ok(id)
    }

    /// The image that a distribution point had when it was last asked.
    pub(crate) fn known(&self, point: &Distribution) -> Result<Option<ImageId>, Failure> {
        let known = self.store.remote(&point.to_uri());
        let known = known.doing("cannot look into the store")?;
        Ok(known.map(|remote| remote.image))
    }

    fn remember(&self, point: &Distribution, id: &ImageId) -> Result<(), Failure> {
        let remote = Remote {
            url: point.to_uri(),
            signature_url: String::new(),
            etag: String::new(),
            image: id.clone(),
            max_age: Duration::ZERO,
            download_time: SystemTime::now(),
        };
        self.store
            .set_remote(&remote)
            .doing("cannot note where the image came from")
    }
}

//! Images by name: found in the store, or discovered (specification, discovery.md).

use appc::ImageName;
use store::ImageId;

use super::Net;
use super::archive::Wanted;
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::images::{Images, PullPolicy};
use crate::output;

impl Images {
    /// The image of a name.
    pub(crate) fn of_name(
        &self,
        context: &Context,
        name: &ImageName,
        policy: PullPolicy,
        signature: Option<&str>,
    ) -> Result<ImageId, Failure> {
        if policy != PullPolicy::Update
            && let Some(id) = self.stored_as(name)?
        {
            return Ok(id);
        }
        if policy == PullPolicy::Never {
            return Err(Failure::new(format!(
                "no image named \"{name}\" in the store"
            )));
        }
        let wanted = Wanted {
            signature,
            name: Some(name),
            id: None,
        };
        self.discover(context, &wanted, name)
    }

    /// Finds out where an image is, and fetches it from there.
    pub(super) fn discover(
        &self,
        context: &Context,
        wanted: &Wanted<'_>,
        name: &ImageName,
    ) -> Result<ImageId, Failure> {
        output::note(&format!("searching for app image {name}"));
        let net = Net::new(context);
        let places = net.downloader()?.discover(&name.name, &name.labels);
        let places = places.doing_with(|| format!("no image named \"{name}\" in the store"))?;
        let mut failed: Vec<Failure> = Vec::new();
        // Mirrors are tried in their order.
        for place in &places {
            match self.download(context, place, wanted) {
                Ok(id) => return Ok(id),
                Err(failure) => failed.push(failure),
            }
        }
        // Why one does not have it says nothing about the next one's reason.
        Err(match failed.len() {
            0 => Failure::new(format!("cannot discover \"{name}\"")),
            1 => failed.swap_remove(0),
            _ => {
                let reasons: Vec<String> = failed.iter().map(Failure::brief).collect();
                Failure::new(reasons.join("; "))
            }
        })
    }
}

//! Images from elsewhere, as the command line asks for them.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use config::{Credentials, Login};
use distribution::{Distribution, Docker};
use fetch::{Client, Found, Insecure, Repository};
use store::{ImageId, Remote};

use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::images::{Images, PullPolicy, renders};
use crate::output;
use crate::output::progress::Bars;
use crate::signed;

/// A client that allows what the user allows.
pub(crate) fn client(context: &Context) -> Client {
    Client::new(Insecure {
        http: context.insecure.http,
        tls: context.insecure.tls,
    })
}

impl Images {
    /// An image of a registry (page "Image Fetching Behavior").
    pub(crate) fn from_registry(
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
        signed::needless(context, &point.to_string())?;
        output::note(&format!("fetching image from {point}"));
        let (client, bars) = (client(context), Bars::new());
        let logins = Logins::new(context);
        let find = |registry: &str| logins.find(registry);
        let repository = Repository::new(&client, image, &find, &bars);
        let found = repository.find(&self.store).doing("cannot fetch it")?;
        let id = match found {
            Found::Stored(id) => id,
            Found::Image(found) => {
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

/// Who the user is to registries: rkt's configuration first, then Docker's. Read when asked for.
struct Logins<'a> {
    context: &'a Context,
    own: OnceLock<Credentials>,
}

impl<'a> Logins<'a> {
    fn new(context: &'a Context) -> Self {
        Self {
            context,
            own: OnceLock::new(),
        }
    }

    fn find(&self, registry: &str) -> fetch::Result<Option<Login>> {
        let own = match self.own.get() {
            Some(own) => own,
            None => {
                let loaded = Credentials::load(&self.context.dirs)?;
                self.own.get_or_init(|| loaded)
            }
        };
        match own.registries.get(registry) {
            Some(basic) => Ok(Some(Login::Basic(basic.clone()))),
            None => Ok(Login::from_docker(registry)?),
        }
    }
}

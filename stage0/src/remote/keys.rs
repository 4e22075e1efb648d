//! Keys from elsewhere (page "rkt trust").

use appc::AcIdentifier;
use fetch::Insecure;
use trust::{Key, Keystore, Scope};

use super::Net;
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::output;

/// No key file is larger.
const LIMIT: usize = 1 << 20;

/// The keys at a URL.
pub(crate) fn fetch(context: &Context, url: &str, allowed: Insecure) -> Result<Vec<u8>, Failure> {
    let net = Net::for_keys(context, allowed);
    let bytes = net.downloader()?.small(url, LIMIT);
    bytes.doing_with(|| format!("error accessing the key {url:?}"))
}

/// Where the keys of a name are.
pub(crate) fn discover(
    context: &Context,
    name: &AcIdentifier,
    allowed: Insecure,
) -> Result<Vec<String>, Failure> {
    let net = Net::for_keys(context, allowed);
    net.downloader()?
        .discover_keys(name)
        .doing("Error determining key location: --prefix meta discovery error")
}

/// Trusts the keys that a name's own server gives (`--trust-keys-from-https`).
pub(super) fn trust_discovered(
    context: &Context,
    keystore: &Keystore,
    name: &AcIdentifier,
) -> Result<(), Failure> {
    let scope = Scope::Prefix(name.clone());
    // That the server is the right one is all that vouches for the key.
    let nothing = Insecure::default();
    for url in discover(context, name, nothing)? {
        if !url.starts_with("https://") && !context.insecure.pubkey {
            continue;
        }
        let keys = Key::parse_all(&fetch(context, &url, nothing)?);
        for key in keys.doing_with(|| format!("error accessing the key {url:?}"))? {
            let path = keystore.trust(&key, &scope);
            let path = path.doing("cannot add the key")?;
            output::note(&format!(
                "trusting {url:?} for prefix {:?} without fingerprint review: {}",
                name.as_str(),
                path.display()
            ));
        }
    }
    Ok(())
}

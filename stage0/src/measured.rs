//! The measurement of a pod before it runs, where the host has something to measure with.

use std::ffi::OsString;

use appc::PodManifest;
use config::{Measuring, Tpm};
use measure::{Measurement, Module};
use pod::Pod;
use stage1_abi::path;
use store::Store;

use crate::context::Context;
use crate::failure::{Doing, Failure};

/// Measures a pod that is about to be started, or to get an app, with these arguments for stage1.
/// Nothing happens where nothing is there to measure with.
pub(crate) fn before_start(
    context: &Context,
    pod: &Pod,
    arguments: &[OsString],
) -> Result<(), Failure> {
    let problem = || {
        format!(
            "cannot measure pod {:?}, which must not run then",
            pod.uuid()
        )
    };
    let Some(module) = module(context).doing_with(problem)? else {
        return Ok(());
    };
    let manifest = pod.dir().read(path::POD_MANIFEST).doing_with(problem)?;
    let trees = trees(context, pod, &manifest).doing_with(problem)?;
    let event = measure::description(&Measurement {
        uuid: pod.uuid(),
        trees: &trees,
        manifest: &manifest,
        arguments,
    });
    context.trace(|| format!("Measuring {event}"));
    measure::measure(&module, &context.data_dir, &event).doing_with(problem)
}

/// What the configuration names, or the host has. An ordinary user's pods are not the host's
/// affair, and the device is not the user's.
fn module(context: &Context) -> Result<Option<Module>, config::Error> {
    let tpm = Tpm::load(&context.dirs)?;
    Ok(match tpm.measure.unwrap_or(Measuring::Auto) {
        Measuring::Auto => Module::of_host().filter(|_| sandbox::ids::is_hosts()),
        Measuring::Device => Some(Module::Device(measure::DEVICE.into())),
        Measuring::Tpmd => {
            let address = tpm.address.unwrap_or_else(|| measure::TPMD.to_owned());
            Some(Module::Tpmd(address))
        }
        Measuring::None => None,
    })
}

/// The hashes that were recorded of stage1's tree and the apps'.
fn trees(
    context: &Context,
    pod: &Pod,
    manifest: &[u8],
) -> Result<Vec<(String, Vec<String>)>, Failure> {
    let store = Store::open(&context.data_dir);
    let problem = "cannot read the hashes of the pod's trees";
    let hashes = |name: &str, tree: Option<String>| {
        let tree = tree.filter(|tree| !tree.is_empty() && !tree.contains('/'));
        let tree = tree.ok_or_else(|| Failure::new(format!("{name:?} has no tree")))?;
        let hashes = store.recorded_checksums(&tree).doing(problem)?;
        Ok::<_, Failure>((name.to_owned(), hashes))
    };
    let manifest = PodManifest::parse(manifest).doing(problem)?;
    let mut all = vec![hashes("stage1", pod.stage1_tree().doing(problem)?)?];
    for app in &manifest.apps {
        all.push(hashes(&app.name, pod.app_tree(&app.name).doing(problem)?)?);
    }
    Ok(all)
}

//! The journal of a pod's networks: their configurations in the pod's directory, there before
//! anything is touched and until the collector has seen everything gone.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::Plan;
use super::planned::MOST_NETWORKS;
use crate::config::Network;
use crate::error::{Error, Result};
use crate::info::{self, NetInfo};

/// In the pod's directory: the configurations of its networks.
pub(super) const CONF_DIR: &str = "net";

/// Its name once the networks are down, until the collector has seen the interfaces gone.
pub(super) const DOWN_DIR: &str = "net.down";

/// Copies the configurations into the pod's directory.
pub(super) fn write(plan: &Plan, pod_dir: &Path) -> Result<()> {
    let directory = pod_dir.join(CONF_DIR);
    match fs::create_dir(&directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(Error::io("make directory", directory)(error));
        }
        _ => {}
    }
    for planned in &plan.networks {
        let path = directory.join(planned.journal_name());
        fs::write(&path, &planned.network.text).map_err(Error::io("write", path))?;
    }
    // Outside plugins want their arguments again for the way down.
    if plan
        .networks
        .iter()
        .any(|planned| planned.drivers.iter().any(|driver| driver.is_outside()))
    {
        let infos: Vec<NetInfo> = plan
            .networks
            .iter()
            .map(|planned| planned.info(None))
            .collect();
        info::write(pod_dir, &infos)?;
    }
    Ok(())
}

/// The networks in the pod's directory; `None` when nothing is left to tear down. A file that was
/// being written when rkt was killed is that of a network not begun.
pub(super) fn read(directory: &Path, pod_dir: &Path) -> Result<Option<Vec<(usize, Network)>>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(Error::io("read", directory))?,
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    let mut networks = Vec::new();
    for path in paths.into_iter().take(MOST_NETWORKS) {
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let index = name
            .split_once('-')
            .and_then(|(index, _)| index.parse().ok());
        match (index, Network::parse(&path, &text)) {
            (Some(index), Ok(network)) => networks.push((index, network)),
            _ if info::read(pod_dir).is_ok_and(|infos| infos.is_empty()) => {}
            (_, Err(error)) => return Err(error),
            (None, _) => {}
        }
    }
    Ok(Some(networks))
}

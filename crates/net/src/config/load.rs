//! Finding configurations in `net.d`.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::builtin;
use super::network::Network;
use crate::error::{Error, Result};

/// Bytes of one configuration file that are read.
const MOST_BYTES: u64 = 1 << 20;

/// Files in the directory that are looked at.
const MOST_FILES: usize = 10_000;

/// Networks that pods can be in.
#[derive(Debug)]
pub struct Available {
    /// In the order of their files' names.
    pub networks: Vec<Network>,
    /// What was passed over, and why.
    pub warnings: Vec<String>,
}

/// Every configured network: those in `local_config/net.d`, then the built-in ones that no file
/// overrides by name. Of several files with a network of the same name the first counts.
///
/// # Errors
/// The first file that cannot be read or understood.
pub fn available(local_config: &Path) -> Result<Available> {
    let mut networks: Vec<Network> = Vec::new();
    let mut warnings = Vec::new();
    for network in user_networks(&local_config.join("net.d"))? {
        match networks.iter().find(|other| other.name == network.name) {
            None => networks.push(network),
            Some(other) => warnings.push(format!(
                "network {:?} is already defined in {:?}, ignoring {:?}",
                other.name, other.path, network.path
            )),
        }
    }
    for (file, text) in builtin::NETWORKS {
        let network = Network::parse(Path::new(file), text)?;
        if !networks.iter().any(|other| other.name == network.name) {
            networks.push(Network {
                builtin: true,
                ..network
            });
        }
    }
    networks.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    Ok(Available { networks, warnings })
}

fn user_networks(directory: &Path) -> Result<Vec<Network>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read", directory))?,
    };
    let mut paths = Vec::new();
    for entry in entries.take(MOST_FILES) {
        let path = entry.map_err(Error::io("read", directory))?.path();
        if path
            .extension()
            .is_some_and(|ending| ending == "conf" || ending == "conflist")
        {
            paths.push(path);
        }
    }
    paths.sort();
    let mut networks = Vec::new();
    for path in paths {
        let mut text = String::new();
        let file = fs::File::open(&path).map_err(Error::io("read", &path))?;
        if !file.metadata().map_err(Error::io("read", &path))?.is_file() {
            continue;
        }
        file.take(MOST_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(Error::io("read", &path))?;
        if text.len() as u64 > MOST_BYTES {
            let problem = format!("is larger than {MOST_BYTES} bytes");
            return Err(Error::File {
                file: path,
                problem,
            });
        }
        networks.push(Network::parse(&path, &text)?);
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn user_files_override_builtin_ones_and_order_by_file_name() {
        let dir = TempDir::new();
        let names = |dir: &Path| -> Vec<String> {
            available(dir)
                .unwrap()
                .networks
                .into_iter()
                .map(|n| n.name)
                .collect()
        };
        assert_eq!(names(dir.path()), ["default-restricted", "default"]);
        let net_d = dir.path().join("net.d");
        fs::create_dir(&net_d).unwrap();
        fs::write(net_d.join("20-b.conf"), r#"{"name":"b","type":"bridge"}"#).unwrap();
        fs::write(
            net_d.join("10-x.conf"),
            r#"{"name":"default","type":"bridge"}"#,
        )
        .unwrap();
        fs::write(net_d.join("README"), "no JSON").unwrap();
        assert_eq!(names(dir.path()), ["default", "b", "default-restricted"]);
        fs::write(net_d.join("30-b.conf"), r#"{"name":"b","type":"ptp"}"#).unwrap();
        let twice = available(dir.path()).unwrap();
        let [warning] = twice.warnings.as_slice() else {
            panic!("{:?}", twice.warnings);
        };
        assert!(warning.contains("30-b.conf") && warning.contains("20-b.conf"));
        assert_eq!(names(dir.path()), ["default", "b", "default-restricted"]);
    }

    #[test]
    fn a_broken_file_is_named() {
        let dir = TempDir::new();
        let net_d = dir.path().join("net.d");
        fs::create_dir(&net_d).unwrap();
        fs::write(net_d.join("10-bad.conf"), "{").unwrap();
        assert!(
            available(dir.path())
                .unwrap_err()
                .to_string()
                .contains("10-bad.conf")
        );
        fs::write(net_d.join("10-bad.conf"), vec![b' '; (1 << 20) + 1]).unwrap();
        assert!(
            available(dir.path())
                .unwrap_err()
                .to_string()
                .contains("larger")
        );
    }
}

//! The `--net` option: which networks a pod joins.

use crate::config::Network;
use crate::error::{Error, Result};

/// Length of the option that is read.
const MOST_BYTES: usize = 64 * 1024;

/// What `--net` said, all its uses together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetList {
    /// The host's network.
    Host,
    /// Only the loopback interface.
    None,
    /// These networks.
    Networks {
        /// Every configured network (`all`).
        all: bool,
        /// Networks by name, with their arguments (also those of networks that `all` selects).
        named: Vec<Selected>,
    },
}

/// CNI's arguments, in order: names and values.
pub(crate) type Args = Vec<(String, String)>;

/// A network by name with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// The network's name.
    pub name: String,
    /// `IP=10.0.0.2`, in order: CNI's arguments. Several addresses (`IP=10.0.0.2;IP=fd00::2`)
    /// are one argument with commas.
    pub args: Vec<(String, String)>,
}

impl NetList {
    /// Reads the option; several uses are joined with commas. Empty means `default`.
    ///
    /// # Errors
    /// [`Error::Selection`]: reserved names with others, a name twice, arguments that are none.
    pub fn parse(option: &str) -> Result<Self> {
        let wrong = |problem: String| Error::Selection {
            option: option.chars().take(200).collect(),
            problem,
        };
        if option.len() > MOST_BYTES {
            return Err(wrong(format!("longer than {MOST_BYTES} bytes")));
        }
        let mut named: Vec<Selected> = Vec::new();
        for part in option.split(',').filter(|part| !part.is_empty()) {
            let selected = Selected::parse(part).map_err(wrong)?;
            if named.iter().any(|other| other.name == selected.name) {
                return Err(wrong(format!("network {:?} is named twice", selected.name)));
            }
            named.push(selected);
        }
        if named.is_empty() {
            named.push(Selected {
                name: "default".to_owned(),
                args: Vec::new(),
            });
        }
        let has = |name: &str| named.iter().any(|selected| selected.name == name);
        for (name, alone) in [("host", Self::Host), ("none", Self::None)] {
            if has(name) {
                return if named.len() == 1 {
                    Ok(alone)
                } else {
                    Err(wrong(format!(
                        "{name:?} cannot be combined with other networks"
                    )))
                };
            }
        }
        let all = has("all");
        named.retain(|selected| selected.name != "all");
        Ok(Self::Networks { all, named })
    }

    /// Whether the network called `name` is among those selected.
    #[must_use]
    pub fn selects(&self, name: &str) -> bool {
        match self {
            Self::Host | Self::None => false,
            Self::Networks { all, named } => *all || named.iter().any(|s| s.name == name),
        }
    }

    /// Pairs the selected networks with their arguments.
    ///
    /// # Errors
    /// [`Error::NotFound`] when one of the names has no configuration.
    pub(crate) fn pick(
        &self,
        available: Vec<Network>,
        directory: &std::path::Path,
    ) -> Result<Vec<(Network, Args)>> {
        let Self::Networks { named, .. } = self else {
            return Ok(Vec::new());
        };
        if let Some(missing) = named
            .iter()
            .find(|s| !available.iter().any(|n| n.name == s.name))
        {
            return Err(Error::NotFound {
                name: missing.name.clone(),
                directory: directory.join("net.d"),
            });
        }
        let picked = available
            .into_iter()
            .filter(|network| self.selects(&network.name));
        Ok(picked
            .map(|network| {
                let selected = named.iter().find(|selected| selected.name == network.name);
                (
                    network,
                    selected
                        .map(|selected| selected.args.clone())
                        .unwrap_or_default(),
                )
            })
            .collect())
    }
}

impl Selected {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, args) = text.split_once(':').unwrap_or((text, ""));
        if name.is_empty() {
            return Err("a network's name is missing".to_owned());
        }
        if matches!(name, "host" | "none" | "all") && !args.is_empty() {
            return Err(format!("{name:?} takes no arguments"));
        }
        let mut parsed: Vec<(String, String)> = Vec::new();
        for arg in args.split(';').filter(|arg| !arg.is_empty()) {
            let (key, value) = arg
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| format!("{arg:?} is not of the form NAME=VALUE"))?;
            match parsed.iter_mut().find(|(other, _)| other == key) {
                None => parsed.push((key.to_owned(), value.to_owned())),
                // CNI's list of addresses has commas, which separate networks here.
                Some((_, addresses)) if key == "IP" => {
                    addresses.push(',');
                    addresses.push_str(value);
                }
                Some(_) => {
                    return Err(format!(
                        "argument {key:?} of network {name:?} is given twice"
                    ));
                }
            }
        }
        Ok(Self {
            name: name.to_owned(),
            args: parsed,
        })
    }
}

/// The arguments as CNI passes them: `IP=10.0.0.2;X=y`.
#[must_use]
pub(crate) fn join_args(args: &[(String, String)]) -> String {
    let parts: Vec<String> = args
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    parts.join(";")
}

/// Reads CNI's form of arguments; parts that are not of the form are left out.
pub(crate) fn split_args(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(';').filter_map(|part| part.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(option: &str) -> Vec<String> {
        match NetList::parse(option).unwrap() {
            NetList::Networks { named, .. } => named.into_iter().map(|s| s.name).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_documented_forms() {
        assert_eq!(NetList::parse("host").unwrap(), NetList::Host);
        assert_eq!(NetList::parse("none").unwrap(), NetList::None);
        assert_eq!(names(""), ["default"]);
        assert_eq!(names("default,net1,net2"), ["default", "net1", "net2"]);
        let list = NetList::parse("all,net1:IP=1.2.3.4;A=b,net2:IP=1.2.4.5").unwrap();
        let NetList::Networks { all: true, named } = &list else {
            panic!("{list:?}")
        };
        assert_eq!(join_args(&named[0].args), "IP=1.2.3.4;A=b");
        assert!(list.selects("anything"));
        let list = NetList::parse("dual:IP=10.0.0.2;IP=fd00::2").unwrap();
        let NetList::Networks { named, .. } = &list else {
            panic!("{list:?}")
        };
        assert_eq!(join_args(&named[0].args), "IP=10.0.0.2,fd00::2");
    }

    #[test]
    fn nonsense_is_refused() {
        for option in [
            "host,none",
            "host,x",
            "none,x",
            "a,a",
            "a:b",
            "a:=b",
            ":x=y",
            "all:x=y",
            "a:x=1;x=2",
        ] {
            assert!(NetList::parse(option).is_err(), "{option}");
        }
    }
}

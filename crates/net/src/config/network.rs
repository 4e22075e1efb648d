//! One network configuration: a `.conf` with one plugin or a `.conflist` with a chain of them
//! (CNI specification, "Network configuration format").

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Fields;
use crate::error::{Error, Result};

/// The versions of the CNI specification that are understood, oldest first.
pub(crate) const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

/// The version of a configuration that names none.
pub(crate) const OLDEST: &str = "0.1.0";

/// Plugins in one chain.
const MOST_PLUGINS: usize = 64;

/// Length of a network's name, which becomes a directory's.
const MOST_NAME: usize = 128;

/// A network that pods can join.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The version of the CNI specification that it is written for.
    pub cni_version: String,
    /// The file's name, which orders networks and their interfaces.
    pub file_name: String,
    /// Where the file is; for a built-in network its name alone.
    pub path: PathBuf,
    /// Whether rkt brought it along.
    pub builtin: bool,
    /// Whether a check must not be made (`disableCheck`).
    pub disable_check: bool,
    /// Whether it was written as a list.
    pub is_list: bool,
    /// Its plugins, in order; at least one.
    pub plugins: Vec<PluginConf>,
    /// The file's text, which is kept with the pod for its tear-down.
    pub text: String,
}

/// The configuration of one plugin of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConf {
    /// The plugin's type: a built-in one's name, or a file in the plugin directories.
    pub kind: String,
    /// All its fields.
    pub fields: Map<String, Value>,
}

impl Network {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`Error::File`] when it is not a JSON object, [`Error::Field`] for a field.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let file_name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let wrong = |problem: String| Error::File {
            file: path.to_owned(),
            problem,
        };
        let value: Value = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
        let Value::Object(map) = value else {
            return Err(wrong("not a JSON object".to_owned()));
        };
        let fields = Fields::new(path, "", &map);
        let name = fields.need_text("name")?;
        check_name(name).map_err(|problem| fields.error("name", problem))?;
        let cni_version = version(&fields)?;
        let disable_check = fields.flag("disableCheck")?;
        // The file's ending says which of the two it is; the reference goes by it, too.
        let is_list = file_name.ends_with(".conflist");
        let plugins = if is_list {
            list(&fields)?
        } else {
            vec![plugin(&fields, &map)?]
        };
        Ok(Self {
            name: name.to_owned(),
            cni_version,
            file_name,
            path: path.to_owned(),
            builtin: false,
            disable_check,
            is_list,
            plugins,
            text: text.to_owned(),
        })
    }

    /// The known versions of the specification that the configuration suits, oldest first.
    pub(crate) fn versions(&self) -> Result<Vec<&'static str>> {
        let map = self.map()?;
        suited(&Fields::new(&self.path, "", &map))
    }

    /// Makes it a configuration for one of its versions alone, also in its text.
    pub(crate) fn settle(&mut self, version: &str) -> Result<()> {
        let mut map = self.map()?;
        map.remove("cniVersions");
        map.insert("cniVersion".to_owned(), version.into());
        self.text = Value::Object(map).to_string();
        version.clone_into(&mut self.cni_version);
        Ok(())
    }

    fn map(&self) -> Result<Map<String, Value>> {
        serde_json::from_str(&self.text).map_err(|error| Error::File {
            file: self.path.clone(),
            problem: error.to_string(),
        })
    }

    /// The fields of the plugin at `index`, for reading with errors that say where.
    pub(crate) fn fields(&self, index: usize) -> Option<Fields<'_>> {
        let at = if self.is_list {
            format!("plugins[{index}]")
        } else {
            String::new()
        };
        self.plugins
            .get(index)
            .map(|plugin| Fields::new(&self.path, &at, &plugin.fields))
    }
}

/// The newest known version that the configuration suits.
fn version(fields: &Fields<'_>) -> Result<String> {
    if let Some(newest) = suited(fields)?.last() {
        return Ok((*newest).to_owned());
    }
    let known = VERSIONS.join(", ");
    let named = fields.text("cniVersion")?.unwrap_or_default();
    Err(fields.error("cniVersion", format!("{named:?} is not one of {known}")))
}

/// The known versions that a configuration suits: that of `cniVersion` and, since 1.1, those of
/// `cniVersions`. Oldest first.
fn suited(fields: &Fields<'_>) -> Result<Vec<&'static str>> {
    let listed = fields.texts("cniVersions")?;
    let named = fields
        .text("cniVersion")?
        .filter(|version| !version.is_empty());
    if named.is_none() && listed.is_empty() {
        return Ok(vec![OLDEST]);
    }
    let suits = |known: &&str| named == Some(*known) || listed.iter().any(|other| other == *known);
    Ok(VERSIONS.into_iter().filter(suits).collect())
}

fn list(fields: &Fields<'_>) -> Result<Vec<PluginConf>> {
    let plugins = fields.objects("plugins")?;
    if plugins.is_empty() {
        return Err(fields.error("plugins", "must name at least one plugin"));
    }
    if plugins.len() > MOST_PLUGINS {
        return Err(fields.error("plugins", format!("has more than {MOST_PLUGINS} entries")));
    }
    let objects = fields.list("plugins")?.iter().filter_map(Value::as_object);
    plugins
        .iter()
        .zip(objects)
        .map(|(fields, map)| plugin(fields, map))
        .collect()
}

fn plugin(fields: &Fields<'_>, map: &Map<String, Value>) -> Result<PluginConf> {
    let kind = fields.need_text("type")?;
    check_kind(kind).map_err(|problem| fields.error("type", problem))?;
    Ok(PluginConf {
        kind: kind.to_owned(),
        fields: map.clone(),
    })
}

/// A network's name (CNI specification: letters, digits, `_`, `.`, `-`, beginning with a letter
/// or digit).
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if name.len() > MOST_NAME {
        return Err(format!("is longer than {MOST_NAME} bytes"));
    }
    if !name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric())
        || !name.bytes().all(allowed)
    {
        return Err(format!(
            "{name:?} must begin with a letter or digit and have only those and _ . - in it"
        ));
    }
    Ok(())
}

/// A plugin's type is a file's name, never a path.
fn check_kind(kind: &str) -> Result<(), String> {
    if kind.contains(['/', '\0']) || matches!(kind, "." | "..") || kind.len() > MOST_NAME {
        return Err(format!("{kind:?} is not the name of a plugin"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str) -> Result<Network> {
        Network::parse(Path::new(name), text)
    }

    #[test]
    fn a_single_plugin_and_a_chain() {
        let one = parse("10-a.conf", r#"{"name":"a","type":"bridge","mtu":1400}"#).unwrap();
        assert_eq!((one.cni_version.as_str(), one.plugins.len()), ("0.1.0", 1));
        assert_eq!(one.plugins[0].kind, "bridge");
        let text =
            r#"{"cniVersion":"1.0.0","name":"b","plugins":[{"type":"ptp"},{"type":"tuning"}]}"#;
        let list = parse("20-b.conflist", text).unwrap();
        assert_eq!(list.plugins[1].kind, "tuning");
        assert_eq!(list.cni_version, "1.0.0");
    }

    #[test]
    fn the_newest_of_the_versions_that_are_known() {
        let version = |fields: &str| {
            let text = format!(r#"{{"name":"x","type":"ptp"{fields}}}"#);
            parse("x.conf", &text).map(|network| network.cni_version)
        };
        for (fields, wanted) in [
            ("", "0.1.0"),
            (r#","cniVersion":"0.3.1""#, "0.3.1"),
            (r#","cniVersion":"1.0.0","cniVersions":["0.4.0"]"#, "1.0.0"),
            (
                r#","cniVersion":"0.4.0","cniVersions":["0.3.1","1.1.0","9.0.0"]"#,
                "1.1.0",
            ),
            (r#","cniVersions":["0.4.0","1.0.0"]"#, "1.0.0"),
        ] {
            assert_eq!(version(fields).unwrap(), wanted, "{fields}");
        }
        let error = version(r#","cniVersions":["9.0.0"]"#).unwrap_err();
        assert!(error.to_string().contains("cniVersion"), "{error}");
        let text = r#"{"name":"x","type":"ptp","cniVersions":["0.4.0","1.1.0"]}"#;
        let mut network = parse("x.conf", text).unwrap();
        assert_eq!(network.versions().unwrap(), ["0.4.0", "1.1.0"]);
        network.settle("0.4.0").unwrap();
        let again = parse("x.conf", &network.text).unwrap();
        assert_eq!(
            (&*network.cni_version, &*again.cni_version),
            ("0.4.0", "0.4.0")
        );
    }

    #[test]
    fn errors_name_file_and_field() {
        let message = |name: &str, text: &str| parse(name, text).unwrap_err().to_string();
        for (name, text, wanted) in [
            ("x.conf", "{", "x.conf"),
            ("x.conf", "[]", "not a JSON object"),
            ("x.conf", "{}", r#""name": is missing"#),
            ("x.conf", r#"{"name":7}"#, r#""name": must be a string"#),
            (
                "x.conf",
                r#"{"name":"../x","type":"ptp"}"#,
                r#""name": "../x" must begin"#,
            ),
            ("x.conf", r#"{"name":"x"}"#, r#""type": is missing"#),
            (
                "x.conf",
                r#"{"name":"x","type":"../../bin/sh"}"#,
                r#""type""#,
            ),
            (
                "x.conf",
                r#"{"name":"x","type":"ptp","cniVersion":"9"}"#,
                r#""cniVersion": "9""#,
            ),
            (
                "x.conflist",
                r#"{"name":"x","plugins":[]}"#,
                r#""plugins": must name"#,
            ),
            (
                "x.conflist",
                r#"{"name":"x","plugins":[1]}"#,
                r#""plugins[0]": must be an object"#,
            ),
            (
                "x.conflist",
                r#"{"name":"x","plugins":[{}]}"#,
                r#""plugins[0].type": is missing"#,
            ),
        ] {
            let message = message(name, text);
            assert!(
                message.contains(wanted) && message.contains(name),
                "{message}"
            );
        }
        let long = format!(r#"{{"name":"{}","type":"ptp"}}"#, "n".repeat(200));
        assert!(message("x.conf", &long).contains("longer than"));
    }
}

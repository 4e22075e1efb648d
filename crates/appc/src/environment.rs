//! Environment variables of an app (specification, aci.md, "environment").

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::check::{At, Check, no_nul, unique};
use crate::json::{Extra, list_type, nullable};

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentVariable {
    /// Not empty and without `=`. The specification asks for letters, digits and `_`; like the
    /// original, everything the kernel can hand over is accepted, since images have it.
    pub name: String,
    /// Any text without a NUL byte, empty when absent; nothing in it is substituted.
    #[serde(default, deserialize_with = "nullable")]
    pub value: String,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The environment of an app: names are unique.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(pub Vec<EnvironmentVariable>);

list_type!(Environment, EnvironmentVariable);

impl EnvironmentVariable {
    /// A variable.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        EnvironmentVariable {
            name: name.into(),
            value: value.into(),
            extra: Extra::new(),
        }
    }

    /// Reads the command line's `NAME=VALUE`; the value may hold `=` and be empty.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = |reason| Error::value("environment variable", text, reason);
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| fail("must be NAME=VALUE"))?;
        if name.is_empty() {
            return Err(fail("the name must not be empty"));
        }
        if text.contains('\0') {
            return Err(fail("must not contain a NUL byte"));
        }
        Ok(EnvironmentVariable::new(name, value))
    }
}

impl Environment {
    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|v| v.name == name)
            .map(|v| v.value.as_str())
    }

    /// Sets a variable: replaced where it stands, or added at the end.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        match self.0.iter_mut().find(|v| v.name == name) {
            Some(variable) => variable.value = value.into(),
            None => self.0.push(EnvironmentVariable::new(name, value)),
        }
    }
}

impl Check for Environment {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        unique(&self.0, at, |v| &v.name)?;
        for (i, variable) in self.iter().enumerate() {
            let at = at.index(i);
            let name = at.field("name");
            if variable.name.is_empty() || variable.name.contains('=') {
                return Err(name.fail("must not be empty nor contain ="));
            }
            no_nul(&variable.name, &name)?;
            no_nul(&variable.value, &at.field("value"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_form() {
        let v = EnvironmentVariable::parse("A=b=c").unwrap();
        assert_eq!((v.name.as_str(), v.value.as_str()), ("A", "b=c"));
        assert_eq!(EnvironmentVariable::parse("A=").unwrap().value, "");
        for bad in ["", "A", "=b", "A=\0"] {
            assert!(EnvironmentVariable::parse(bad).is_err(), "{bad:?}");
        }
    }
}

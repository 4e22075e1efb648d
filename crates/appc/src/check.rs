//! The place in a manifest while it is checked, and the rules that many fields share.

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};
use std::hash::Hash;

use crate::Error;

/// A value that has rules beyond its JSON type.
pub(crate) trait Check {
    /// Checks the rules; `at` is where the value stands in the manifest.
    fn check(&self, at: &At<'_>) -> Result<(), Error>;
}

/// A place in a manifest: links to the places around it, written out only in an error.
pub(crate) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step,
}

enum Step {
    Root,
    Field(&'static str),
    Index(usize),
}

impl At<'_> {
    /// The manifest itself.
    pub(crate) fn root() -> At<'static> {
        At {
            parent: None,
            step: Step::Root,
        }
    }

    /// A field of the value here.
    pub(crate) fn field(&self, name: &'static str) -> At<'_> {
        At {
            parent: Some(self),
            step: Step::Field(name),
        }
    }

    /// An element of the list here.
    pub(crate) fn index(&self, index: usize) -> At<'_> {
        At {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    /// The error for the value here.
    pub(crate) fn fail(&self, reason: impl Into<String>) -> Error {
        match self.step {
            Step::Root => Error::field("manifest", &reason.into()),
            _ => Error::field(&self.to_string(), &reason.into()),
        }
    }
}

impl Display for At<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(out)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) => {
                let inner = self.parent.is_some_and(|p| !matches!(p.step, Step::Root));
                write!(out, "{}{name}", if inner { "." } else { "" })
            }
            Step::Index(index) => write!(out, "[{index}]"),
        }
    }
}

/// Checks every element of a list.
pub(crate) fn each<T: Check>(list: &[T], at: &At<'_>) -> Result<(), Error> {
    list.iter()
        .enumerate()
        .try_for_each(|(i, item)| item.check(&at.index(i)))
}

/// Refuses two elements with the same key, naming the second.
pub(crate) fn unique<'a, T, K>(
    list: &'a [T],
    at: &At<'_>,
    key: impl Fn(&'a T) -> K,
) -> Result<(), Error>
where
    K: Hash + Eq + Display + Copy,
{
    // Most lists have one or two elements, which needs no set.
    if list.len() < 2 {
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(list.len());
    for (i, item) in list.iter().enumerate() {
        let key = key(item);
        if !seen.insert(key) {
            return Err(at.index(i).fail(format!("{key} appears more than once")));
        }
    }
    Ok(())
}

/// A string that goes to the kernel: it cannot hold a NUL byte.
pub(crate) fn no_nul(text: &str, at: &At<'_>) -> Result<(), Error> {
    match text.contains('\0') {
        true => Err(at.fail("must not contain a NUL byte")),
        false => Ok(()),
    }
}

/// The longest path the kernel takes (PATH_MAX with its NUL byte).
const MAX_PATH: usize = 4095;

/// An absolute path that the kernel can take. `..` is left to the kernel to resolve.
pub(crate) fn absolute_path(path: &str, at: &At<'_>) -> Result<(), Error> {
    path_rule(path).map_err(|reason| at.fail(reason))
}

/// The rule behind [`absolute_path`], for values that stand outside a manifest.
pub(crate) fn path_rule(path: &str) -> Result<(), &'static str> {
    match path {
        _ if !path.starts_with('/') => Err("must be an absolute path"),
        _ if path.contains('\0') => Err("must not contain a NUL byte"),
        _ if path.len() > MAX_PATH => Err("must not be longer than 4095 bytes"),
        _ => Ok(()),
    }
}

/// A string that must not be empty nor hold a NUL byte.
pub(crate) fn required(text: &str, at: &At<'_>) -> Result<(), Error> {
    match text.is_empty() {
        true => Err(at.fail("must not be empty")),
        false => no_nul(text, at),
    }
}

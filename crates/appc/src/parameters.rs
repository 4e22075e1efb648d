//! The command line's `key=value,key=value` lists, as volumes and mounts are written in.

use crate::Error;

/// A list being taken apart; every key may be given once.
pub(crate) struct Parameters<'a> {
    kind: &'static str,
    text: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    /// Splits `text`; `kind` names it in errors. A first element without `=` gets the key `first`,
    /// where there is one.
    pub(crate) fn split(
        kind: &'static str,
        text: &'a str,
        first: Option<&'static str>,
    ) -> Result<Self, Error> {
        let mut list = Parameters {
            kind,
            text,
            pairs: Vec::new(),
        };
        for (i, part) in text.split(',').enumerate() {
            let pair = match (part.split_once('='), first) {
                (Some(pair), _) => pair,
                (None, Some(key)) if i == 0 => (key, part),
                (None, _) => return Err(list.fail(format!("{part:?} is not KEY=VALUE"))),
            };
            if list.pairs.iter().any(|(key, _)| *key == pair.0) {
                return Err(list.fail(format!("{} is given more than once", pair.0)));
            }
            list.pairs.push(pair);
        }
        Ok(list)
    }

    /// Takes a parameter's value out of the list.
    pub(crate) fn take(&mut self, key: &str) -> Option<&'a str> {
        let at = self.pairs.iter().position(|(k, _)| *k == key)?;
        Some(self.pairs.remove(at).1)
    }

    /// Takes a parameter that must be there.
    pub(crate) fn required(&mut self, key: &str) -> Result<&'a str, Error> {
        self.take(key)
            .ok_or_else(|| self.fail(format!("{key} is missing")))
    }

    /// Takes a boolean, in the spellings that the original read (those of Go).
    pub(crate) fn boolean(&mut self, key: &str) -> Result<Option<bool>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some(other) => Err(self.fail(format!("{key} must be true or false, not {other:?}"))),
        }
    }

    /// Takes a number.
    pub(crate) fn number(&mut self, key: &str) -> Result<Option<u32>, Error> {
        self.take(key)
            .map(|v| {
                v.parse()
                    .map_err(|_| self.fail(format!("{key} must be a number, not {v:?}")))
            })
            .transpose()
    }

    /// Refuses parameters that nobody took.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.pairs.first() {
            Some((key, _)) => Err(self.fail(format!("unknown parameter {key:?}"))),
            None => Ok(()),
        }
    }

    /// The error for this list.
    pub(crate) fn fail(&self, reason: impl Into<String>) -> Error {
        Error::value(self.kind, self.text, reason)
    }
}

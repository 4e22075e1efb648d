//! Reading the fields of a JSON object, with errors that name file and field.

use std::net::IpAddr;
use std::path::Path;

use serde_json::{Map, Value};

use crate::cidr::Cidr;
use crate::error::{Error, Result};

/// A JSON object of a configuration, knowing where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    file: &'a Path,
    /// The way to this object with its final dot; empty at the top.
    at: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(file: &'a Path, at: &str, map: &'a Map<String, Value>) -> Self {
        let at = if at.is_empty() {
            String::new()
        } else {
            format!("{at}.")
        };
        Self { file, at, map }
    }

    /// The error for a field of this object.
    pub(crate) fn error(&self, field: &str, problem: impl Into<String>) -> Error {
        Error::Field {
            file: self.file.to_owned(),
            field: format!("{}{field}", self.at),
            problem: problem.into(),
        }
    }

    /// The file that it is from.
    pub(crate) fn file(&self) -> &'a Path {
        self.file
    }

    /// The names of all fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// A field that is there and not null.
    pub(crate) fn value(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, field: &str) -> Result<Option<&'a str>> {
        self.typed(field, "a string", Value::as_str)
    }

    /// A text that must be there and not empty.
    pub(crate) fn need_text(&self, field: &str) -> Result<&'a str> {
        match self.text(field)? {
            Some("") => Err(self.error(field, "must not be empty")),
            Some(text) => Ok(text),
            None => Err(self.error(field, "is missing")),
        }
    }

    /// A truth value, false when absent.
    pub(crate) fn flag(&self, field: &str) -> Result<bool> {
        Ok(self.flag_or_none(field)?.unwrap_or(false))
    }

    pub(crate) fn flag_or_none(&self, field: &str) -> Result<Option<bool>> {
        self.typed(field, "true or false", Value::as_bool)
    }

    /// A whole number between 0 and `most`.
    pub(crate) fn number(&self, field: &str, most: u64) -> Result<Option<u64>> {
        let number = self.typed(field, "a whole number, 0 or more", Value::as_u64)?;
        match number {
            Some(number) if number > most => {
                Err(self.error(field, format!("{number} is more than {most}")))
            }
            number => Ok(number),
        }
    }

    /// As [`Fields::number`], for 32 bits.
    pub(crate) fn u32(&self, field: &str, most: u32) -> Result<Option<u32>> {
        let number = self.number(field, u64::from(most))?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    }

    /// A list, empty when absent.
    pub(crate) fn list(&self, field: &str) -> Result<&'a [Value]> {
        let list = self.typed(field, "a list", |value| value.as_array().map(Vec::as_slice))?;
        match list {
            Some(list) if list.len() > MOST_IN_LIST => {
                Err(self.error(field, format!("has more than {MOST_IN_LIST} entries")))
            }
            list => Ok(list.unwrap_or_default()),
        }
    }

    /// A list of texts, empty when absent.
    pub(crate) fn texts(&self, field: &str) -> Result<Vec<String>> {
        let entries = self.list(field)?.iter().enumerate();
        entries
            .map(|(index, entry)| match entry.as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(self.error(&format!("{field}[{index}]"), "must be a string")),
            })
            .collect()
    }

    /// An object.
    pub(crate) fn object(&self, field: &str) -> Result<Option<Fields<'a>>> {
        let map = self.typed(field, "an object", Value::as_object)?;
        Ok(map.map(|map| Fields::new(self.file, &format!("{}{field}", self.at), map)))
    }

    /// A list of objects, empty when absent.
    pub(crate) fn objects(&self, field: &str) -> Result<Vec<Fields<'a>>> {
        let entries = self.list(field)?.iter().enumerate();
        entries
            .map(|(index, entry)| {
                let name = format!("{field}[{index}]");
                match entry.as_object() {
                    Some(map) => Ok(Fields::new(self.file, &format!("{}{name}", self.at), map)),
                    None => Err(self.error(&name, "must be an object")),
                }
            })
            .collect()
    }

    /// The object of an entry of a list that may hold several shapes.
    pub(crate) fn entry(
        &self,
        field: &str,
        index: usize,
        map: &'a Map<String, Value>,
    ) -> Fields<'a> {
        Fields::new(self.file, &format!("{}{field}[{index}]", self.at), map)
    }

    /// An IP address.
    pub(crate) fn addr(&self, field: &str) -> Result<Option<IpAddr>> {
        match self.text(field)? {
            None | Some("") => Ok(None),
            Some(text) => match text.parse() {
                Ok(addr) => Ok(Some(addr)),
                Err(_) => Err(self.error(field, format!("{text:?} is not an IP address"))),
            },
        }
    }

    /// An address with its prefix length.
    pub(crate) fn cidr(&self, field: &str) -> Result<Option<Cidr>> {
        match self.text(field)? {
            None | Some("") => Ok(None),
            Some(text) => match text.parse() {
                Ok(cidr) => Ok(Some(cidr)),
                Err(problem) => Err(self.error(field, format!("{text:?}: {problem}"))),
            },
        }
    }

    fn typed<T>(
        &self,
        field: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.value(field) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(self.error(field, format!("must be {wanted}"))),
            },
        }
    }
}

/// No configuration that a person writes has longer lists.
const MOST_IN_LIST: usize = 4096;

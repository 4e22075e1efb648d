//! A network type that rkt does not have itself: a plugin to execute.

use super::Driver;
use crate::attachment::Attachment;
use crate::cni::{CniResult, exec};
use crate::error::{Error, Result};

/// The plugin's type, which is its file's name.
#[derive(Debug)]
pub(super) struct Outside {
    kind: String,
}

impl Outside {
    pub(super) fn new(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
        }
    }
}

impl Driver for Outside {
    fn set_up(&self, at: &mut Attachment<'_>, previous: Option<CniResult>) -> Result<CniResult> {
        exec::add(at, &self.kind, previous.as_ref())
    }

    fn check(&self, at: &mut Attachment<'_>, result: &CniResult) -> Result<()> {
        exec::check(at, &self.kind, result)
    }

    fn tear_down(&self, at: &mut Attachment<'_>, result: Option<&CniResult>) -> Vec<Error> {
        exec::del(at, &self.kind, result)
            .err()
            .into_iter()
            .collect()
    }

    fn masquerades(&self) -> bool {
        false
    }

    fn is_outside(&self) -> bool {
        true
    }
}

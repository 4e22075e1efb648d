//! `portmap`: forwarded ports, as a plugin chained behind others.

use super::Driver;
use crate::attachment::Attachment;
use crate::cni::CniResult;
use crate::config::Fields;
use crate::error::{Error, Result};
use crate::portmap::{self, Forward};

/// The configuration: nothing of the plugin's own needs any; the ports are a capability.
#[derive(Debug)]
pub(super) struct Portmap {
    forwards: Vec<Forward>,
}

impl Portmap {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self> {
        let mut forwards = Vec::new();
        if let Some(runtime) = fields.object("runtimeConfig")? {
            for (index, value) in runtime.list("portMappings")?.iter().enumerate() {
                let forward = Forward::from_json(value);
                let name = format!("portMappings[{index}]");
                forwards
                    .push(forward.ok_or_else(|| runtime.error(&name, "is not a port mapping"))?);
            }
        }
        Ok(Self { forwards })
    }

    fn forwards(&self, at: &Attachment<'_>) -> Vec<Forward> {
        self.forwards
            .iter()
            .chain(&at.runtime.forwards)
            .copied()
            .collect()
    }
}

impl Driver for Portmap {
    fn set_up(&self, at: &mut Attachment<'_>, previous: Option<CniResult>) -> Result<CniResult> {
        let previous =
            previous.ok_or_else(|| at.error("portmap", "must come after another plugin"))?;
        portmap::set_up(at, &self.forwards(at), &previous)?;
        Ok(previous)
    }

    fn check(&self, at: &mut Attachment<'_>, result: &CniResult) -> Result<()> {
        portmap::check(at, &self.forwards(at), result)
    }

    fn tear_down(&self, at: &mut Attachment<'_>, result: Option<&CniResult>) -> Vec<Error> {
        portmap::tear_down(at, &self.forwards(at), result)
            .err()
            .into_iter()
            .collect()
    }
}

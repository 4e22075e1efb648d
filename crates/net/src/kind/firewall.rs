//! `firewall`: lets the pod's traffic through filters of the host.
//!
//! The table that rkt adds never refuses a packet, and an accepting rule in one table cannot
//! overrule a refusing one in another. So this type only makes the host a router for the pod; on
//! hosts whose filters drop forwarded packets their own configuration has to let the pods' pass.

use super::{Driver, forward};
use crate::attachment::Attachment;
use crate::cni::CniResult;
use crate::config::Fields;
use crate::error::{Error, Result};

/// The configuration: `backend` and its companions choose between programs that rkt does not use.
#[derive(Debug)]
pub(super) struct Firewall;

impl Firewall {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self> {
        match fields.text("ingressPolicy")? {
            None | Some("" | "open") => Ok(Self),
            Some(policy) => Err(fields.error(
                "ingressPolicy",
                format!("{policy:?} is not supported; only open is"),
            )),
        }
    }
}

impl Driver for Firewall {
    fn set_up(&self, at: &mut Attachment<'_>, previous: Option<CniResult>) -> Result<CniResult> {
        let previous =
            previous.ok_or_else(|| at.error("firewall", "must come after another plugin"))?;
        forward(&previous)?;
        Ok(previous)
    }

    fn check(&self, _at: &mut Attachment<'_>, _result: &CniResult) -> Result<()> {
        Ok(())
    }

    fn tear_down(&self, _at: &mut Attachment<'_>, _result: Option<&CniResult>) -> Vec<Error> {
        Vec::new()
    }
}

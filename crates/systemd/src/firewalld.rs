//! The host's firewalld, for the addresses of pods that it shall let through: which zone packets
//! from an address belong to (firewalld.dbus(5), the interface `zone`). What is changed here is its
//! state and not its configuration, so it ends with firewalld at the latest.

use std::io::ErrorKind;

use crate::bus::{BUS, Body, Bus, Error, Target};

const NAME: &str = "org.fedoraproject.FirewallD1";

const ZONE: Target<'static> = Target {
    name: NAME,
    path: "/org/fedoraproject/FirewallD1",
    interface: "org.fedoraproject.FirewallD1.zone",
};

/// A connection to a running firewalld.
#[derive(Debug)]
pub struct Firewalld(Bus);

impl Firewalld {
    /// Connects; `None` where none is running.
    ///
    /// # Errors
    /// The system bus is there but cannot be spoken to.
    pub fn connect() -> Result<Option<Self>, Error> {
        let mut bus = match Bus::connect() {
            Err(Error::Io(error))
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            connected => connected?,
        };
        let mut name = Body::new("s");
        name.string(NAME);
        let answer = bus.call(BUS, "NameHasOwner", &name)?;
        let running = answer.values().number() == Some(1);
        Ok(running.then_some(Self(bus)))
    }

    /// Lets packets from `source`, an address, belong to a zone; no error if they do already.
    ///
    /// # Errors
    /// firewalld refuses: the zone is unknown, or the source belongs to another.
    pub fn add_source(&mut self, zone: &str, source: &str) -> Result<(), Error> {
        match self.call("addSource", zone, source) {
            // What it says of one in this very zone differs between its versions.
            Err(Error::Refused(..)) if self.has_source(zone, source)? => Ok(()),
            added => added.map(drop),
        }
    }

    /// Whether packets from `source` belong to the zone.
    ///
    /// # Errors
    /// firewalld cannot be asked.
    pub fn has_source(&mut self, zone: &str, source: &str) -> Result<bool, Error> {
        let answer = self.call("querySource", zone, source)?;
        Ok(answer == Some(1))
    }

    /// Takes a source out of its zone; no error if it is not in it.
    ///
    /// # Errors
    /// firewalld cannot be asked.
    pub fn remove_source(&mut self, zone: &str, source: &str) -> Result<(), Error> {
        match self.call("removeSource", zone, source) {
            Err(Error::Refused(_, text))
                if text.contains("UNKNOWN_SOURCE")
                    || text.contains("INVALID_ZONE")
                    || text.contains("ZONE_CONFLICT")
                    || text.contains("NOT_ENABLED") =>
            {
                Ok(())
            }
            removed => removed.map(drop),
        }
    }

    /// Calls a method about a zone and a source; its answer, if that is a number.
    fn call(&mut self, method: &str, zone: &str, source: &str) -> Result<Option<u32>, Error> {
        let mut body = Body::new("ss");
        body.string(zone);
        body.string(source);
        let answer = self.0.call(ZONE, method, &body)?;
        Ok(answer.values().number())
    }
}

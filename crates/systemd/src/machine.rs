//! A pod's name among the host's machines, by which `machinectl` and `journalctl -M` find it.

use std::path::Path;

use crate::Error;
use crate::bus::{Body, Bus, Target};

const MACHINED: Target<'static> = Target {
    name: "org.freedesktop.machine1",
    path: "/org/freedesktop/machine1",
    interface: "org.freedesktop.machine1.Manager",
};

/// A machine, as systemd-machined keeps it until its leader ends.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Its name: letters, digits, `-` and `.`, at most 64.
    pub name: &'a str,
    /// Its ID.
    pub id: [u8; 16],
    /// Its PID 1, on the host.
    pub leader: u32,
    /// The directory on the host below which its `/var/log/journal` is.
    pub root: &'a Path,
}

/// Registers a machine in the unit that its leader is in.
///
/// # Errors
/// systemd-machined cannot be asked, or refuses.
pub fn register(machine: &Machine<'_>) -> Result<(), Error> {
    let mut body = Body::new("sayssusai");
    body.string(machine.name);
    body.octets(&machine.id);
    body.string("rkt");
    body.string("container");
    body.number(machine.leader);
    body.string(&machine.root.to_string_lossy());
    body.array(4, |_| {});
    let mut bus = Bus::connect()?;
    bus.call(MACHINED, "RegisterMachineWithNetwork", &body)?;
    Ok(())
}

//! A scope of its own for a pod that no service started (devel-cgroups, "rkt started from the
//! command line").

use crate::Error;
use crate::bus::{BUS, Body, Bus, Target};

const MANAGER: Target<'static> = Target {
    name: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// Jobs of one's own are told by this signal.
const JOBS: &str = "type='signal',sender='org.freedesktop.systemd1',\
    interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// The unit that a cgroup path of systemd's belongs to: its last part that is the name of a service
/// or a scope.
pub fn own_unit(path: &str) -> Option<&str> {
    let mut parts = path.rsplit('/');
    parts.find(|part| part.ends_with(".service") || part.ends_with(".scope"))
}

/// Moves a process into a new scope below `machine.slice`, whose cgroups are its own to divide, and
/// waits until it is there.
///
/// # Errors
/// systemd cannot be asked, or refuses.
pub fn start_scope(name: &str, description: &str, pid: u32) -> Result<(), Error> {
    let mut bus = Bus::connect()?;
    let mut rule = Body::new("s");
    rule.string(JOBS);
    bus.call(BUS, "AddMatch", &rule)?;
    let mut body = Body::new("ssa(sv)a(sa(sv))");
    body.string(name);
    body.string("fail");
    body.array(8, |properties| {
        properties.property("Description", "s", |v| v.string(description));
        properties.property("Slice", "s", |v| v.string("machine.slice"));
        properties.property("Delegate", "b", |v| v.number(1));
        properties.property("CollectMode", "s", |v| v.string("inactive-or-failed"));
        properties.property("PIDs", "au", |v| v.array(4, |pids| pids.number(pid)));
    });
    body.array(8, |_| {});
    let job = bus.call(MANAGER, "StartTransientUnit", &body)?;
    let job = job.values().string().ok_or(Error::Protocol)?;
    loop {
        let signal = bus.signal()?;
        let mut values = signal.values();
        let removed = (
            values.number(),
            values.string(),
            values.string(),
            values.string(),
        );
        match removed {
            (Some(_), Some(which), _, Some(result)) if which == job => {
                return match result.as_str() {
                    "done" => Ok(()),
                    _ => Err(Error::Job(result)),
                };
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_found_in_paths() {
        for (path, unit) in [
            ("/system.slice/web.service", Some("web.service")),
            ("/system.slice/web.service/leaf", Some("web.service")),
            (
                "/user.slice/user-0.slice/session-1.scope",
                Some("session-1.scope"),
            ),
            (
                "/user.slice/user-1.slice/user@1.service/app.slice/x.scope",
                Some("x.scope"),
            ),
            ("/", None),
            ("/init.slice", None),
        ] {
            assert_eq!(own_unit(path), unit, "{path}");
        }
    }
}

//! Messages to the service manager that started rkt (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that names the manager's socket.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// A way to the service manager.
#[derive(Debug)]
pub struct Notifier(UnixDatagram);

impl Notifier {
    /// Connects to the manager, if it wants to know.
    ///
    /// # Errors
    /// The socket that it named cannot be used.
    pub fn from_environment() -> io::Result<Option<Self>> {
        let Some(name) = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address(&name)?)?;
        // A manager that does not read must not stop the pod.
        socket.set_nonblocking(true)?;
        Ok(Some(Self(socket)))
    }

    /// Tells it something, in assignments a line each. One that stopped listening is no error.
    pub fn tell(&self, what: &str) {
        let _ = self.0.send(what.as_bytes());
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_have_paths_or_abstract_names() {
        assert!(
            address(OsStr::new("/run/x"))
                .unwrap()
                .as_pathname()
                .is_some()
        );
        let hidden = address(OsStr::new("@x")).unwrap();
        assert_eq!(hidden.as_abstract_name(), Some(&b"x"[..]));
    }
}

//! The host's systemd, for pods that run under it: a scope of their own, a name among its machines,
//! readiness notifications and passed sockets (using-rkt-with-systemd, devel-cgroups).
//!
//! Three calls over D-Bus are all that is needed, at the start of every pod: [`bus`] writes just
//! those. A general client would be larger than the rest of stage1.

mod bus;
mod listen;
mod machine;
mod notify;
mod scope;

pub use bus::Error;
pub use listen::passed_descriptors;
pub use machine::{Machine, register};
pub use notify::Notifier;
pub use scope::{own_unit, start_scope};

/// Whether systemd is the host's init system (sd_booted(3)).
pub fn booted() -> bool {
    std::path::Path::new("/run/systemd/system").is_dir()
}

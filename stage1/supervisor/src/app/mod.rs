//! One app: from a clone of the supervisor to the app's program.

mod channel;
mod devices;
mod diagnose;
mod filesystem;
pub(crate) mod identity;
mod start;
pub(crate) mod users;

pub(crate) use channel::{Channel, Report};
pub(crate) use devices::gather as gather_devices;
pub use devices::with_nodes as devices_with_nodes;
pub(crate) use start::{Stdio, Streams, run_handler, start};
pub use start::{environment, launch};

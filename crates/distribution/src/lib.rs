//! Distribution points: where an image comes from, as one URI (page "Distribution points"), and
//! what a person types for one.
//!
//! A [`Reference`] is what stands on a command line: the ID of an image in the store, or a
//! [`Distribution`]. Nothing here looks at files or asks servers.
#![forbid(unsafe_code)]

mod docker;
mod error;
mod layout;
mod location;
mod point;
mod reference;

pub use docker::Docker;
pub use error::Error;
pub use layout::{Layout, LayoutKind};
pub use location::Location;
pub use point::Distribution;
pub use reference::Reference;

/// What operations of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

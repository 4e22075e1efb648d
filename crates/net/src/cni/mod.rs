//! The Container Network Interface: what plugins are told and what they answer.

mod dns;
pub(crate) mod exec;
pub(crate) mod result;

pub use dns::Dns;
pub use result::{CniResult, Interface, IpConfig, Route};

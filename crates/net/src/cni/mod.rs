//! The Container Network Interface: what plugins are told and what they answer.

pub(crate) mod exec;
pub(crate) mod result;

pub use result::{CniResult, Dns, Interface, IpConfig, Route};

//! Network configurations: which networks there are, and what each is made of.

mod builtin;
mod fields;
mod load;
mod network;

pub(crate) use fields::Fields;
pub use load::{Available, available};
pub use network::{Network, PluginConf};
pub(crate) use network::{VERSIONS, check_name};

//! Network configurations: which networks there are, and what each is made of.

mod builtin;
mod fields;
mod load;
pub(crate) mod network;

pub(crate) use fields::Fields;
pub use load::available;
pub use network::{Network, PluginConf};

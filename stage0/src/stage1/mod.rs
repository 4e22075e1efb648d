//! Stage1 images: which one is used, and how its entrypoints are called.

mod embedded;
mod entrypoint;
mod select;

pub(crate) use entrypoint::{Entrypoints, Kind, interface_version, is_mutable, run_path};
pub(crate) use select::{Stage1Choice, arguments, choose};

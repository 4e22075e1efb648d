//! The kernel surface of rkt: namespaces, mounts, cgroups, capabilities, system call filters,
//! ids and signals.
//!
//! This crate holds nearly all of rkt's `unsafe`. Everything here is one thin step over a system
//! call; what to do, and in which order, is decided by its callers.

pub mod caps;
pub mod cgroup;
pub mod clone;
mod error;
pub mod exec;
pub mod filemap;
pub mod ids;
pub mod label;
pub mod linger;
pub mod memory;
pub mod mounts;
pub mod netns;
pub mod packet;
pub mod root;
pub mod seccomp;
pub mod signals;

pub use error::{Context, Error};

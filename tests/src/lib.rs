//! The harness of the end-to-end tests: images made from nothing ([`Aci`]), an engine with
//! a data directory of its own ([`Rkt`]), and fixtures that are made once ([`fixtures`]).
//!
//! It knows rkt's command line and its documented files, and links none of its crates.

mod aci;
mod dir;
mod disk;
pub mod fixtures;
mod gpg;
mod https;
mod lab;
mod leftovers;
pub mod oci;
mod process;
mod registry;
mod rkt;
mod selinux;
pub mod server;
mod tpm;
mod vm;
mod wait;

pub use aci::{Aci, Compression};
pub use dir::TempDir;
pub use disk::SmallDisk;
pub use gpg::Gpg;
pub use https::Internet;
pub use lab::{Container, Lab};
pub use process::{Output, Running, as_user, parent_of, through};
pub use registry::Registry;
pub use rkt::Rkt;
pub use selinux::Policy;
pub use tpm::Emulator;
pub use vm::{Machine, Report};
pub use wait::{until, until_some};

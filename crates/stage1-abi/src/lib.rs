//! What the stages of rkt agree on: the entrypoints of a stage1 image, their arguments and
//! environment, and the files of a pod directory.
//!
//! This follows the "Stage1 ACI implementor's guide", interface versions 1 to 6. stage0 and every
//! stage1 depend on this crate and on nothing else of each other.

pub mod annotation;
mod args;
pub mod env;
mod labels;
pub mod path;

pub use args::{
    AppArgs, ArgsError, AttachAction, AttachArgs, DnsConfMode, EnterArgs, FileMode, GcArgs,
    InsecureOptions, PrivateUsers, RunArgs, StopArgs, Wanted,
};
pub use labels::Labels;

/// The newest interface version that this code speaks, as stage0 and as stage1.
pub const INTERFACE_VERSION: u32 = 6;

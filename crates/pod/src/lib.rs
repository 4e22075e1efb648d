//! Pods on disk: directories, locks and renames, as "Life-cycle of a pod in rkt" describes them.
//!
//! A pod is a directory below `<data>/pods/<phase>/<uuid>`. The phase (a directory) and an advisory
//! lock on the pod's own directory together are its state; transitions are `rename(2)`. There is no
//! daemon and no index: whatever is killed at any instruction, the next command reads a consistent
//! state from the file system.
//!
//! [`Pods`] is the collection, [`PreparingPod`] a pod being made by this process, [`Pod`] an
//! existing one, [`LockedPod`] one that this process holds exclusively.

mod create;
mod error;
mod find;
mod inspect;
mod levels;
mod lock;
mod pod;
mod pods;
mod remove;
mod reserve;
mod state;
mod sweep;
mod tree;
mod users;
mod wait;

pub use create::{PreparingPod, RunningPod};
pub use error::Error;
pub use inspect::{AppState, Network};
pub use lock::PrepareLock;
pub use pod::{LockedPod, Pod};
pub use pods::Pods;
pub use remove::remove_tree;
pub use state::{Phase, State};
pub use sweep::MarkedAs;
pub use tree::{Dir, write_at};
pub use users::{HostIds, IDS, overlap};

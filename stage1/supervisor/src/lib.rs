//! PID 1 of a pod: starts the apps, passes their output on, reaps, stops, reports.
//!
//! One thread and one poll loop, since there is one supervisor in every pod; only the log has a thread
//! of its own for as long as much is written to it. What to do is decided before it starts, in a
//! [`PodPlan`]; it only carries the plan out.

mod app;
mod attach;
pub mod control;
mod ending;
mod log;
mod message;
mod mutable;
mod notify;
mod output;
mod plan;
mod pod;
mod polling;
mod running;
mod status;
mod supervise;
pub mod terminal;

pub use app::identity::{Identity, become_user};
pub use app::users::{User, Users};
pub use app::{devices_with_nodes, environment, launch};
pub use plan::{
    AppPlan, LogPlan, MountPlan, Operation, PassedSocket, PodPlan, Security, StreamMode,
    StreamModes, VolumePlan,
};
pub use pod::{Links, copy_volume, run};
pub use status::{FAILED_TO_START, KILLED_BY_SIGNAL};

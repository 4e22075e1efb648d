//! End to end: the built `rkt` against the real kernel, one module for each feature.

mod apps;
mod bad_images;
mod cli;
mod collect;
mod config;
mod crowd;
mod environment;
mod faults;
mod handlers;
mod identity;
mod images;
mod isolation;
mod kills;
mod lifecycle;
mod limits;
mod list_status;
mod names;
mod network;
mod output;
mod real;
mod rendering;
mod stages;
mod start_errors;
mod trust;
mod volumes;

//! The pod manifest, made from images and what the command line says about them.

mod app;
mod env;
mod isolators;
mod pod;

pub(crate) use app::{AppRequest, MergedImage};
pub(crate) use env::read_env_file;
pub(crate) use isolators::IsolatorFlags;
pub(crate) use pod::{PodRequest, add, adopt, generate, implicit_volume};

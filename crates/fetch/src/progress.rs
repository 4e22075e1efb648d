//! How far a download is.

/// Whoever shows progress.
pub trait Progress: Send + Sync {
    /// So many bytes of this are there. `kind` is a word such as `layer`; `name` tells one from the
    /// other.
    fn update(&self, kind: &'static str, name: &str, bytes: u64, total: Option<u64>);
}

/// Shows nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Quiet;

impl Progress for Quiet {
    fn update(&self, _: &'static str, _: &str, _: u64, _: Option<u64>) {}
}

//! One error for all kernel operations: what was tried, on what, and the kernel's answer.

use rustix::io::Errno;

/// A system call failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {object}: {}", std::io::Error::from(*.errno))]
pub struct Error {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// On what.
    pub object: String,
    /// The kernel's answer.
    pub errno: Errno,
}

/// Adds the operation and its object to a bare errno.
pub trait Context<T> {
    /// Turns an errno into an [`Error`]; `object` is only formatted on failure.
    ///
    /// # Errors
    /// The errno, with its context.
    fn context(self, operation: &'static str, object: impl std::fmt::Display) -> Result<T, Error>;
}

impl<T> Context<T> for Result<T, Errno> {
    fn context(self, operation: &'static str, object: impl std::fmt::Display) -> Result<T, Error> {
        self.map_err(|errno| Error {
            operation,
            object: object.to_string(),
            errno,
        })
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, operation: &'static str, object: impl std::fmt::Display) -> Result<T, Error> {
        self.map_err(|error| Error {
            operation,
            object: object.to_string(),
            errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        })
    }
}

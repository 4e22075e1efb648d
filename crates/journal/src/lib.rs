//! The log of a pod: journal files in systemd's format (systemd's `JOURNAL_FILE_FORMAT`), which
//! `journalctl` reads as well as [`Reader`] does.
//!
//! A [`Journal`] is a directory of files of bounded size and number. It is written through a memory
//! map, so that an entry costs no system call, and what was written is in the page cache at once:
//! killing the writer loses nothing.

mod error;
mod file;
mod format;
mod hash;
mod journal;
mod reader;

pub use error::Error;
pub use journal::{Identity, Journal, Limits};
pub use reader::{Entry, Reader, files};

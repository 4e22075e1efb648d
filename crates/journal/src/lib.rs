//! The log of a pod: journal files in systemd's format (systemd's `JOURNAL_FILE_FORMAT`), which
//! `journalctl` reads as well as [`Reader`] does.
//!
//! A [`Journal`] is a directory of files of bounded size and number. Entries are gathered and written
//! together, so that a batch of them costs few system calls, and what was committed is in the page
//! cache at once, a large batch about a millisecond later: killing the writer loses no more. While much
//! is written a thread does the writing, and the caller hashes.
//!
//! No other writer may append to these files: fields that always came together share their arrays of
//! entries, of which the files themselves do not tell.

mod error;
mod file;
mod format;
mod hash;
mod journal;
mod reader;
mod window;

pub use error::Error;
pub use file::{Common, Field};
pub use journal::{Identity, Journal, Limits};
pub use reader::{Entry, Reader, files};

//! What rkt prints: results on standard output, everything else on standard error.

pub(crate) mod file;
pub(crate) mod human;
pub(crate) mod progress;
pub(crate) mod table;

use std::io::Write;
use std::sync::OnceLock;

/// Writes a result to standard output. A reader that went away is no error of ours.
pub(crate) fn out(text: &str) {
    write(std::io::stdout().lock(), text.as_bytes());
}

/// Writes a line with a result to standard output.
pub(crate) fn line(text: &str) {
    out(&format!("{text}\n"));
}

/// Writes bytes to standard output.
pub(crate) fn bytes(data: &[u8]) {
    write(std::io::stdout().lock(), data);
}

/// Writes text to standard error as it is.
pub(crate) fn err(text: &str) {
    write(std::io::stderr().lock(), text.as_bytes());
}

/// Writes `<command>: <message>` to standard error.
pub(crate) fn note(message: &str) {
    err(&format!("{}: {message}\n", prefix()));
}

fn write(mut to: impl Write, data: &[u8]) {
    // Nobody is left to tell when the standard streams are closed or full.
    drop(to.write_all(data).and_then(|()| to.flush()));
}

static PREFIX: OnceLock<String> = OnceLock::new();

/// Names the command that runs, for messages.
pub(crate) fn set_prefix(command: &str) {
    drop(PREFIX.set(command.to_owned()));
}

fn prefix() -> &'static str {
    PREFIX.get().map_or("rkt", String::as_str)
}

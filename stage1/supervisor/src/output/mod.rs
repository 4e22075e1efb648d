//! From the apps' pipes to rkt's own standard output and error, and to the pod's log: whole lines.

mod sink;
mod source;
mod split;

use std::os::fd::OwnedFd;

use memchr::memchr;

use crate::log::KubernetesLog;

pub(crate) use sink::Sink;
pub(crate) use source::Source;
pub(crate) use split::Splitter;

/// What an app writes to standard output or error: the read end of its pipe, and the file that it goes
/// to beside the log or those who attach to it.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) pipe: OwnedFd,
    pub(crate) file: Option<KubernetesLog>,
}

/// Longest line; longer ones are cut in pieces (journald's own limit).
const LINE_MAX: usize = 48 * 1024;

/// The lines of some bytes, without their ends; the last one may have none.
pub(crate) fn lines(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = match bytes {
            [] => return None,
            _ => memchr(b'\n', bytes).unwrap_or(bytes.len()),
        };
        let (line, rest) = bytes.split_at(end.min(LINE_MAX));
        bytes = rest.strip_prefix(b"\n").unwrap_or(rest);
        Some(line)
    })
}

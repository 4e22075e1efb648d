//! From the apps' pipes to rkt's own standard output and error, and to the pod's log: whole lines.

mod sink;
mod source;

use memchr::memchr;

pub(crate) use sink::Sink;
pub(crate) use source::Source;

/// The lines of some bytes, without their ends; the last one may have none.
pub(crate) fn lines(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = match bytes {
            [] => return None,
            _ => memchr(b'\n', bytes).unwrap_or(bytes.len()),
        };
        let (line, rest) = bytes.split_at(end);
        bytes = rest.get(1..).unwrap_or_default();
        Some(line)
    })
}

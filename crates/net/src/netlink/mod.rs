//! Netlink: messages written and read byte by byte, and a socket that sends many at once.
//!
//! Written for this crate and not taken from a library because a pod's network is what `rkt run`
//! waits for: one `send` carries a whole batch and only its last message asks for an answer.

mod attr;
mod batch;
mod socket;

pub(crate) use attr::{Attrs, find, find_str, find_u32};
pub(crate) use batch::Batch;
pub(crate) use socket::{Refusal, Socket};

/// `nlmsg_flags`.
pub(crate) mod flag {
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const DUMP_INTR: u16 = 0x10;
    pub(crate) const REPLACE: u16 = 0x100;
    pub(crate) const EXCL: u16 = 0x200;
    pub(crate) const CREATE: u16 = 0x400;
    pub(crate) const APPEND: u16 = 0x800;
}

/// Length of a `nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// Rounds up to netlink's alignment of four.
pub(crate) const fn align(length: usize) -> usize {
    (length + 3) & !3
}

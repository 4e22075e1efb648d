//! The kernel's network objects over rtnetlink: links, addresses, routes, queueing disciplines.
//!
//! Changes are collected into [`Changes`] and applied in one go, each with the words that an
//! error message needs.

mod link;
mod route;
mod tc;

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

pub(crate) use link::{IFF_ALLMULTI, IFF_PROMISC, IFF_UP, Link, LinkKind, NewLink, Vlan};
pub(crate) use route::{RouteSpec, SCOPE_LINK};

use crate::error::{Error, Result};
use crate::netlink::{Batch, Socket};

/// The index of `lo`, the first interface of every namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// An rtnetlink socket in one network namespace.
#[derive(Debug)]
pub(crate) struct Rtnl {
    socket: Socket,
}

/// Changes to be applied together, in order.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    batch: Batch,
    what: Vec<String>,
    /// Refusals that mean the thing is already as wanted, as (message, error).
    tolerated: Vec<(usize, Errno)>,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self {
            batch: Batch::new(),
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The last change added may be refused with `errno`.
    pub(crate) fn tolerating(&mut self, errno: Errno) -> &mut Self {
        self.tolerated
            .push((self.batch.len().saturating_sub(1), errno));
        self
    }

    fn add(
        &mut self,
        what: impl FnOnce() -> String,
        kind: u16,
        flags: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Batch),
    ) -> &mut Self {
        self.batch.message(kind, flags, header, fill);
        self.what.push(what());
        self
    }
}

impl Rtnl {
    /// A socket in the calling thread's namespace.
    pub(crate) fn open() -> Result<Self> {
        let socket = Socket::route().map_err(kernel("open a netlink socket"))?;
        Ok(Self { socket })
    }

    /// A socket in another namespace.
    pub(crate) fn open_in(netns: BorrowedFd<'_>) -> Result<Self> {
        let socket = Socket::route_in(netns).map_err(kernel(
            "open a netlink socket in the pod's network namespace",
        ))?;
        Ok(Self { socket })
    }

    /// Applies changes. All are tried; the first that was refused and not tolerated is the error.
    pub(crate) fn apply(&mut self, changes: Changes) -> Result<()> {
        self.apply_and_read(changes).map(drop)
    }

    /// As [`Rtnl::apply`]; returns the links that the batch asked for.
    pub(crate) fn apply_and_read(&mut self, mut changes: Changes) -> Result<Vec<Link>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut links = Vec::new();
        let refusals = self
            .socket
            .send(&mut changes.batch, 0, |_, body| {
                links.extend(Link::parse(body))
            })
            .map_err(kernel("talk to the kernel over netlink"))?;
        for refusal in refusals {
            if !changes.tolerated.contains(&(refusal.index, refusal.errno)) {
                let what = changes.what.get(refusal.index).cloned().unwrap_or_default();
                return Err(kernel(what)(refusal.errno));
            }
        }
        Ok(links)
    }
}

/// A refusal of the kernel with what was tried; for `map_err`.
pub(crate) fn kernel(operation: impl Into<String>) -> impl FnOnce(Errno) -> Error {
    let operation = operation.into();
    move |errno| Error::Kernel {
        operation,
        source: errno.into(),
    }
}

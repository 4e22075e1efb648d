//! nf_tables transactions over netlink.

use rustix::io::Errno;

use crate::netlink::{Batch, Refusal, Socket, find, find_str, flag};

/// nf_tables' number among netfilter's netlink subsystems.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NFNL_BATCH_GENID: u16 = 1;

const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_GETGEN: u16 = 16;

const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

fn family(version: u8) -> u8 {
    if version == 4 {
        NFPROTO_IPV4
    } else {
        NFPROTO_IPV6
    }
}

/// `nfgenmsg`: family, version 0, resource id in network order.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let [a, b] = resource.to_be_bytes();
    [family, 0, a, b]
}

/// Changes that the kernel makes all or not at all.
#[derive(Debug)]
pub(crate) struct Transaction {
    batch: Batch,
    family: u8,
}

impl Transaction {
    pub(crate) fn new() -> Self {
        Self::begin(None)
    }

    /// A transaction that fails with `ERESTART` if the rule set is not that generation any more.
    pub(crate) fn at(generation: u32) -> Self {
        Self::begin(Some(generation))
    }

    fn begin(generation: Option<u32>) -> Self {
        let mut batch = Batch::new();
        batch.message(BATCH_BEGIN, 0, &header(NFPROTO_UNSPEC, SUBSYSTEM), |m| {
            if let Some(generation) = generation {
                m.be32(NFNL_BATCH_GENID, generation);
            }
        });
        Self {
            batch,
            family: NFPROTO_IPV4,
        }
    }

    /// Messages so far, the beginning among them: the index of the next one.
    pub(crate) fn len(&self) -> usize {
        self.batch.len()
    }

    /// What is added from now on is about the table for IPv4 (4) or IPv6 (6).
    pub(crate) fn turn_to(&mut self, version: u8) {
        self.family = family(version);
    }

    /// Adds a change: an `NFT_MSG_…`, flags besides `NLM_F_REQUEST`, attributes.
    pub(crate) fn change(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Batch)) {
        self.batch
            .message(SUBSYSTEM << 8 | kind, flags, &header(self.family, 0), fill);
    }
}

/// A chain as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: String,
    /// Its rules and the places that jump to it.
    pub(crate) uses: u32,
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
}

impl Wire {
    pub(crate) fn open() -> Result<Self, Errno> {
        Ok(Self {
            socket: Socket::netfilter()?,
        })
    }

    /// Closes the socket without waiting for removed rules to be out of use.
    pub(crate) fn close(self) {
        sandbox::linger::close(self.socket.into_fd());
    }

    /// Commits a transaction; the first refusal is the error and then nothing was changed.
    pub(crate) fn commit(&mut self, mut change: Transaction) -> Result<(), Refusal> {
        if change.len() == 1 {
            return Ok(());
        }
        change
            .batch
            .message(BATCH_END, 0, &header(NFPROTO_UNSPEC, SUBSYSTEM), |_| {});
        let refusals = self
            .socket
            .send(&mut change.batch, 1, |_, _| {})
            .map_err(|errno| Refusal { index: 0, errno })?;
        refusals.into_iter().next().map_or(Ok(()), Err)
    }

    /// The number of the rule set's state, which every transaction raises.
    pub(crate) fn generation(&mut self) -> Result<u32, Errno> {
        let mut batch = Batch::new();
        batch.message(
            SUBSYSTEM << 8 | NFT_MSG_GETGEN,
            0,
            &header(NFPROTO_UNSPEC, 0),
            |_| {},
        );
        let mut number = None;
        let refusals = self.socket.send(&mut batch, 0, |_, body| {
            let value = body.get(4..).and_then(|attrs| find(attrs, 1));
            number = value
                .and_then(|v| v.first_chunk())
                .map(|b| u32::from_be_bytes(*b));
        })?;
        match refusals.first() {
            Some(refusal) => Err(refusal.errno),
            None => number.ok_or(Errno::BADMSG),
        }
    }

    /// A table's chains; none when there is no such table.
    pub(crate) fn chains(&mut self, table: &str, version: u8) -> Result<Vec<Chain>, Errno> {
        self.dump(
            version,
            NFT_MSG_GETCHAIN,
            |_| {},
            |attrs| {
                if find_str(attrs, 1) != Some(table) {
                    return None;
                }
                let uses = find(attrs, 6).and_then(|v| v.first_chunk());
                Some(Chain {
                    name: find_str(attrs, 3)?.to_owned(),
                    uses: uses.map_or(u32::MAX, |b| u32::from_be_bytes(*b)),
                })
            },
        )
    }

    /// Lists objects: the attributes of each are handed to `each`.
    pub(crate) fn dump<T>(
        &mut self,
        version: u8,
        kind: u16,
        fill: impl Fn(&mut Batch),
        mut each: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Errno> {
        self.socket.dump(
            |batch| {
                let head = header(family(version), 0);
                batch.message(SUBSYSTEM << 8 | kind, flag::DUMP, &head, &fill);
            },
            |body| each(body.get(4..)?),
        )
    }
}

//! Keeps a lease for the pod's life: renews it in time, rebinds where the server is gone, and,
//! should it be lost all the same, takes the address off the interface and asks for it again
//! (RFC 2131, 4.4.5). Never blocks: who has it polls [`Keeper::fd`] until [`Keeper::deadline`] and
//! calls [`Keeper::turn`].

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use sandbox::packet::PacketSocket;

use super::client::{self, Client, Whom};
use super::message::{Kind, Message, option};
use super::offer::Times;
use super::record::{self, Record};
use crate::kind::addresses_and_routes;
use crate::rtnl::{Changes, Rtnl};

/// The shortest time between two questions.
const SHORTEST: Duration = Duration::from_secs(2);
/// The longest, while a lost address is looked for.
const LONGEST: Duration = Duration::from_secs(300);

/// A lease and what it takes to keep it.
#[derive(Debug)]
pub struct Keeper {
    netns: OwnedFd,
    client: Client,
    record: Record,
    path: PathBuf,
    state: State,
    /// The lease's times, counted from when the machine started, its sleep included.
    lease: Times,
    /// When something has to be done; `None` for never.
    next: Option<Duration>,
    socket: Option<PacketSocket>,
    xid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Bound,
    Renewing,
    Rebinding,
    /// The address is lost and looked for; how often it was.
    Selecting(u32),
    Requesting(u32),
    /// The interface is gone.
    Over,
}

/// Time since the machine started, its sleep included.
fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// `times` from `start` on.
fn from(start: Duration, times: Times) -> Times {
    Times {
        renew: start.saturating_add(times.renew),
        rebind: start.saturating_add(times.rebind),
        end: times.end.map(|end| start.saturating_add(end)),
    }
}

/// The times of a lease that was acknowledged now.
pub(super) fn given(acknowledged: &Message) -> Times {
    from(now(), Times::of(acknowledged))
}

/// When to ask again: in the middle of what is left, as the RFC has it, but not too soon.
fn again(now: Duration, until: Duration) -> Duration {
    let left = until.saturating_sub(now);
    now.saturating_add((left / 2).max(SHORTEST))
        .min(until.max(now + Duration::from_millis(1)))
}

impl Keeper {
    /// Keeps the lease of a record from now on, also one that another process got.
    pub(super) fn resumed(
        netns: OwnedFd,
        client: Client,
        (record, path): (Record, PathBuf),
    ) -> Self {
        // One that has no times was asked for and not given: let the server say.
        let unknown = from(now(), Times::UNKNOWN);
        let lease = record.times.unwrap_or(unknown);
        Self {
            netns,
            client,
            record,
            path,
            state: State::Bound,
            next: lease.end.map(|_| lease.renew),
            lease,
            socket: None,
            xid: 0,
        }
    }

    /// To be polled for reading, while an answer is expected.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// How long nothing needs to be done; `None` for ever.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.next.map(|next| next.saturating_sub(now()))
    }

    /// Does what is due. What a person should know is returned, in words.
    pub fn turn(&mut self) -> Option<String> {
        let mut said = None;
        if let Some(socket) = &self.socket
            && let Ok(Some((message, mac))) = self.client.read(socket, self.xid)
        {
            said = self.answered(&message, mac);
        }
        if self.next.is_some_and(|next| next <= now())
            && let Err(errno) = self.due(now(), &mut said)
        {
            // Down, full or refused: the next question may get through. Gone: none will.
            if matches!(errno, Errno::NODEV | Errno::NXIO) {
                self.state = State::Over;
                self.next = None;
                self.socket = None;
            }
        }
        said
    }

    fn due(&mut self, now: Duration, said: &mut Option<String>) -> Result<(), Errno> {
        if self.lease.end.is_some_and(|end| end <= now)
            && matches!(
                self.state,
                State::Bound | State::Renewing | State::Rebinding
            )
        {
            *said = Some(self.lose("has ended"));
        }
        match self.state {
            State::Bound | State::Renewing if now < self.lease.rebind => {
                let whom = match self.state {
                    State::Bound => Whom::Server,
                    _ => Whom::ServerAnywhere,
                };
                self.state = State::Renewing;
                self.next = Some(again(now, self.lease.rebind));
                self.ask(whom)
            }
            State::Bound | State::Renewing | State::Rebinding => {
                self.state = State::Rebinding;
                self.next = Some(again(now, self.lease.end.unwrap_or(Duration::MAX)));
                self.ask(Whom::Any)
            }
            State::Selecting(tries) | State::Requesting(tries) => {
                self.state = State::Selecting(tries.saturating_add(1));
                let wait = SHORTEST.saturating_mul(1 << tries.min(8)).min(LONGEST);
                self.next = Some(now.saturating_add(wait));
                self.xid = client::number();
                self.open()?;
                let socket = self.socket.as_ref().ok_or(Errno::NODEV)?;
                self.client.discover(socket, self.xid)
            }
            State::Over => Ok(()),
        }
    }

    fn ask(&mut self, whom: Whom) -> Result<(), Errno> {
        self.xid = client::number();
        self.open()?;
        let socket = self.socket.as_ref().ok_or(Errno::NODEV)?;
        self.client.renew(socket, self.xid, &self.record, whom)
    }

    /// The socket is there only while an answer is expected.
    fn open(&mut self) -> Result<(), Errno> {
        if self.socket.is_none() {
            let link = self.link()?;
            let netns = self.netns.as_fd();
            self.socket = Some(sandbox::netns::within(netns, || client::open(link))??);
        }
        Ok(())
    }

    fn link(&self) -> Result<u32, Errno> {
        let mut pod = Rtnl::open_in(self.netns.as_fd()).map_err(|_| Errno::NODEV)?;
        let link = pod.link(&self.record.interface).map_err(|_| Errno::NODEV)?;
        link.map(|link| link.index).ok_or(Errno::NODEV)
    }

    fn answered(&mut self, message: &Message, mac: [u8; 6]) -> Option<String> {
        let same = message.yours == self.record.addr();
        match (self.state, message.kind) {
            (State::Renewing | State::Rebinding, Kind::Ack) if same => {
                self.bound(message, mac);
                None
            }
            (State::Renewing | State::Rebinding, Kind::Ack | Kind::Nak) => {
                Some(self.lose("was taken back by the DHCP server"))
            }
            (State::Selecting(tries), Kind::Offer) if same => {
                let server = message.address(option::SERVER_ID)?;
                self.state = State::Requesting(tries);
                self.next = Some(now().saturating_add(SHORTEST * 2));
                let socket = self.socket.as_ref()?;
                let _ = self
                    .client
                    .take(socket, self.xid, self.record.addr(), server);
                None
            }
            (State::Selecting(1), Kind::Offer) => Some(format!(
                "{}: the DHCP server now offers {} and not {}, which the pod had; the pod's \
                 interface stays without an address",
                self.record.interface,
                message.yours,
                self.record.addr()
            )),
            (State::Requesting(_), Kind::Ack) if same => {
                self.bound(message, mac);
                let restored = self.restore();
                Some(match restored {
                    Ok(()) => format!("{} has its address again", self.record.interface),
                    Err(error) => error.to_string(),
                })
            }
            _ => None,
        }
    }

    fn bound(&mut self, message: &Message, mac: [u8; 6]) {
        self.lease = given(message);
        self.record.times = Some(self.lease);
        self.next = self.lease.end.map(|_| self.lease.renew);
        self.state = State::Bound;
        self.socket = None;
        // After rebinding it may be another server.
        let server = message
            .address(option::SERVER_ID)
            .unwrap_or(self.record.server);
        if server != Ipv4Addr::UNSPECIFIED {
            (self.record.server, self.record.server_mac) = (server, mac);
        }
        // What is lost with an unwritten record is a resumption's good start, no more; and one
        // that was removed meanwhile must not come back.
        if self.is_wanted() {
            let _ = self.record.write(&self.path);
        }
    }

    /// The address is not the pod's any more: it must not be used.
    fn lose(&mut self, how: &str) -> String {
        self.state = State::Selecting(0);
        self.next = Some(now());
        self.socket = None;
        let removed = self.link().ok().and_then(|link| {
            let mut changes = Changes::new();
            changes.delete_address(link, self.record.address);
            changes.tolerating(Errno::ADDRNOTAVAIL);
            Rtnl::open_in(self.netns.as_fd()).ok()?.apply(changes).err()
        });
        let lost = format!(
            "{}: the lease of {} {how}; the address is given up and asked for again",
            self.record.interface, self.record.address
        );
        match removed {
            None => lost,
            Some(error) => format!("{lost}: {error}"),
        }
    }

    fn restore(&self) -> crate::Result<()> {
        let link = self.link().map_err(crate::rtnl::kernel(format!(
            "find network interface {:?}",
            self.record.interface
        )))?;
        let mut changes = Changes::new();
        addresses_and_routes(&mut changes, link, &self.record.result);
        Rtnl::open_in(self.netns.as_fd())?.apply(changes)
    }

    /// Gives the lease back.
    pub fn release(mut self) {
        if !matches!(self.state, State::Selecting(_) | State::Requesting(_))
            && self.open().is_ok()
            && let Some(socket) = &self.socket
        {
            client::release(socket, &self.record, false);
        }
        let _ = record::remove(&self.path);
    }

    /// Whether the lease is still wanted: its record is there, and its interface.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.state != State::Over && self.path.exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_become_denser_but_never_dense() {
        let s = Duration::from_secs;
        assert_eq!(again(s(100), s(200)), s(150));
        assert_eq!(again(s(150), s(200)), s(175));
        assert_eq!(again(s(199), s(200)), s(200));
        assert!(again(s(200), s(200)) > s(200));
        assert!(again(s(200), Duration::MAX) > s(200));
    }
}

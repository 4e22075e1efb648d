//! Talking to a server.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use sandbox::packet::PacketSocket;

use super::message::{CLIENT, Kind, Message, option};
use super::record::Record;

const BROADCAST_MAC: [u8; 6] = [0xff; 6];

/// Largest packet that is taken.
const MOST_BYTES: usize = 1500;

/// Waits between the questions of a first request.
const WAITS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// Who asks, and for what.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) mac: [u8; 6],
    pub(super) id: Vec<u8>,
    /// Options that the server shall tell.
    pub(super) wanted: Vec<u8>,
    /// Options that the server is told.
    pub(super) told: Vec<(u8, Vec<u8>)>,
    /// The address that it would like, if any.
    pub(super) hint: Option<Ipv4Addr>,
}

/// Who is asked to renew a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// The lease's server, at the hardware address that answered before.
    Server,
    /// The lease's server, whatever its hardware address is now.
    ServerAnywhere,
    /// Every server.
    Any,
}

/// A server's answer with the hardware address that it came from.
pub(super) type Answered = (Message, [u8; 6]);

impl Client {
    fn message(&self, kind: Kind, xid: u32) -> Message {
        let message = Message::new(kind, xid, self.mac).with(option::CLIENT_ID, self.id.clone());
        let told = self.told.iter().cloned();
        told.fold(message, |message, (code, value)| message.with(code, value))
    }

    fn asking(&self, kind: Kind, xid: u32) -> Message {
        let size = u16::try_from(MOST_BYTES).unwrap_or_default();
        self.message(kind, xid)
            .with(option::PARAMETERS, self.wanted.clone())
            .with(option::MAX_SIZE, size.to_be_bytes())
    }

    /// Looks for servers.
    pub(super) fn discover(&self, socket: &PacketSocket, xid: u32) -> Result<(), Errno> {
        let mut message = self.asking(Kind::Discover, xid);
        if let Some(hint) = self.hint {
            message = message.with(option::REQUESTED, hint.octets());
        }
        broadcast(socket, &message)
    }

    /// Takes an offer.
    pub(super) fn take(
        &self,
        socket: &PacketSocket,
        xid: u32,
        address: Ipv4Addr,
        server: Ipv4Addr,
    ) -> Result<(), Errno> {
        let message = self
            .asking(Kind::Request, xid)
            .with(option::REQUESTED, address.octets())
            .with(option::SERVER_ID, server.octets());
        broadcast(socket, &message)
    }

    /// Asks for more time.
    pub(super) fn renew(
        &self,
        socket: &PacketSocket,
        xid: u32,
        record: &Record,
        whom: Whom,
    ) -> Result<(), Errno> {
        let mut message = self.asking(Kind::Request, xid);
        message.own = record.addr();
        let (to, mac) = match whom {
            Whom::Server => (record.server, record.server_mac),
            Whom::ServerAnywhere => (record.server, BROADCAST_MAC),
            Whom::Any => (Ipv4Addr::BROADCAST, BROADCAST_MAC),
        };
        socket.send(mac, &message.packet(record.addr(), to))
    }

    /// Asks for an address until there is one.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) fn acquire(
        &self,
        socket: &PacketSocket,
        mut offered: impl FnMut(&Answered) -> Result<(), String>,
    ) -> Result<Answered, String> {
        let sent = |result: Result<(), Errno>| {
            result.map_err(|errno| format!("cannot send: {}", std::io::Error::from(errno)))
        };
        let mut refused = false;
        for wait in WAITS {
            let xid = number();
            sent(self.discover(socket, xid))?;
            let end = Instant::now() + wait;
            let is_offer = |m: &Message| {
                m.kind == Kind::Offer
                    && super::offer::address(m).is_some()
                    && m.address(option::SERVER_ID).is_some()
            };
            let Some(offer) = self.wait(socket, xid, end, is_offer)? else {
                continue;
            };
            offered(&offer)?;
            let server = offer
                .0
                .address(option::SERVER_ID)
                .unwrap_or(Ipv4Addr::UNSPECIFIED);
            for wait in &WAITS[..3] {
                sent(self.take(socket, xid, offer.0.yours, server))?;
                let end = Instant::now() + *wait;
                let yours = offer.0.yours;
                let ends =
                    |m: &Message| m.kind == Kind::Nak || m.kind == Kind::Ack && m.yours == yours;
                match self.wait(socket, xid, end, ends)? {
                    Some((answer, mac)) if answer.kind == Kind::Ack => return Ok((answer, mac)),
                    Some(_) => {
                        refused = true;
                        break;
                    }
                    None => {}
                }
            }
        }
        let total: Duration = WAITS.iter().sum();
        Err(match refused {
            true => "the DHCP server refuses the address that it offered".to_owned(),
            false => format!(
                "no DHCP server gave an address within {} s",
                total.as_secs()
            ),
        })
    }

    /// Waits for an answer that `accept` takes.
    fn wait(
        &self,
        socket: &PacketSocket,
        xid: u32,
        end: Instant,
        accept: impl Fn(&Message) -> bool,
    ) -> Result<Option<Answered>, String> {
        loop {
            while let Some(answer) = self.read(socket, xid).map_err(|e| e.to_string())? {
                if accept(&answer.0) {
                    return Ok(Some(answer));
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let limit = Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            };
            let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&limit));
        }
    }

    /// The next answer to question `xid` that is there already.
    pub(super) fn read(&self, socket: &PacketSocket, xid: u32) -> Result<Option<Answered>, Errno> {
        let mut buffer = [0; MOST_BYTES];
        while let Some((length, mac)) = socket.receive(&mut buffer)? {
            let packet = buffer.get(..length).unwrap_or_default();
            if let Some(message) = Message::parse(packet, xid, self.mac) {
                return Ok(Some((message, mac)));
            }
        }
        Ok(None)
    }
}

fn broadcast(socket: &PacketSocket, message: &Message) -> Result<(), Errno> {
    let packet = message.packet(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    socket.send(BROADCAST_MAC, &packet)
}

/// Gives a lease back. There is no answer to this, so it is said more than once: to the hardware
/// address that answered for the server, and to all, should that have changed, as a bridge's does.
///
/// `new_link`: over an interface that was made a moment ago; what is sent through a bridge's new
/// port is lost at first.
pub(super) fn release(socket: &PacketSocket, record: &Record, new_link: bool) {
    const AT_FIRST: [u64; 4] = [50, 150, 400, 600];
    let mut message = Message::new(Kind::Release, number(), record.mac)
        .with(option::CLIENT_ID, record.client_id.clone())
        .with(option::SERVER_ID, record.server.octets());
    message.own = record.addr();
    let packet = message.packet(record.addr(), record.server);
    // The lease ends by itself where nobody hears this.
    let _ = socket.send(record.server_mac, &packet);
    let _ = socket.send(BROADCAST_MAC, &packet);
    for pause in AT_FIRST.iter().filter(|_| new_link) {
        std::thread::sleep(Duration::from_millis(*pause));
        let _ = socket.send(BROADCAST_MAC, &packet);
    }
}

/// A number that nobody guesses.
pub(super) fn number() -> u32 {
    let mut bytes = [0; 4];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u32::from_ne_bytes(bytes)
}

/// A socket for answers.
pub(super) fn open(link: u32) -> Result<PacketSocket, Errno> {
    PacketSocket::open(link, CLIENT)
}

//! What the relay serves: ports, pairs of connections, clients that send datagrams; one thread and
//! one loop.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use net::Protocol;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, listen};
use rustix::process::{Resource, getrlimit};

use super::Port;
use super::pair::{CHUNK, Pair, Turn};
use super::session::{IDLE, MOST, Session};

/// Connections that wait to be taken.
const BACKLOG: i32 = 1024;
/// Descriptors that are not for pairs of connections.
const SPARE: u64 = 64 + MOST as u64;
/// Where the user has no limit.
const MOST_PAIRS: u64 = 8192;
/// Datagrams of a port before others have their turn.
const DATAGRAMS: usize = 64;
/// Events of a round.
const EVENTS: usize = 64;
/// Where nothing can be accepted.
const PAUSE: Duration = Duration::from_millis(20);
const READABLE: epoll::EventFlags = epoll::EventFlags::IN;
/// A pair is told once of each change, and then looks at both of its connections.
const CHANGES: epoll::EventFlags = READABLE
    .union(epoll::EventFlags::OUT)
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::ET);
/// How often silent clients are looked for.
const ROUND: Duration = Duration::from_secs(10);

/// What an event is about.
enum Entry {
    Listener(OwnedFd, SocketAddr),
    Datagrams(UdpSocket, SocketAddr),
    Pair(Pair),
    Session(Session),
}

/// All of it, by number.
pub(super) struct Table {
    epoll: OwnedFd,
    entries: HashMap<usize, Entry>,
    next: usize,
    sessions: HashMap<(usize, SocketAddr), usize>,
    pairs: usize,
    most_pairs: usize,
    /// Ports have no turn: there are as many connections as there may be.
    full: bool,
    scratch: Vec<u8>,
}

impl Table {
    pub(super) fn new(ports: Vec<Port>) -> Result<Self, Errno> {
        // A pair has two descriptors.
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let spare = SPARE + ports.len() as u64;
        let most = (descriptors.saturating_sub(spare) / 2).clamp(16, MOST_PAIRS);
        let mut table = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            entries: HashMap::new(),
            next: 0,
            sessions: HashMap::new(),
            pairs: 0,
            most_pairs: usize::try_from(most).unwrap_or(usize::MAX),
            full: false,
            scratch: vec![0; CHUNK],
        };
        for Port {
            socket,
            protocol,
            to,
        } in ports
        {
            rustix::io::ioctl_fionbio(&socket, true)?;
            let entry = match protocol {
                Protocol::Udp => Entry::Datagrams(socket.into(), to),
                Protocol::Tcp | Protocol::Sctp => {
                    listen(&socket, BACKLOG)?;
                    Entry::Listener(socket, to)
                }
            };
            table.add(entry)?;
        }
        Ok(table)
    }

    /// Serves as long as nothing ends this process.
    pub(super) fn run(mut self) -> Result<Infallible, Errno> {
        let mut more: Vec<usize> = Vec::new();
        let mut looked = Instant::now();
        loop {
            let limit = match (more.is_empty(), self.sessions.is_empty()) {
                (false, _) => Some(Timespec::default()),
                (true, false) => Timespec::try_from(ROUND).ok(),
                (true, true) => None,
            };
            let mut space = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
            let (events, _) = match epoll::wait(&self.epoll, &mut space, limit.as_ref()) {
                Err(Errno::INTR) => continue,
                waited => waited?,
            };
            let numbers = events.iter().map(|event| event.data.u64() as usize);
            let mut numbers: Vec<usize> = numbers.chain(more.drain(..)).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers.retain(|number| self.turn(*number));
            more = numbers;
            if looked.elapsed() >= ROUND {
                self.forget(|session| session.last.elapsed() >= IDLE);
                looked = Instant::now();
            }
        }
    }

    fn add(&mut self, entry: Entry) -> Result<usize, Errno> {
        let number = self.next;
        self.next += 1;
        match &entry {
            Entry::Listener(socket, _) => self.watch(socket, number, READABLE)?,
            Entry::Datagrams(socket, _) => self.watch(socket, number, READABLE)?,
            Entry::Session(session) => self.watch(&session.socket, number, READABLE)?,
            Entry::Pair(pair) => {
                for stream in pair.streams() {
                    self.watch(stream, number, CHANGES)?;
                }
            }
        }
        self.entries.insert(number, entry);
        Ok(number)
    }

    fn watch(&self, fd: impl AsFd, number: usize, flags: epoll::EventFlags) -> Result<(), Errno> {
        epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(number as u64),
            flags,
        )
    }

    /// Does what there is to do for an entry; whether there may be more at once.
    fn turn(&mut self, number: usize) -> bool {
        // One that ended in this round may have had more events.
        let Some(mut entry) = self.entries.remove(&number) else {
            return false;
        };
        let more = match &mut entry {
            Entry::Listener(socket, to) => {
                self.take(socket, *to);
                false
            }
            Entry::Datagrams(socket, to) => {
                self.receive(number, socket, *to);
                false
            }
            Entry::Session(session) => {
                self.answer(session);
                false
            }
            Entry::Pair(pair) => match pair.turn(&mut self.scratch) {
                Turn::Waits => false,
                Turn::More => true,
                Turn::Over => {
                    drop(entry);
                    self.pairs -= 1;
                    self.listen(true);
                    return false;
                }
            },
        };
        self.entries.insert(number, entry);
        if self.pairs >= self.most_pairs {
            self.listen(false);
        }
        more
    }

    /// Takes connections of a port, or leaves them to wait.
    fn listen(&mut self, on: bool) {
        if self.full != on {
            return;
        }
        self.full = !on;
        for (number, entry) in &self.entries {
            if let Entry::Listener(socket, _) = entry {
                // The socket is open, and is in the set or not, as `full` said.
                let _ = match on {
                    true => self.watch(socket, *number, READABLE),
                    false => epoll::delete(&self.epoll, socket),
                };
            }
        }
    }

    fn take(&mut self, socket: &OwnedFd, to: SocketAddr) {
        while self.pairs < self.most_pairs {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let client = match accept_with(socket, flags) {
                Ok(client) => client,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::AGAIN) => return,
                // The host has no memory or files left: not for long, one hopes.
                Err(_) => return std::thread::sleep(PAUSE),
            };
            // A client that cannot be served finds its connection ended.
            let added = Pair::new(client, to).and_then(|pair| self.add(Entry::Pair(pair)));
            self.pairs += usize::from(added.is_ok());
        }
    }

    fn receive(&mut self, port: usize, socket: &UdpSocket, to: SocketAddr) {
        for _ in 0..DATAGRAMS {
            let Ok((length, client)) = socket.recv_from(&mut self.scratch) else {
                return;
            };
            let known = self.sessions.get(&(port, client)).copied();
            let number = known.or_else(|| self.meet(port, client, to));
            let entry = number.and_then(|number| self.entries.get_mut(&number));
            if let Some(Entry::Session(session)) = entry {
                session.last = Instant::now();
                // Datagrams may be lost.
                let _ = session.socket.send(&self.scratch[..length]);
            }
        }
    }

    fn meet(&mut self, port: usize, client: SocketAddr, to: SocketAddr) -> Option<usize> {
        if self.sessions.len() >= MOST {
            let sessions = self.entries.values().filter_map(Entry::session);
            let oldest = sessions.map(|session| session.last).min();
            self.forget(|session| Some(session.last) <= oldest);
        }
        let session = Session::new(port, client, to).ok()?;
        let number = self.add(Entry::Session(session)).ok()?;
        self.sessions.insert((port, client), number);
        Some(number)
    }

    fn answer(&mut self, session: &mut Session) {
        for _ in 0..DATAGRAMS {
            let length = match session.socket.recv(&mut self.scratch) {
                Ok(length) => length,
                // Nobody listens in the pod: a datagram that was sent came back.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(_) => return,
            };
            session.last = Instant::now();
            if let Some(Entry::Datagrams(socket, _)) = self.entries.get(&session.port) {
                let _ = socket.send_to(&self.scratch[..length], session.client);
            }
        }
    }

    fn forget(&mut self, which: impl Fn(&Session) -> bool) {
        let Self {
            sessions, entries, ..
        } = self;
        sessions.retain(|_, number| {
            let gone = entries
                .get(number)
                .and_then(Entry::session)
                .is_none_or(&which);
            if gone {
                entries.remove(number);
            }
            !gone
        });
    }
}

impl Entry {
    fn session(&self) -> Option<&Session> {
        match self {
            Self::Session(session) => Some(session),
            _ => None,
        }
    }
}

//! Two connections, the client's and the one in the pod, and what flows between them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

/// What is read at once.
pub(super) const CHUNK: usize = 64 << 10;
/// How often a pair reads before others have their turn.
const READS: usize = 16;

/// What became of a pair after its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It waits for its peers.
    Waits,
    /// There is more to pass on.
    More,
    /// It has ended.
    Over,
}

/// A client of a port and its connection in the pod.
#[derive(Debug)]
pub(super) struct Pair {
    client: TcpStream,
    pod: TcpStream,
    connected: bool,
    up: Flow,
    down: Flow,
}

/// One direction.
#[derive(Debug, Default)]
struct Flow {
    /// Read, but not yet taken by the other side.
    pending: Vec<u8>,
    /// The sender sends no more.
    ended: bool,
    /// The receiver knows.
    told: bool,
}

impl Pair {
    /// Connects to the pod; neither side ever blocks.
    pub(super) fn new(client: OwnedFd, to: SocketAddr) -> Result<Self, Errno> {
        let family = match to {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pod = socket_with(family, SocketType::STREAM, flags, None)?;
        for socket in [&client, &pod] {
            sockopt::set_tcp_nodelay(socket, true)?;
        }
        match connect(&pod, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => {
                refuse(&client);
                return Err(errno);
            }
        }
        Ok(Self {
            client: client.into(),
            pod: pod.into(),
            connected: false,
            up: Flow::default(),
            down: Flow::default(),
        })
    }

    /// Both connections, to be polled.
    pub(super) fn streams(&self) -> [&TcpStream; 2] {
        [&self.client, &self.pod]
    }

    /// Passes on what there is. `scratch` has [`CHUNK`] bytes.
    pub(super) fn turn(&mut self, scratch: &mut [u8]) -> Turn {
        if !self.connected {
            match (self.pod.take_error(), self.pod.peer_addr()) {
                (Ok(None), Ok(_)) => self.connected = true,
                (Ok(None), Err(error)) if error.kind() == ErrorKind::NotConnected => {
                    return Turn::Waits;
                }
                _ => return self.broken(),
            }
        }
        let up = self.up.turn(&self.client, &self.pod, scratch);
        let down = self.down.turn(&self.pod, &self.client, scratch);
        match (up, down) {
            (Ok(_), Ok(_)) if self.up.told && self.down.told => Turn::Over,
            (Ok(false), Ok(false)) => Turn::Waits,
            (Ok(_), Ok(_)) => Turn::More,
            _ => self.broken(),
        }
    }

    /// Each side learns that the other did not end well.
    fn broken(&self) -> Turn {
        refuse(&self.client);
        refuse(&self.pod);
        Turn::Over
    }
}

/// Makes the end of a connection a reset.
fn refuse(connection: impl std::os::fd::AsFd) {
    let _ = sockopt::set_socket_linger(connection, Some(Duration::ZERO));
}

impl Flow {
    /// Whether there may be more at once; an error if either side has failed.
    fn turn(
        &mut self,
        mut from: &TcpStream,
        mut to: &TcpStream,
        scratch: &mut [u8],
    ) -> Result<bool, ()> {
        for _ in 0..READS {
            if !self.pending.is_empty() {
                let written = match attempt(|| to.write(&self.pending))? {
                    Some(written) => written,
                    None => return Ok(false),
                };
                self.pending.drain(..written);
                if !self.pending.is_empty() {
                    continue;
                }
                self.pending = Vec::new();
            }
            if self.ended {
                if !self.told {
                    // Who has left already needs not be told.
                    let _ = to.shutdown(Shutdown::Write);
                    self.told = true;
                }
                return Ok(false);
            }
            let read = match attempt(|| from.read(scratch))? {
                Some(read) => &scratch[..read],
                None => return Ok(false),
            };
            self.ended = read.is_empty();
            if !self.ended {
                let written = attempt(|| to.write(read))?.unwrap_or(0);
                self.pending.extend_from_slice(&read[written..]);
            }
        }
        Ok(true)
    }
}

/// `None` where one has to wait.
fn attempt(mut io: impl FnMut() -> std::io::Result<usize>) -> Result<Option<usize>, ()> {
    loop {
        match io() {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(_) => return Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (Pair, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let pair = Pair::new(accepted.into(), address).unwrap();
        let (server, _) = listener.accept().unwrap();
        (pair, client, server)
    }

    #[test]
    fn one_side_ends_and_the_other_goes_on() {
        let (mut pair, mut client, mut server) = pair();
        let mut scratch = vec![0; CHUNK];
        server.write_all(b"first").unwrap();
        assert_ne!(pair.turn(&mut scratch), Turn::Over);
        let mut word = [0; 5];
        client.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"first");
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_ne!(pair.turn(&mut scratch), Turn::Over);
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        assert_eq!(text, "question");
        server.write_all(b"answer").unwrap();
        drop(server);
        while pair.turn(&mut scratch) != Turn::Over {}
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "questionanswer");
    }

    #[test]
    fn what_a_slow_reader_does_not_take_is_kept() {
        let (mut pair, client, mut server) = pair();
        let sent: Vec<u8> = (0..40_000_000_u32).map(|n| (n % 251) as u8).collect();
        let copy = sent.clone();
        let sender = std::thread::spawn(move || server.write_all(&copy).unwrap());
        let mut scratch = vec![0; CHUNK];
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            let mut all = Vec::new();
            let mut client = client;
            client.read_to_end(&mut all).unwrap();
            all
        });
        while !pair.down.told {
            assert_ne!(pair.turn(&mut scratch), Turn::Over);
        }
        sender.join().unwrap();
        drop(pair);
        assert!(reader.join().unwrap() == sent);
    }
}

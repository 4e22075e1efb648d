//! As much of D-Bus as method calls on the system bus need (D-Bus specification, "Message
//! Protocol"): little-endian, no descriptors.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Where the system bus listens, unless `DBUS_SYSTEM_BUS_ADDRESS` says otherwise (D-Bus
/// specification, "Well-known Message Bus Instances").
const SOCKET: &str = "/run/dbus/system_bus_socket";
/// Its answers come in milliseconds; a bus that is stuck must not keep a pod from starting.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer messages are not for us.
const MESSAGE_MAX: usize = 1 << 20;

/// The bus itself, as a destination.
pub(crate) const BUS: Target<'static> = Target {
    name: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// Why systemd could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus cannot be reached, or the connection broke.
    #[error("cannot speak to the system bus: {0}")]
    Io(#[from] io::Error),
    /// The bus said what no bus says.
    #[error("the system bus sent what is not D-Bus")]
    Protocol,
    /// The call was refused: the error's name and its text.
    #[error("{0}: {1}")]
    Refused(String, String),
    /// A job of systemd's ended otherwise than done.
    #[error("systemd's job ended with result {0:?}")]
    Job(String),
}

/// Whose method is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) name: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
}

/// A message that came.
#[derive(Debug, Default)]
pub(crate) struct Message {
    kind: u8,
    reply_to: u32,
    pub(crate) member: String,
    error: String,
    body: Vec<u8>,
}

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// A connection to the system bus.
#[derive(Debug)]
pub(crate) struct Bus {
    socket: UnixStream,
    serial: u32,
    /// Signals that came while an answer was waited for.
    signals: Vec<Message>,
}

impl Bus {
    /// Connects as the user that this process is.
    pub(crate) fn connect() -> Result<Self, Error> {
        let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_default();
        let socket = UnixStream::connect(socket_of(&address).unwrap_or(SOCKET))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut bus = Self {
            socket,
            serial: 0,
            signals: Vec::new(),
        };
        bus.authenticate()?;
        bus.call(BUS, "Hello", &Body::default())?;
        Ok(bus)
    }

    fn authenticate(&mut self) -> Result<(), Error> {
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        let hello = format!("\0AUTH EXTERNAL {hex}\r\n");
        self.socket.write_all(hello.as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            self.socket.read_exact(&mut byte)?;
            answer.push(byte[0]);
            if answer.len() > 1024 {
                return Err(Error::Protocol);
            }
        }
        if !answer.starts_with(b"OK ") {
            let text = String::from_utf8_lossy(&answer).trim().to_owned();
            return Err(Error::Refused("authentication".to_owned(), text));
        }
        Ok(self.socket.write_all(b"BEGIN\r\n")?)
    }

    /// Calls a method and waits for its answer.
    pub(crate) fn call(
        &mut self,
        target: Target<'_>,
        method: &str,
        body: &Body,
    ) -> Result<Message, Error> {
        self.serial += 1;
        let serial = self.serial;
        self.socket
            .write_all(&message(serial, target, method, body))?;
        loop {
            let message = self.receive()?;
            match message.kind {
                METHOD_RETURN if message.reply_to == serial => return Ok(message),
                ERROR if message.reply_to == serial => {
                    let text = message.values().string().unwrap_or_default();
                    return Err(Error::Refused(message.error, text));
                }
                SIGNAL => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// The next signal that this connection asked for.
    pub(crate) fn signal(&mut self) -> Result<Message, Error> {
        loop {
            if !self.signals.is_empty() {
                return Ok(self.signals.remove(0));
            }
            let message = self.receive()?;
            if message.kind == SIGNAL {
                return Ok(message);
            }
        }
    }

    fn receive(&mut self) -> Result<Message, Error> {
        let mut fixed = [0; 16];
        self.socket.read_exact(&mut fixed)?;
        let [kind, body_length, fields_length] = lengths(&fixed).ok_or(Error::Protocol)?;
        let padded = fields_length.next_multiple_of(8);
        if padded + body_length > MESSAGE_MAX {
            return Err(Error::Protocol);
        }
        let mut rest = vec![0; padded + body_length];
        self.socket.read_exact(&mut rest)?;
        let body = rest.split_off(padded);
        rest.truncate(fields_length);
        let mut message = fields(&rest).ok_or(Error::Protocol)?;
        message.kind = kind as u8;
        message.body = body;
        Ok(message)
    }
}

/// The first path among a server's addresses.
fn socket_of(addresses: &str) -> Option<&str> {
    let mut addresses = addresses.split(';');
    let path = addresses.find_map(|address| address.strip_prefix("unix:path="))?;
    path.split(',').next()
}

/// The kind, the body's length and the header fields' length.
fn lengths(fixed: &[u8; 16]) -> Option<[usize; 3]> {
    let number = |at: usize| Some(u32::from_le_bytes(fixed.get(at..at + 4)?.try_into().ok()?));
    let (body, fields) = (number(4)? as usize, number(12)? as usize);
    let sane = fixed[0] == b'l' && body <= MESSAGE_MAX && fields <= MESSAGE_MAX;
    sane.then_some([usize::from(fixed[1]), body, fields])
}

/// The header fields that matter here.
fn fields(bytes: &[u8]) -> Option<Message> {
    let mut message = Message::default();
    // The fields follow 16 bytes, which is a multiple of every alignment.
    let mut values = Values { bytes, at: 0 };
    while values.at < bytes.len() {
        values.align(8);
        let code = values.byte()?;
        match (code, values.signature()?.as_str()) {
            (3, "s") => message.member = values.string()?,
            (4, "s") => message.error = values.string()?,
            (5, "u") => message.reply_to = values.number()?,
            (_, "s" | "o") => drop(values.string()?),
            (_, "g") => drop(values.signature()?),
            (_, "u") => drop(values.number()?),
            _ => return None,
        }
    }
    Some(message)
}

fn message(serial: u32, target: Target<'_>, method: &str, body: &Body) -> Vec<u8> {
    let mut header = Body::default();
    // Flags: none; version 1.
    header.bytes.extend([b'l', METHOD_CALL, 0, 1]);
    header.number(body.bytes.len() as u32);
    header.number(serial);
    let texts = [
        (1, "o", target.path),
        (2, "s", target.interface),
        (3, "s", method),
        (6, "s", target.name),
    ];
    header.array(8, |fields| {
        for (code, kind, text) in texts {
            fields.align(8);
            fields.bytes.push(code);
            fields.signature(kind);
            fields.string(text);
        }
        if !body.signature.is_empty() {
            fields.align(8);
            fields.bytes.push(8);
            fields.signature("g");
            fields.signature(body.signature);
        }
    });
    header.align(8);
    header.bytes.extend(&body.bytes);
    header.bytes
}

/// Arguments of a call.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// The types of all arguments.
    pub(crate) signature: &'static str,
    bytes: Vec<u8>,
}

impl Body {
    pub(crate) fn new(signature: &'static str) -> Self {
        Self {
            signature,
            bytes: Vec::new(),
        }
    }

    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(crate) fn number(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    /// A string or an object path.
    pub(crate) fn string(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// An array whose elements are aligned to so many bytes.
    pub(crate) fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Self)) {
        self.number(0);
        let length = self.bytes.len() - 4;
        self.align(alignment);
        let start = self.bytes.len();
        fill(self);
        let bytes = (self.bytes.len() - start) as u32;
        self.bytes[length..length + 4].copy_from_slice(&bytes.to_le_bytes());
    }

    /// An element of an array of (name, value).
    pub(crate) fn property(&mut self, name: &str, kind: &str, value: impl FnOnce(&mut Self)) {
        self.align(8);
        self.string(name);
        self.signature(kind);
        value(self);
    }

    /// Bytes, as an array.
    pub(crate) fn octets(&mut self, octets: &[u8]) {
        self.array(1, |array| array.bytes.extend(octets));
    }
}

/// Values of a message, one after the other.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Message {
    /// The values of the body.
    pub(crate) fn values(&self) -> Values<'_> {
        Values {
            bytes: &self.body,
            at: 0,
        }
    }
}

impl Values<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn number(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    }

    /// A string or an object path.
    pub(crate) fn string(&mut self) -> Option<String> {
        let length = self.number()? as usize;
        let text = self.take(length.checked_add(1)?)?;
        String::from_utf8(text[..length].to_vec()).ok()
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        let text = self.take(length + 1)?;
        String::from_utf8(text[..length].to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_the_specified_bytes() {
        let mut body = Body::new("su");
        body.string("ab");
        body.number(7);
        assert_eq!(
            body.bytes,
            [2, 0, 0, 0, b'a', b'b', 0, 0, 7, 0, 0, 0],
            "the number is aligned to four bytes"
        );
        let bytes = message(3, BUS, "Hello", &body);
        assert_eq!(bytes.len() % 4, 0);
        let fixed: [u8; 16] = bytes[..16].try_into().unwrap();
        let [kind, length, header] = lengths(&fixed).unwrap();
        assert_eq!((kind, length), (1, 12));
        let found = fields(&bytes[16..16 + header]).unwrap();
        assert_eq!(found.member, "Hello");
        assert_eq!(&bytes[bytes.len() - 12..], &body.bytes);
    }

    #[test]
    fn arrays_know_their_length_without_the_padding_before_it() {
        let mut body = Body::new("a(sv)");
        body.array(8, |array| {
            array.property("P", "u", |value| value.number(5));
        });
        assert_eq!(body.bytes[..4], 16u32.to_le_bytes());
        assert_eq!(body.bytes.len(), 24);
    }

    #[test]
    fn a_path_among_addresses() {
        let addresses = "tcp:host=x;unix:path=/tmp/bus,guid=7;unix:path=/other";
        assert_eq!(socket_of(addresses), Some("/tmp/bus"));
        assert_eq!(socket_of(""), None);
    }

    #[test]
    fn rubbish_is_no_message() {
        assert!(lengths(b"B\x01\0\x01\0\0\0\0\x01\0\0\0\0\0\0\0").is_none());
        assert!(lengths(&[b'l', 2, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
        for bytes in [
            &[3u8, 1, b's', 0, 255, 0, 0, 0][..],
            &[9, 200],
            &[1, 1, b'z', 0],
        ] {
            assert!(fields(bytes).is_none(), "{bytes:?}");
        }
        let mut values = Values {
            bytes: &[255; 6],
            at: 0,
        };
        assert!(values.string().is_none());
    }
}

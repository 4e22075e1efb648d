//! Blobs of a registry, resumed where a connection breaks.

use std::io::{self, Read};
use std::time::Duration;

use oci::Digest;
use store::Opened;

use super::session::Session;
use crate::Result;

/// Attempts in a row that bring nothing.
const ATTEMPTS: u32 = 3;

/// Opens a blob at an offset, or from its beginning where the registry cannot skip.
pub(super) fn open<'a>(session: &'a Session<'a>, blob: &Digest, offset: u64) -> Result<Opened<'a>> {
    let (body, from, left) = ask(session, blob, offset)?;
    let blob = Blob {
        session,
        digest: blob.clone(),
        at: from,
        end: left.map(|left| from.saturating_add(left)),
        body,
        failures: 0,
    };
    Ok((Box::new(blob), from))
}

type Answer = (Box<dyn Read + Send>, u64, Option<u64>);

/// Asks for the rest of a blob: its bytes, where they begin, how many there are.
fn ask(session: &Session<'_>, blob: &Digest, offset: u64) -> Result<Answer> {
    let path = format!("blobs/{blob}");
    let range = [("range", format!("bytes={offset}-"))];
    let headers = match offset {
        0 => &[][..],
        _ => &range[..],
    };
    let response = match session.get(&path, headers) {
        // What is there already is longer than what there is to have.
        Err(error) if error.status() == Some(416) && offset > 0 => session.get(&path, &[])?,
        other => other?,
    };
    let begins = response.header("content-range").and_then(|range| {
        range
            .strip_prefix("bytes ")?
            .split('-')
            .next()?
            .parse()
            .ok()
    });
    let from = match response.status {
        206 => begins.unwrap_or(offset),
        _ => 0,
    };
    let length = response.length();
    Ok((response.body(), from, length))
}

/// The bytes of a blob, asked for again when they stop too early.
struct Blob<'a> {
    session: &'a Session<'a>,
    digest: Digest,
    at: u64,
    end: Option<u64>,
    body: Box<dyn Read + Send>,
    failures: u32,
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let fault = match self.body.read(buffer) {
                Ok(0) if !buffer.is_empty() && self.end.is_some_and(|end| self.at < end) => {
                    io::Error::from(io::ErrorKind::UnexpectedEof)
                }
                Ok(read) => {
                    self.at += read as u64;
                    if read > 0 {
                        self.failures = 0;
                    }
                    return Ok(read);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => e,
            };
            self.again(fault)?;
        }
    }
}

impl Blob<'_> {
    /// Asks for what is missing.
    fn again(&mut self, fault: io::Error) -> io::Result<()> {
        if self.failures == ATTEMPTS {
            return Err(broken(&self.digest, &fault));
        }
        std::thread::sleep(Duration::from_millis(200 << self.failures));
        self.failures += 1;
        match ask(self.session, &self.digest, self.at) {
            Ok((body, from, _)) if from == self.at => self.body = body,
            // From the beginning: what is known already is skipped.
            Ok((mut body, 0, _)) => {
                let skipped = io::copy(&mut (&mut body).take(self.at), &mut io::sink())?;
                if skipped < self.at {
                    return Err(broken(&self.digest, &fault));
                }
                self.body = body;
            }
            Ok(_) => return Err(broken(&self.digest, &fault)),
            // The next read tries again.
            Err(_) if self.failures < ATTEMPTS => self.body = Box::new(io::empty()),
            Err(error) => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)),
        }
        Ok(())
    }
}

fn broken(digest: &Digest, fault: &io::Error) -> io::Error {
    // A kind that no decoder takes for one of its own.
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        format!("the connection for {digest} broke off: {fault}"),
    )
}

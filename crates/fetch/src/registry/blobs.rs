//! Blobs of a registry, resumed where a connection breaks.

use std::io::{self, Read};

use oci::Digest;
use store::Opened;

use super::session::Session;
use crate::Result;
use crate::http::Persistence;

/// Opens a blob at an offset, or from its beginning where the registry cannot skip.
pub(super) fn open<'a>(session: &'a Session<'a>, blob: &Digest, offset: u64) -> Result<Opened<'a>> {
    let (body, from, left) = ask(session, blob, offset)?;
    let blob = Blob {
        session,
        digest: blob.clone(),
        at: from,
        end: left.map(|left| from.saturating_add(left)),
        body,
        persistence: Persistence::default(),
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
    let from = match response.status {
        206 => response.begins().unwrap_or(offset),
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
    persistence: Persistence,
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
        if !self.persistence.again(self.at, &fault) {
            return Err(broken(&self.digest, &fault));
        }
        match ask(self.session, &self.digest, self.at) {
            Ok((body, from, _)) if from == self.at => self.body = body,
            // From the beginning: what is known already is skipped.
            Ok((mut body, 0, _)) => {
                let skipped = io::copy(&mut (&mut body).take(self.at), &mut io::sink());
                if skipped.map_err(|e| broken(&self.digest, &e))? < self.at {
                    return Err(broken(&self.digest, &fault));
                }
                self.body = body;
            }
            Ok(_) => return Err(broken(&self.digest, &fault)),
            // The next read tries again: an empty body stands for an attempt that came to nothing.
            Err(_) if !self.persistence.is_over() => self.body = Box::new(io::empty()),
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::wearing::{self, server};

    fn fetched(registry: &str) -> io::Error {
        let client = wearing::client();
        let image = distribution::Docker::parse(&format!("{registry}/it")).unwrap();
        let session = Session::new(&client, &image, &|_| Ok(None));
        let digest = Digest::from_sha256(&[7; 32]);
        let start = Instant::now();
        let (mut body, _) = open(&session, &digest, 0).unwrap();
        let error = io::copy(&mut body, &mut io::sink()).unwrap_err();
        // In any case long before all of it would have come.
        assert!(start.elapsed() < Duration::from_secs(30));
        error
    }

    #[test]
    fn servers_that_wear_one_out_are_given_up() {
        for (what, registry) in [
            ("silent", server(10, Duration::ZERO, true)),
            (
                "dripping",
                server(1_000_000, Duration::from_millis(20), true),
            ),
            ("closing", server(10, Duration::ZERO, false)),
        ] {
            let error = fetched(&registry);
            assert!(error.to_string().contains("broke off"), "{what}: {error}");
        }
    }
}

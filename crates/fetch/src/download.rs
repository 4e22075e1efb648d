//! Archives over HTTP: asked for only when they changed, resumed where an earlier fetch broke off.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::Auth;
use rustix::fs::OFlags;

use crate::http::{Persistence, Request, Response, headers_for, max_age};
use crate::{Client, Error, Progress, Result};

/// A server that wants to be asked again later, once the image was fetched, says this.
const DEFERRED: u16 = 202;
/// Bytes of the name of a version that is kept.
const ETAG: u64 = 4096;

/// Gets files from servers.
pub struct Downloader<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// Who the user is to servers.
    pub hosts: &'a BTreeMap<String, Auth>,
    /// Where downloads are kept that are not finished.
    pub scratch: &'a Path,
    /// Who watches.
    pub progress: &'a dyn Progress,
}

/// What a server has for a signature.
#[derive(Debug)]
pub enum Deferrable {
    /// Here it is.
    Now(Vec<u8>),
    /// It will be there when the image was fetched.
    Later,
}

/// A file that is arriving. What is read is kept, so that another fetch can go on.
pub struct Download {
    /// The server's name for this version of the file.
    pub etag: String,
    /// For how long it may be used without asking again.
    pub max_age: Duration,
    body: Box<dyn Read + Send>,
    partial: Partial,
    /// Bytes that are there, and how many of them were read.
    there: u64,
    at: u64,
    length: Option<u64>,
    url: String,
}

impl Downloader<'_> {
    fn ask(&self, url: &str, headers: Vec<(&'static str, String)>) -> Result<Response> {
        let request = Request {
            url: url.to_owned(),
            headers,
            ..Request::default()
        };
        self.client
            .ask_as(&request, &|url| headers_for(self.hosts, url))
    }

    /// A small file.
    ///
    /// # Errors
    /// It cannot be had, or is larger.
    pub fn small(&self, url: &str, limit: usize) -> Result<Vec<u8>> {
        self.ask(url, Vec::new())?.good()?.whole(limit)
    }

    /// A small file that may only be there later.
    ///
    /// # Errors
    /// As [`Downloader::small`].
    pub fn deferrable(&self, url: &str, limit: usize) -> Result<Deferrable> {
        let response = self.ask(url, Vec::new())?.good()?;
        match response.status {
            DEFERRED => Ok(Deferrable::Later),
            _ => response.whole(limit).map(Deferrable::Now),
        }
    }

    /// A page, and whether it is one: `None` where the server has nothing.
    pub(crate) fn page(&self, url: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        let response = self.ask(url, Vec::new())?;
        match response.status {
            400..=499 => Ok(None),
            _ => response.good()?.whole(limit).map(Some),
        }
    }

    /// A large file; `None` if it is still the one that `etag` names.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn large(&self, url: &str, etag: Option<&str>) -> Result<Option<Download>> {
        let partial = Partial::open(self.scratch, url)?;
        let (mut have, kept) = partial.state()?;
        let mut headers = Vec::new();
        if have > 0 && !kept.is_empty() {
            headers.push(("range", format!("bytes={have}-")));
            headers.push(("if-range", kept.clone()));
        }
        if let Some(etag) = etag.filter(|e| !e.is_empty()) {
            headers.push(("if-none-match", etag.to_owned()));
        }
        let mut response = self.ask(url, headers)?;
        if response.status == 416 {
            partial.cut("")?;
            response = self.ask(url, Vec::new())?;
        }
        if response.status == 304 && etag.is_some() {
            partial.discard();
            return Ok(None);
        }
        let response = response.good()?;
        let new = response.header("etag").unwrap_or_default().to_owned();
        if !(response.status == 206
            && response.begins() == Some(have)
            && (new.is_empty() || new == kept))
        {
            if response.status == 206 {
                partial.cut("")?;
                return Err(Error::Http {
                    url: url.to_owned(),
                    reason: "it sends another part than was asked for, try again".to_owned(),
                });
            }
            // A weak name does not promise the same bytes.
            let strong = if new.starts_with("W/") { "" } else { &new };
            partial.cut(strong)?;
            have = 0;
        }
        Ok(Some(Download {
            max_age: max_age(response.header("cache-control")),
            length: response.length().map(|l| l.saturating_add(have)),
            url: response.url.clone(),
            etag: new,
            body: response.body(),
            there: have,
            at: 0,
            partial,
        }))
    }

    /// The same, watched, and taken up again where its connection breaks.
    pub fn watched<'d>(&'d self, download: &'d mut Download, kind: &'static str) -> Watched<'d> {
        Watched {
            name: download.url.clone(),
            download,
            kind,
            downloader: self,
            persistence: Persistence::default(),
        }
    }

    /// Asks for what is missing of a download; false if the server has another version by now, or
    /// never gave this one a name.
    fn resume(&self, download: &mut Download) -> Result<bool> {
        let version = download.partial.read_etag();
        if version.is_empty() {
            return Ok(false);
        }
        let headers = vec![
            ("range", format!("bytes={}-", download.at)),
            ("if-range", version.clone()),
        ];
        let response = self.ask(&download.url, headers)?.good()?;
        let same = response.header("etag").is_none_or(|etag| etag == version);
        if response.status != 206 || response.begins() != Some(download.at) || !same {
            return Ok(false);
        }
        download.body = response.body();
        Ok(true)
    }
}

impl Download {
    /// Reads all bytes again that were read, from what was kept of them.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn again(&self) -> Result<impl Read + use<>> {
        let file = self.partial.file.try_clone();
        let file = file.map_err(Error::io("read", &self.partial.path))?;
        Ok(Positioned { file, at: 0 }.take(self.there))
    }

    /// An error that no decoder takes for one of its own.
    fn broken(&self, reason: &str, waited: bool) -> io::Error {
        let text = format!("{} ends after {} bytes: {reason}", self.url, self.at);
        match waited {
            true => io::Error::new(io::ErrorKind::TimedOut, text),
            false => io::Error::new(io::ErrorKind::ConnectionAborted, text),
        }
    }

    /// Forgets what was kept: the file has arrived, or is no good.
    pub fn finish(self) {
        self.partial.discard();
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at < self.there {
            let left = usize::try_from(self.there - self.at).unwrap_or(usize::MAX);
            let room = left.min(buffer.len());
            let read = self.partial.file.read_at(&mut buffer[..room], self.at)?;
            self.at += read as u64;
            return Ok(read);
        }
        let read = match self.body.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
            other => other
                .map_err(|e| self.broken(&e.to_string(), e.kind() == io::ErrorKind::TimedOut))?,
        };
        self.partial.file.write_all_at(&buffer[..read], self.at)?;
        self.at += read as u64;
        self.there = self.at;
        match self.length {
            Some(length) if read == 0 && self.at < length && !buffer.is_empty() => {
                Err(self.broken(&format!("it should have {length}"), false))
            }
            _ => Ok(read),
        }
    }
}

/// A download whose progress is shown.
pub struct Watched<'d> {
    download: &'d mut Download,
    kind: &'static str,
    name: String,
    downloader: &'d Downloader<'d>,
    persistence: Persistence,
}

impl Watched<'_> {
    /// Reads all bytes again that were read, from what was kept of them.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn again(&self) -> Result<impl Read + use<>> {
        self.download.again()
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.download.read(buffer) {
                Ok(read) => {
                    let (at, length) = (self.download.at, self.download.length);
                    let progress = self.downloader.progress;
                    progress.update(self.kind, &self.name, at, length);
                    return Ok(read);
                }
                Err(fault) if is_broken(&fault) => self.go_on(fault)?,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Watched<'_> {
    /// Finds the rest of a download that broke off; gives up with what broke it first.
    fn go_on(&mut self, fault: io::Error) -> io::Result<()> {
        loop {
            if !self.persistence.again(self.download.at, &fault) {
                return Err(fault);
            }
            match self.downloader.resume(self.download) {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(fault),
                Err(_) => {}
            }
        }
    }
}

/// Whether it is the connection that failed, not the disk.
fn is_broken(fault: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, TimedOut};
    matches!(fault.kind(), ConnectionAborted | TimedOut)
}

struct Positioned {
    file: File,
    at: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The bytes of a download that has not finished, and beside them the name of their version. The
/// lock keeps others from the same download; it dies with its holder.
struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    fn open(scratch: &Path, url: &str) -> Result<Self> {
        fs::create_dir_all(scratch).map_err(Error::io("create directory", scratch))?;
        let digits: String = sha::Sha512::of(url.as_bytes())[..32]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let path = scratch.join(format!("sha512-{digits}"));
        let file = store::open_download(&path)?;
        Ok(Self { file, path })
    }

    fn etag_path(&self) -> PathBuf {
        self.path.with_extension("etag")
    }

    /// The name of the version that is kept: none if it cannot be read, or was put there by somebody
    /// else as a link to what no server should see.
    fn read_etag(&self) -> String {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut text = String::new();
        let read = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(self.etag_path())
            .and_then(|file| file.take(ETAG).read_to_string(&mut text));
        match read {
            Ok(read) if (read as u64) < ETAG => text,
            _ => String::new(),
        }
    }

    /// Bytes that are there, and the name of their version.
    fn state(&self) -> Result<(u64, String)> {
        let meta = self.file.metadata();
        let length = meta.map_err(Error::io("read", &self.path))?.len();
        let etag = self.read_etag();
        match etag.is_empty() {
            // Nobody could say that what follows belongs to it.
            true => Ok((0, etag)),
            false => Ok((length, etag)),
        }
    }

    /// Begins anew with another version.
    fn cut(&self, etag: &str) -> Result<()> {
        let beside = self.etag_path();
        let _ = fs::remove_file(&beside);
        self.file.set_len(0).map_err(Error::io("cut", &self.path))?;
        if !etag.is_empty() {
            let mut new = OpenOptions::new();
            let new = new.write(true).create_new(true).mode(0o660).open(&beside);
            new.and_then(|mut file| io::Write::write_all(&mut file, etag.as_bytes()))
                .map_err(Error::io("write", &beside))?;
        }
        Ok(())
    }

    fn discard(self) {
        let _ = fs::remove_file(self.etag_path());
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Partial {
    /// Nothing of what never began stays. The file is still locked, and may be gone already.
    fn drop(&mut self) {
        let nothing = |meta: fs::Metadata| meta.len() == 0 && meta.nlink() > 0;
        if self.file.metadata().is_ok_and(nothing) {
            let _ = fs::remove_file(self.etag_path());
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{Quiet, wearing};

    #[test]
    fn servers_that_wear_one_out_are_given_up() {
        for (pause, words) in [
            (Duration::ZERO, "after 10 bytes: timeout"),
            (Duration::from_millis(20), "the server sends too slowly"),
        ] {
            let bytes = if pause.is_zero() { 10 } else { 1_000_000 };
            let server = wearing::server(bytes, pause, true);
            let url = format!("http://{server}/app.aci");
            let client = wearing::client();
            let scratch = tempfile::tempdir().unwrap();
            let downloader = Downloader {
                client: &client,
                hosts: &BTreeMap::new(),
                scratch: scratch.path(),
                progress: &Quiet,
            };
            let start = Instant::now();
            let mut download = downloader.large(&url, None).unwrap().unwrap();
            let mut watched = downloader.watched(&mut download, "ACI");
            let error = io::copy(&mut watched, &mut io::sink()).unwrap_err();
            // In any case long before all of it would have come.
            assert!(start.elapsed() < Duration::from_secs(30));
            let text = error.to_string();
            assert!(text.contains(&url) && text.contains(words), "{text}");
        }
    }
}

//! Files of apps' lines as the kubelet reads them: for each line its time, its stream and its text.
//!
//! They are written at once and by the supervisor itself, as the pod's own files are: a file system
//! that hangs keeps the pod waiting.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

use memchr::{memchr_iter, memrchr};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, ftruncate, openat, openat2};
use rustix::io::Errno;
use sandbox::{Context, Error};
use stage1_abi::path;

use crate::output::lines;

/// One stream of an app on its way to the app's file.
#[derive(Debug)]
pub(crate) struct KubernetesLog {
    /// `stdout` or `stderr`.
    stream: &'static str,
    file: Rc<RefCell<File>>,
}

/// An app's file, which both its streams go to.
#[derive(Debug)]
struct File {
    fd: OwnedFd,
    /// It ends in the midst of a line.
    torn: bool,
    /// Lines that the disk refused, and why it refused the last of them.
    lost: usize,
    fault: Errno,
}

impl KubernetesLog {
    /// Opens an app's file, for its standard output and its standard error. What an earlier start
    /// wrote stays.
    pub(crate) fn open(path: &Path) -> Result<[Self; 2], Error> {
        let file = Rc::new(RefCell::new(File::open(path)?));
        Ok(["stdout", "stderr"].map(|stream| Self {
            stream,
            file: Rc::clone(&file),
        }))
    }

    /// Takes [lines].
    pub(crate) fn lines(&self, bytes: &[u8]) {
        self.file.borrow_mut().lines(self.stream, bytes);
    }
}

impl Drop for KubernetesLog {
    /// What is missing is said before nobody knows of it any more.
    fn drop(&mut self) {
        self.file.borrow_mut().catch_up(self.stream);
    }
}

impl File {
    fn open(path: &Path) -> Result<Self, Error> {
        let dir = Path::new("/").join(path::KUBERNETES_LOG);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, &dir, flags, Mode::empty()).context("open", dir.display())?;
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::APPEND
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        // Others may write to the directory: nothing there leads this process away.
        let beneath =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = openat2(dir, path, flags, Mode::from_raw_mode(0o640), beneath)
            .context("open log", path.display())?;
        let stat = fstat(&fd).context("inspect log", path.display())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
            let what = format!("{}, which is no file with one name", path.display());
            return Err(Errno::INVAL).context("open log", what);
        }
        let mut last = [b'\n'];
        if let Some(at) = u64::try_from(stat.st_size)
            .ok()
            .and_then(|s| s.checked_sub(1))
        {
            // Whether it can be read makes no difference but for a line's end.
            let _ = rustix::io::pread(&fd, &mut last, at);
        }
        Ok(Self {
            fd,
            torn: last != *b"\n",
            lost: 0,
            fault: Errno::NOSPC,
        })
    }

    fn lines(&mut self, stream: &str, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let head = head(stream);
        let mut text = Vec::with_capacity(bytes.len() + head.len());
        for line in lines(bytes) {
            text.extend_from_slice(head.as_bytes());
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        // A full disk loses lines, but never stops an app.
        let missing = match self.catch_up(stream) {
            true => self.write(&text).err(),
            false => Some(text.as_slice()),
        };
        self.lost += missing.map_or(0, |text| memchr_iter(b'\n', text).count());
    }

    /// Ends a line that was torn, and says what is missing; false if there is no room yet.
    fn catch_up(&mut self, stream: &str) -> bool {
        if !self.torn && self.lost == 0 {
            return true;
        }
        // Somebody may have made room by taking all there was.
        let begun = fstat(&self.fd).is_ok_and(|stat| stat.st_size > 0);
        let end = if self.torn && begun { "\n" } else { "" };
        let lost = match self.lost {
            0 => String::new(),
            lost => {
                let (head, why) = (head(stream), std::io::Error::from(self.fault));
                format!("{head}rkt: {lost} lines were lost: {why}\n")
            }
        };
        let caught_up = self.write(format!("{end}{lost}").as_bytes()).is_ok();
        if caught_up {
            (self.torn, self.lost) = (false, 0);
        }
        caught_up
    }

    /// Writes all of these lines; those that are left, if that is not possible.
    fn write<'t>(&mut self, text: &'t [u8]) -> Result<(), &'t [u8]> {
        let mut written = 0;
        while written < text.len() {
            match rustix::io::write(&self.fd, &text[written..]) {
                Err(Errno::INTR) => {}
                Ok(length @ 1..) => written += length,
                other => {
                    self.fault = other.err().unwrap_or(Errno::IO);
                    let whole = memrchr(b'\n', &text[..written]).map_or(0, |end| end + 1);
                    self.take_back(written - whole);
                    return Err(&text[whole..]);
                }
            }
        }
        Ok(())
    }

    /// Takes back the beginning of a line, so that whoever reads finds only whole ones.
    fn take_back(&mut self, bytes: usize) {
        if bytes > 0 {
            let size = fstat(&self.fd).map(|stat| stat.st_size as u64);
            let cut = size.and_then(|size| ftruncate(&self.fd, size.saturating_sub(bytes as u64)));
            self.torn = cut.is_err();
        }
    }
}

/// What a line begins with.
fn head(stream: &str) -> String {
    let now = humantime::format_rfc3339_nanos(SystemTime::now());
    format!("{now} {stream} ")
}

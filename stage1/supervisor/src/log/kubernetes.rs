//! Files of apps' lines as the kubelet reads them: for each line its time, its stream and its text.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::SystemTime;

use memchr::memchr_iter;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;
use sandbox::{Context, Error};
use stage1_abi::path;

use crate::output::{Splitter, lines};

/// One stream of an app on its way to the app's file.
#[derive(Debug)]
pub(crate) struct KubernetesLog {
    file: OwnedFd,
    /// `stdout` or `stderr`.
    stream: &'static str,
    splitter: Splitter,
    /// What was written last ends in the midst of a line.
    torn: bool,
    /// Lines that the disk refused.
    lost: usize,
}

impl KubernetesLog {
    /// Opens an app's file, for its standard output and its standard error. What an earlier start
    /// wrote stays.
    pub(crate) fn open(file: &Path) -> Result<[Self; 2], Error> {
        let dir = Path::new("/").join(path::KUBERNETES_LOG);
        let opened = openat(
            CWD,
            &dir,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .and_then(|dir| {
            // Others may write to the directory: neither a link nor a pipe leads this process away.
            openat2(
                dir,
                file,
                OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::APPEND
                    | OFlags::NONBLOCK
                    | OFlags::NOCTTY
                    | OFlags::CLOEXEC,
                Mode::from_raw_mode(0o640),
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
            )
        })
        .and_then(|file| match fstat(&file)?.st_mode {
            mode if FileType::from_raw_mode(mode) == FileType::RegularFile => Ok(file),
            _ => Err(Errno::INVAL),
        })
        .and_then(|file| {
            let other = rustix::io::fcntl_dupfd_cloexec(&file, 3)?;
            Ok([Self::new(file, "stdout"), Self::new(other, "stderr")])
        });
        opened.context("open log", file.display())
    }

    fn new(file: OwnedFd, stream: &'static str) -> Self {
        Self {
            file,
            stream,
            splitter: Splitter::default(),
            torn: false,
            lost: 0,
        }
    }

    /// Takes what was read of the stream, which may end in the midst of a line.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.take(bytes, |lines| self.lines(lines));
        self.splitter = splitter;
    }

    /// The stream's end.
    pub(crate) fn end(&mut self) {
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.flush(|lines| self.lines(lines));
    }

    /// Takes [lines].
    pub(crate) fn lines(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let head = format!(
            "{} {} ",
            humantime::format_rfc3339_nanos(SystemTime::now()),
            self.stream
        );
        let mut text = Vec::with_capacity(bytes.len() + head.len());
        for line in lines(bytes) {
            text.extend_from_slice(head.as_bytes());
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        // A full disk loses lines, but never stops an app.
        let missing = match self.catch_up(&head) {
            true => self.write(&text).err(),
            false => Some(text.as_slice()),
        };
        self.lost += missing.map_or(0, |text| memchr_iter(b'\n', text).count());
    }

    /// Ends the line that was torn, and says what is missing; false if there is no room yet.
    fn catch_up(&mut self, head: &str) -> bool {
        let end = if self.torn { "\n" } else { "" };
        let lost = match self.lost {
            0 => String::new(),
            lost => format!("{head}rkt: {lost} lines were lost: the disk is full\n"),
        };
        let caught_up = self.write(format!("{end}{lost}").as_bytes()).is_ok();
        if caught_up {
            self.lost = 0;
        }
        caught_up
    }

    /// Writes all of it; what is left, if that is not possible.
    fn write<'t>(&mut self, mut text: &'t [u8]) -> Result<(), &'t [u8]> {
        while !text.is_empty() {
            match rustix::io::write(&self.file, text) {
                Ok(0) => return Err(text),
                Ok(written) => {
                    self.torn = text[written - 1] != b'\n';
                    text = &text[written..];
                }
                Err(Errno::INTR) => {}
                Err(_) => return Err(text),
            }
        }
        Ok(())
    }
}

//! A directory as an archive: owners, modes, times, hard links, devices, extended attributes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;

use crate::extract::welcome;

/// Adds a directory that nobody else changes, with all below it, under a prefix; sorted by name, so
/// that the same directory gives the same bytes. `owner` turns a user or group id on disk into the
/// one to write.
pub(crate) fn append_tree<W: Write>(
    tar: &mut tar::Builder<W>,
    root: &Path,
    prefix: &Path,
    owner: &dyn Fn(u32) -> u32,
) -> io::Result<()> {
    let mut links: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let full = root.join(&path);
        let meta = full.symlink_metadata()?;
        let name = prefix.join(&path);
        if !name.as_os_str().is_empty() {
            entry(tar, &full, &name, &meta, owner, &mut links)?;
        }
        if meta.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&full)?
                .map(|e| e.map(|e| path.join(e.file_name())))
                .collect::<io::Result<_>>()?;
            names.sort_unstable_by(|a, b| b.cmp(a));
            waiting.extend(names);
        }
    }
    Ok(())
}

fn entry<W: Write>(
    tar: &mut tar::Builder<W>,
    full: &Path,
    name: &Path,
    meta: &Metadata,
    owner: &dyn Fn(u32) -> u32,
    links: &mut HashMap<(u64, u64), PathBuf>,
) -> io::Result<()> {
    let kind = meta.file_type();
    // Sockets mean nothing in an archive.
    if kind.is_socket() {
        return Ok(());
    }
    let mut header = tar::Header::new_gnu();
    header.set_mode(meta.mode() & 0o7777);
    header.set_uid(u64::from(owner(meta.uid())));
    header.set_gid(u64::from(owner(meta.gid())));
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header.set_size(0);
    if !meta.is_dir() && meta.nlink() > 1 {
        let key = (meta.dev(), meta.ino());
        if let Some(first) = links.get(&key) {
            header.set_entry_type(tar::EntryType::Link);
            return tar.append_link(&mut header, name, first);
        }
        links.insert(key, name.to_owned());
    }
    extensions(tar, full, meta)?;
    if kind.is_symlink() {
        header.set_entry_type(tar::EntryType::Symlink);
        return tar.append_link(&mut header, name, fs::read_link(full)?);
    }
    if meta.is_file() {
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(meta.len());
        return tar.append_data(&mut header, name, File::open(full)?);
    }
    header.set_entry_type(match () {
        () if kind.is_dir() => tar::EntryType::Directory,
        () if kind.is_fifo() => tar::EntryType::Fifo,
        () if kind.is_block_device() => tar::EntryType::Block,
        () => tar::EntryType::Char,
    });
    if kind.is_block_device() || kind.is_char_device() {
        header.set_device_major(rustix::fs::major(meta.rdev()))?;
        header.set_device_minor(rustix::fs::minor(meta.rdev()))?;
    }
    tar.append_data(&mut header, name, io::empty())
}

/// Extended attributes, and what a header cannot say of the time, as pax records for the entry that
/// follows.
fn extensions<W: Write>(tar: &mut tar::Builder<W>, path: &Path, meta: &Metadata) -> io::Result<()> {
    let mut names = vec![0; 64 << 10];
    let length = match llistxattr(path, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    for name in names[..length].split(|b| *b == 0) {
        if !welcome(name) {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = lgetxattr(path, OsStr::from_bytes(name), &mut value[..])?;
        value.truncate(length);
        let text = String::from_utf8_lossy(name);
        records.push((format!("SCHILY.xattr.{text}"), value));
    }
    if meta.mtime_nsec() != 0 || meta.mtime() < 0 {
        let time = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        let sign = if time < 0 { "-" } else { "" };
        let (seconds, nanos) = (time.abs() / 1_000_000_000, time.abs() % 1_000_000_000);
        let text = format!("{sign}{seconds}.{nanos:09}");
        records.push(("mtime".to_owned(), text.into_bytes()));
    }
    records.sort_unstable();
    if records.is_empty() {
        return Ok(());
    }
    let pairs = records.iter().map(|(n, v)| (n.as_str(), v.as_slice()));
    tar.append_pax_extensions(pairs)
}

/// Adds a small file.
pub(crate) fn append_file<W: Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    append_stream(tar, name, bytes.len() as u64, bytes)
}

/// Adds a file of known size.
pub(crate) fn append_stream<W: Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    size: u64,
    bytes: impl io::Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    tar.append_data(&mut header, name, bytes)
}

//! How much of the kernel a program can reach, measured from where it runs.

#![expect(
    unsafe_code,
    reason = "system calls are asked for by their numbers, and filters loaded, without a library"
)]

use std::fs;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use serde_json::{Value, json};

/// Numbers above are of calls that no kernel has yet.
const LAST_CALL: i64 = 480;
/// What marks a call as one that is only asked about.
const MARK: u32 = 0x5EC0_0DE5;
/// What such a call returns when no filter stands in its way.
const ALLOWED: i32 = 1234;
/// Files and directories that are looked at below `/proc` and `/sys`.
const ENTRIES_MAX: usize = 400_000;

/// Prints what is reachable, as one JSON object on one line.
pub(crate) fn print() -> ExitCode {
    let calls: Vec<Value> = (0..=LAST_CALL)
        .map(|number| json!([number, ask(number)]))
        .collect();
    println!(
        "{}",
        json!({
            "calls": calls,
            "writable": writable(),
            "status": crate::report::status(),
            "processes": crate::report::processes().len(),
            "devices": crate::report::devices().into_keys().collect::<Vec<_>>(),
            "uid_map": fs::read_to_string("/proc/self/uid_map").unwrap_or_default().split_whitespace().collect::<Vec<_>>(),
            "readable": readable(),
        })
    );
    ExitCode::SUCCESS
}

/// Files below `/proc` and `/sys` that can be opened for writing, beside processes' own.
fn writable() -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from("/proc"), PathBuf::from("/sys")];
    let mut seen = 0;
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            seen += 1;
            if seen > ENTRIES_MAX {
                return found;
            }
            let name = entry.file_name();
            let first = name.as_encoded_bytes().first().copied().unwrap_or(b'0');
            let own = directory == Path::new("/proc")
                && (first.is_ascii_digit() || name == "self" || name == "thread-self");
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if own || kind.is_symlink() {
                continue;
            }
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if can_write(&entry.path()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Whether a file takes writes at all (root's privileges over files pass over its mode), and from
/// this process.
fn can_write(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let meant = fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o222 != 0);
    meant && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Which of the kernel's telling files give anything.
fn readable() -> Vec<&'static str> {
    let telling = [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/kallsyms",
        "/proc/sched_debug",
        "/proc/acpi",
        "/proc/scsi",
        "/proc/config.gz",
        "/sys/firmware",
        "/sys/module",
        "/sys/fs",
        "/sys/devices/virtual/powercap",
    ];
    let gives = |path: &&str| match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => {
            let mut byte = [0];
            let read =
                fs::File::open(path).and_then(|mut f| std::io::Read::read(&mut f, &mut byte));
            read.is_ok_and(|n| n > 0)
        }
    };
    telling.into_iter().filter(gives).collect()
}

/// What the filter says to a call: `allowed`, `killed`, or the number of an error. The call does not
/// happen: a filter of our own, which comes after those that were there, answers it.
fn ask(number: i64) -> Value {
    let mut ends = [0; 2];
    // SAFETY: the array has room for two descriptors.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return json!("no pipe");
    }
    // SAFETY: this program has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let errno = ask_in_this_process(number);
        // All six arguments are given: what was left in the last register is the mark.
        // SAFETY: the pipe is open, the number valid memory; then the process ends.
        unsafe {
            libc::syscall(libc::SYS_write, ends[1], &raw const errno, 4, 0, 0, 0);
            libc::syscall(libc::SYS_exit_group, 0, 0, 0, 0, 0, 0);
        }
    }
    let (mut status, mut errno) = (0, -1i32);
    // SAFETY: closes and reads what was made above; waits for the child just made.
    unsafe {
        libc::close(ends[1]);
        libc::read(ends[0], (&raw mut errno).cast(), 4);
        libc::close(ends[0]);
        libc::waitpid(child, &raw mut status, 0);
    }
    match (libc::WIFSIGNALED(status), errno) {
        (true, _) => json!("killed"),
        (_, ALLOWED) => json!("allowed"),
        (_, errno) => json!(errno),
    }
}

fn ask_in_this_process(number: i64) -> i32 {
    let listener = Arc::new(AtomicI32::new(-1));
    let shared = Arc::clone(&listener);
    // The answers come from a thread that the filter does not hold for.
    std::thread::spawn(move || answer(&shared));
    match install() {
        Ok(fd) => listener.store(fd, Ordering::Release),
        Err(errno) => return -errno,
    }
    // SAFETY: the call is answered by the filter and does not happen.
    let result = unsafe { libc::syscall(number, 0, 0, 0, 0, 0, i64::from(MARK)) };
    match result {
        -1 => std::io::Error::last_os_error().raw_os_error().unwrap_or(-1),
        _ => 0,
    }
}

const fn ins(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

const ALLOW: libc::sock_filter = ins(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW);

/// Loads the cheapest filter that there can be.
pub(crate) fn allow_all() {
    if let Err(errno) = load(&mut [ALLOW], 0) {
        eprintln!("probe: cannot load a filter: {errno}");
    }
}

/// Installs a filter that hands marked calls to a listener, and returns the listener.
fn install() -> Result<RawFd, i32> {
    let mark = if cfg!(target_endian = "little") {
        56
    } else {
        60
    };
    let mut filter = [
        ins(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, mark),
        ins(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, MARK),
        ins(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_USER_NOTIF,
        ),
        ALLOW,
    ];
    load(&mut filter, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)
}

fn load(filter: &mut [libc::sock_filter], flags: libc::c_ulong) -> Result<RawFd, i32> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program describes the slice, which outlives the calls.
    let fd = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match fd {
        -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(-1)),
        fd => Ok(fd as RawFd),
    }
}

/// Answers marked calls with [`ALLOWED`].
fn answer(listener: &AtomicI32) {
    let fd = loop {
        match listener.load(Ordering::Acquire) {
            -1 => std::thread::yield_now(),
            fd => break fd,
        }
    };
    const RECEIVE: u64 = 0xC050_2100;
    const SEND: u64 = 0xC018_2101;
    loop {
        // SAFETY: all zeroes is a valid value of both, and each is valid for its request.
        unsafe {
            let mut asked: libc::seccomp_notif = std::mem::zeroed();
            if libc::ioctl(fd, RECEIVE as _, &raw mut asked) != 0 {
                continue;
            }
            let mut answer: libc::seccomp_notif_resp = std::mem::zeroed();
            answer.id = asked.id;
            answer.error = -ALLOWED;
            libc::ioctl(fd, SEND as _, &raw mut answer);
        }
    }
}

//! Attacks on other processes: tracing them, reading and writing their memory, taking their
//! descriptors and programs; and having too many of one's own.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::held;

/// Traces a process, and moves its memory and its descriptors without tracing it.
pub(super) fn trace(pid: &str) {
    let Ok(pid) = pid.parse::<libc::pid_t>() else {
        return;
    };
    let show = |what: &str, result: libc::c_long| match result {
        -1 => held(what),
        _ => println!("broken"),
    };
    for (name, request) in [
        ("PTRACE_SEIZE", libc::PTRACE_SEIZE),
        ("PTRACE_ATTACH", libc::PTRACE_ATTACH),
    ] {
        // SAFETY: these requests use no pointer.
        let traced = unsafe { libc::ptrace(request, pid, 0, 0) };
        show(name, traced);
    }
    let mut byte = 0u8;
    let here = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    // Programs that are not position-independent lie there; whoever may not look at all is told so
    // before the kernel looks whether anything is there.
    let there = libc::iovec {
        iov_base: 0x40_0000 as *mut libc::c_void,
        iov_len: 1,
    };
    let moves: [(&str, libc::c_long); 2] = [
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("process_vm_writev", libc::SYS_process_vm_writev),
    ];
    for (name, call) in moves {
        // SAFETY: the local vector is one byte that outlives the call; the kernel checks the other.
        let moved = unsafe { libc::syscall(call, pid, &raw const here, 1, &raw const there, 1, 0) };
        match (moved, std::io::Error::last_os_error().raw_os_error()) {
            (-1, Some(libc::EFAULT)) => println!("broken"),
            (moved, _) => show(name, moved),
        }
    }
    // SAFETY: takes numbers only.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    for fd in 0..64 {
        // SAFETY: takes numbers only.
        let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, 0) };
        match taken {
            -1 if fd > 0 => {}
            taken => show("pidfd_getfd", taken),
        }
    }
}

/// A user namespace by the newer call, whose flags no filter can read.
pub(super) fn clone3() {
    #[repr(C)]
    #[derive(Default)]
    struct Args {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
    }
    let args = Args {
        flags: libc::CLONE_NEWUSER as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..Args::default()
    };
    // SAFETY: as fork(2), in another namespace; the arguments outlive the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<Args>()) } {
        // SAFETY: ends the child.
        0 => unsafe { libc::_exit(0) },
        -1 => held("clone3"),
        _ => println!("broken"),
    }
}

/// Watches for processes that run another program than `/probe`, such as those that enter the pod,
/// and tries to write to their programs: while they run, and, by descriptors that were opened
/// then, when they have ended. Lasts until the file `/stop` is there.
pub(super) fn programs() {
    println!("watching");
    let mut kept: HashMap<(u64, u64), File> = HashMap::new();
    let (mut tries, start) = (0u64, Instant::now());
    while !std::path::Path::new("/stop").exists() && start.elapsed() < Duration::from_secs(120) {
        let Ok(processes) = std::fs::read_dir("/proc") else {
            return held("read /proc");
        };
        for process in processes.flatten() {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let supervisor = process.file_name() == "1";
            tries += u64::from(!supervisor && !name.is_empty() && name != "probe\n");
            let exe = process.path().join("exe");
            let Ok(file) = File::open(&exe) else { continue };
            let Ok(found) = file.metadata().map(|m| (m.dev(), m.ino())) else {
                continue;
            };
            // What it was when it was opened: the process may have become another meanwhile.
            let opened = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
            if opened.is_ok_and(|program| program.ends_with("probe")) {
                continue;
            }
            if OpenOptions::new().write(true).open(&exe).is_ok() {
                println!("broken");
            }
            kept.entry(found).or_insert_with(|| {
                println!("opened a program");
                file
            });
        }
    }
    for file in kept.values() {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        match OpenOptions::new().write(true).open(&path) {
            Ok(_) => println!("broken"),
            Err(error) => println!("write to a program: {error}"),
        }
    }
    println!("seen {tries} times, {} programs opened", kept.len());
}

/// Forks without end, as all its children do; says so when it may not any more, and goes on trying.
pub(super) fn bomb() {
    let first = std::process::id();
    let mut said = false;
    loop {
        // SAFETY: this program has one thread, so the child may do what the parent may.
        match unsafe { libc::fork() } {
            0 => {
                // When memory is short the first is killed last.
                let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
            }
            -1 => {
                if !said && std::process::id() == first {
                    held("full");
                    said = true;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
            _ => {}
        }
    }
}

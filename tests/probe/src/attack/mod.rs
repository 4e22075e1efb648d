//! What a hostile app tries that a shell cannot: each attack prints `broken` if it reaches what it
//! must not, and what stopped it otherwise.

#![expect(
    unsafe_code,
    reason = "an attacker makes the bare system calls, with arguments no library would pass"
)]

mod processes;

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

/// Tries one attack, with its object.
pub(crate) fn attack(name: &str, object: &str) -> ExitCode {
    match name {
        "chroot" => chroot(object),
        "session-key" => session_key(object),
        "handle" => handle(),
        "namespaces" => namespaces(),
        "terminal" => terminal(object),
        "abstract" => abstract_socket(object),
        "descriptors" => descriptors(),
        "trace" => processes::trace(object),
        "programs" => processes::programs(),
        "bomb" => processes::bomb(),
        _ => {
            eprintln!("probe: there is no attack {name:?}");
            return ExitCode::from(64);
        }
    }
    println!("end");
    ExitCode::SUCCESS
}

fn held(what: &str) {
    println!("{what}: {}", std::io::Error::last_os_error());
}

/// Leaves a second root by a directory that was kept open, and climbs. `object` is a path that only
/// the host has.
fn chroot(object: &str) {
    let Ok(kept) = std::fs::File::open("/") else {
        return held("open /");
    };
    if std::fs::create_dir_all("/tmp/jail").is_err() {
        return held("mkdir");
    }
    if std::os::unix::fs::chroot("/tmp/jail").is_err() {
        return held("chroot");
    }
    // SAFETY: takes a descriptor that is open.
    if unsafe { libc::fchdir(kept.as_raw_fd()) } != 0 {
        return held("fchdir");
    }
    for _ in 0..64 {
        let _ = std::env::set_current_dir("..");
    }
    if std::os::unix::fs::chroot(".").is_err() {
        return held("chroot back");
    }
    match std::fs::metadata(object) {
        Ok(_) => println!("broken"),
        Err(error) => println!("{object}: {error}"),
    }
}

/// Looks for a key of this description where who started the pod keeps it.
fn session_key(description: &str) {
    const KEYCTL_SEARCH: libc::c_long = 10;
    const SESSION: libc::c_long = -3;
    let Ok(description) = CString::new(description) else {
        return;
    };
    // SAFETY: both strings end in NUL and outlive the call.
    let found = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_SEARCH,
            SESSION,
            c"user".as_ptr(),
            description.as_ptr(),
            0,
        )
    };
    match found {
        -1 => held("search"),
        _ => println!("broken"),
    }
}

/// Opens files by their numbers on the disk, past every directory and mount.
fn handle() {
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        handle: [u8; 128],
    }
    let Ok(root) = std::fs::File::open("/etc") else {
        return held("open /etc");
    };
    for (kind, length) in [(1, 8u32), (0x81, 8), (2, 12)] {
        // Inode 2 is the root directory of ext file systems.
        let mut handle = Handle {
            bytes: length,
            kind,
            handle: [0; 128],
        };
        handle.handle[0] = 2;
        // SAFETY: the handle is valid for its length and outlives the call.
        let opened = unsafe {
            libc::syscall(
                libc::SYS_open_by_handle_at,
                root.as_raw_fd(),
                &raw mut handle,
                libc::O_RDONLY,
            )
        };
        match opened {
            -1 => held("open_by_handle_at"),
            _ => println!("broken"),
        }
    }
}

/// Makes namespaces in which it would be privileged, one process each.
fn namespaces() {
    let flags = [
        ("user", libc::CLONE_NEWUSER),
        ("mount", libc::CLONE_NEWNS),
        ("net", libc::CLONE_NEWNET),
        ("pid", libc::CLONE_NEWPID),
    ];
    for (name, flag) in flags {
        // SAFETY: the child makes system calls only and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: without CLONE_VM, CLONE_FILES or CLONE_FS it shares nothing.
            let done = unsafe { libc::unshare(flag) };
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(done == 0)) };
        }
        let mut status = 0;
        // SAFETY: the child is this process's, `status` valid for writing.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        match libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1 {
            true => println!("broken"),
            false => println!("unshare {name}: status {status:#x}"),
        }
        let flags = i64::from(flag | libc::SIGCHLD);
        // SAFETY: as fork(2), in another namespace.
        match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
            // SAFETY: ends the child.
            0 => unsafe { libc::_exit(0) },
            -1 => held("clone"),
            _ => println!("broken"),
        }
    }
    processes::clone3();
}

/// Types a line into its terminal's input, for whoever reads from it next; and pastes what a
/// console's mouse has selected.
fn terminal(line: &str) {
    // TIOCL_PASTESEL of ioctl_console(2).
    let paste = 3u8;
    // SAFETY: takes a pointer to one byte.
    match unsafe { libc::ioctl(0, libc::TIOCLINUX, &raw const paste) } {
        0 => println!("broken"),
        _ => held("TIOCLINUX"),
    }
    for byte in line.bytes().chain([b'\n']) {
        // SAFETY: takes a pointer to one byte.
        let done = unsafe { libc::ioctl(0, libc::TIOCSTI, &raw const byte) };
        if done != 0 {
            return held("TIOCSTI");
        }
    }
    println!("typed");
}

/// Connects to a socket that has no path.
fn abstract_socket(name: &str) {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name);
    let connected = address.and_then(|a| std::os::unix::net::UnixStream::connect_addr(&a));
    match connected {
        Ok(_) => println!("broken"),
        Err(error) => println!("connect: {error}"),
    }
}

/// Opens as much as it can, and holds it until it is stopped.
fn descriptors() {
    let mut open = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        open.push(file);
    }
    held("open");
    println!("opened {}", open.len());
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}

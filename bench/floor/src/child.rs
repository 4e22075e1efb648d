//! The side in the namespaces: mounts, network, filter, exec.

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use crate::netlink::{Message, Netlink, index_of};
use crate::parent::addresses;
use crate::{Plan, seccomp, sys};

/// Never returns: ends as the program, or with 254 and a message.
pub(crate) fn become_program(
    plan: &Plan,
    scratch: Option<&Path>,
    ready: RawFd,
    tell: RawFd,
    parent: u32,
) -> ! {
    let error = match prepare(plan, scratch, ready, tell, parent) {
        Err(error) => error,
        Ok(()) => {
            let mut argv: Vec<_> = plan.argv.iter().map(|word| word.as_ptr()).collect();
            argv.push(std::ptr::null());
            // SAFETY: a terminated array of terminated strings.
            unsafe { libc::execv(argv[0], argv.as_ptr()) };
            io::Error::last_os_error()
        }
    };
    eprintln!("floor: in the namespaces: {error}");
    std::process::exit(254)
}

fn prepare(
    plan: &Plan,
    scratch: Option<&Path>,
    ready: RawFd,
    tell: RawFd,
    parent: u32,
) -> io::Result<()> {
    sys::mount("", "/", "", libc::MS_REC | libc::MS_PRIVATE, "")?;
    if let (Some(lower), Some(scratch)) = (&plan.lower, scratch) {
        root(lower, scratch)?;
    }
    // The host's end of the network and the groups are there when this answers.
    sys::read_byte(ready);
    if plan.veth {
        network(parent)?;
        sys::write_byte(tell);
    }
    if plan.seccomp {
        seccomp::load()?;
    }
    Ok(())
}

fn root(lower: &Path, scratch: &Path) -> io::Result<()> {
    let at = |name: &str| scratch.join(name).display().to_string();
    let root = at("root");
    let layers = format!(
        "lowerdir={},upperdir={},workdir={},volatile",
        lower.display(),
        at("upper"),
        at("work")
    );
    sys::mount("overlay", &root, "overlay", 0, &layers)?;
    for name in ["proc", "dev"] {
        fs::create_dir_all(Path::new(&root).join(name))?;
    }
    let quiet = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    sys::mount("proc", &format!("{root}/proc"), "proc", quiet, "")?;
    let dev = format!("{root}/dev");
    sys::mount("tmpfs", &dev, "tmpfs", libc::MS_NOSUID, "mode=755,size=64k")?;
    for (name, minor) in [
        ("null", 3),
        ("zero", 5),
        ("full", 7),
        ("random", 8),
        ("urandom", 9),
    ] {
        let path = sys::c(Path::new(&format!("{dev}/{name}")))?;
        // SAFETY: a terminated string.
        sys::check(
            unsafe {
                libc::mknod(
                    path.as_ptr(),
                    libc::S_IFCHR | 0o666,
                    libc::makedev(1, minor),
                )
            }
            .into(),
        )?;
    }
    fs::create_dir(format!("{dev}/shm"))?;
    sys::mount("shm", &format!("{dev}/shm"), "tmpfs", quiet, "mode=1777")?;
    std::env::set_current_dir(&root)?;
    let here = c".";
    // SAFETY: terminated strings; the old root is stacked on the new one and detached.
    sys::check(unsafe { libc::syscall(libc::SYS_pivot_root, here.as_ptr(), here.as_ptr()) })?;
    // SAFETY: as above.
    sys::check(unsafe { libc::umount2(here.as_ptr(), libc::MNT_DETACH) }.into())?;
    Ok(())
}

pub(crate) fn network(parent: u32) -> io::Result<()> {
    let netlink = Netlink::open()?;
    let index = index_of("eth0")?;
    let (host, pod) = addresses(parent);
    netlink.send(&[
        Message::link(libc::RTM_NEWLINK, 0, 1, true),
        Message::link(libc::RTM_NEWLINK, 0, index, true),
        Message::address(index, pod, 32),
        Message::route(index, (host, 32), None),
        Message::route(index, ([0; 4], 0), Some(host)),
    ])
}

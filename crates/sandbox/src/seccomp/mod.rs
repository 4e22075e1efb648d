//! System call filters: which calls an app may make, compiled to BPF and loaded.
//!
//! A filter is compiled without any library, in microseconds, to a balanced tree of comparisons;
//! the default one is compiled when rkt is built.

mod bpf;
mod policy;
mod sets;
mod systemd;

pub use bpf::Arch;
pub use policy::{Mode, Policy, PolicyError};

use rustix::io::Errno;

use crate::clone::last_errno;

/// Number of an error by its name, such as `EPERM`.
pub fn errno_number(name: &str) -> Option<u16> {
    // Second names of the same errors (errno(3)).
    let name = match name {
        "ENOTSUP" => "EOPNOTSUPP",
        "EWOULDBLOCK" => "EAGAIN",
        "EDEADLOCK" => "EDEADLK",
        name => name,
    };
    (1..=133)
        .find(|&n| syscalls::Errno::new(n).name() == Some(name))
        .map(|n| n as u16)
}

/// A finished filter: BPF instructions as the kernel reads them, 8 bytes each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(Vec<u8>);

impl Program {
    /// Takes instructions that [`Policy::compile`] made, perhaps at build time.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The instructions, to be stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Filters the calling thread and all it starts, for good. Needs CAP_SYS_ADMIN or
    /// no-new-privileges.
    ///
    /// # Errors
    /// As seccomp(2).
    pub fn load(&self) -> Result<(), Errno> {
        const INSTRUCTION: usize = std::mem::size_of::<libc::sock_filter>();
        let filter: Vec<libc::sock_filter> = self
            .0
            .chunks_exact(INSTRUCTION)
            .map(|i| libc::sock_filter {
                code: u16::from_ne_bytes([i[0], i[1]]),
                jt: i[2],
                jf: i[3],
                k: u32::from_ne_bytes([i[4], i[5], i[6], i[7]]),
            })
            .collect();
        let program = libc::sock_fprog {
            len: u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: `program` describes `filter`, which the kernel only reads during the call.
        let done = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            )
        };
        if done == 0 { Ok(()) } else { Err(last_errno()) }
    }
}

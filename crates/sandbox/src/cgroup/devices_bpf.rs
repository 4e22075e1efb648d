//! The device policy on version 2: a small BPF program attached to the pod's cgroup.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::devices::{self, Device};
use crate::clone::last_errno;
use crate::error::{Context, Error};

/// One eBPF instruction (linux/bpf.h).
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    /// Destination in the low, source in the high four bits.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LDX_W: u8 = 0x61;
const AND32_K: u8 = 0x54;
const JNE_K: u8 = 0x55;
const MOV_K: u8 = 0xB7;
const EXIT: u8 = 0x95;

/// Fields of struct bpf_cgroup_dev_ctx.
const ACCESS_TYPE: i16 = 0;
const MAJOR: i16 = 4;
const MINOR: i16 = 8;

const DEV_BLOCK: i32 = 1;
const DEV_CHAR: i32 = 2;
/// Access bits sit in the upper half of `access_type`.
const MKNOD: i32 = 1;

const fn ins(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers,
        offset,
        immediate,
    }
}

/// r2 type, r3 access, r4 major, r5 minor; r0 is the answer.
fn program(given: &[Device]) -> Vec<Instruction> {
    let mut code = vec![
        ins(LDX_W, 0x12, ACCESS_TYPE, 0),
        ins(AND32_K, 0x02, 0, 0xFFFF),
        ins(LDX_W, 0x13, ACCESS_TYPE, 0),
        ins(0x74, 0x03, 0, 16), // r3 >>= 16, 32 bits
        ins(LDX_W, 0x14, MAJOR, 0),
        ins(LDX_W, 0x15, MINOR, 0),
        // Making any node is harmless, opening it is what counts.
        ins(JNE_K, 0x03, 2, MKNOD),
        ins(MOV_K, 0x00, 0, 1),
        ins(EXIT, 0, 0, 0),
    ];
    for (kind, major, minor) in devices::allowed(given) {
        let kind = if kind == 'b' { DEV_BLOCK } else { DEV_CHAR };
        let checks = if minor.is_some() { 3 } else { 2 };
        // Every check that fails jumps behind this entry's MOV and EXIT.
        code.push(ins(JNE_K, 0x02, checks + 1, kind));
        code.push(ins(JNE_K, 0x04, checks, major as i32));
        if let Some(minor) = minor {
            code.push(ins(JNE_K, 0x05, 2, minor as i32));
        }
        code.push(ins(MOV_K, 0x00, 0, 1));
        code.push(ins(EXIT, 0, 0, 0));
    }
    code.push(ins(MOV_K, 0x00, 0, 0));
    code.push(ins(EXIT, 0, 0, 0));
    code
}

/// First members of union bpf_attr for BPF_PROG_LOAD.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// Members of union bpf_attr for BPF_PROG_ATTACH.
#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// Denies the processes below `cgroup` all but the standard devices and those given.
///
/// # Errors
/// As bpf(2).
pub(super) fn restrict(cgroup: BorrowedFd<'_>, given: &[Device]) -> Result<(), Error> {
    let program = match load(given) {
        // Who may not load it cannot make or open any device either.
        Err(rustix::io::Errno::PERM) if !crate::ids::is_hosts() => return Ok(()),
        loaded => loaded.context("load", "the device policy")?,
    };
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI,
    };
    // SAFETY: `attr` is a valid argument block of the size given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_ATTACH,
            &raw const attr,
            std::mem::size_of::<AttachAttr>(),
        )
    };
    let result = if done == 0 { Ok(()) } else { Err(last_errno()) };
    result.context("attach", "the device policy")
}

fn load(given: &[Device]) -> Result<OwnedFd, rustix::io::Errno> {
    let code = program(given);
    let attr = LoadAttr {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: code.len() as u32,
        insns: code.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..LoadAttr::default()
    };
    // SAFETY: `attr` points to `code` and to a C string, both alive during the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_LOAD,
            &raw const attr,
            std::mem::size_of::<LoadAttr>(),
        )
    };
    match fd {
        // SAFETY: the kernel returned a new descriptor that nobody else owns.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
        _ => Err(last_errno()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_accepts_the_program() {
        load(&[]).unwrap();
    }
}

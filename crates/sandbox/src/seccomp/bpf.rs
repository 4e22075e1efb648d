//! From a table of system call numbers to BPF.

use syscalls::{aarch64, x86, x86_64};

/// An architecture whose calls a filter judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86, on its own or on a 64-bit kernel.
    X86,
    /// 64-bit Arm.
    Aarch64,
}

impl Arch {
    /// The architectures a kernel for `target_arch` (as Rust names it) runs programs of.
    pub fn of_target(target_arch: &str) -> &'static [Self] {
        match target_arch {
            "x86_64" => &[Self::X86_64, Self::X86],
            "x86" => &[Self::X86],
            "aarch64" => &[Self::Aarch64],
            _ => &[],
        }
    }

    /// The architectures of the machine this was compiled for.
    pub fn native() -> &'static [Self] {
        Self::of_target(std::env::consts::ARCH)
    }

    /// `AUDIT_ARCH_*` of linux/audit.h.
    fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xC000_003E,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xC000_00B7,
        }
    }

    /// Number of a call by its name.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        match self {
            Self::X86_64 => name.parse::<x86_64::Sysno>().ok().map(|s| s.id() as u32),
            Self::X86 => name.parse::<x86::Sysno>().ok().map(|s| s.id() as u32),
            Self::Aarch64 => name.parse::<aarch64::Sysno>().ok().map(|s| s.id() as u32),
        }
    }

    /// Whether `name` is a call of any architecture here.
    pub(super) fn knows(name: &str) -> bool {
        [Self::X86_64, Self::X86, Self::Aarch64]
            .iter()
            .any(|arch| arch.number(name).is_some())
    }

    /// The first number that no filter of the original's time could know. These answer `ENOSYS`
    /// when they are not allowed, so that programs fall back to what they did before.
    pub(super) fn first_newer(self) -> u32 {
        match self {
            Self::X86_64 => 329,
            Self::X86 => 376,
            Self::Aarch64 => 286,
        }
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    Errno(u16),
    Kill,
    /// Allowed unless its first argument has one of these bits; then `EPERM`.
    AllowWithoutBits(u32),
}

impl Verdict {
    /// Of two the one that lets less through.
    pub(super) fn stricter(self, other: Self) -> Self {
        let rank = |verdict| match verdict {
            Self::Allow => 0,
            Self::AllowWithoutBits(_) => 1,
            Self::Errno(_) => 2,
            Self::Kill => 3,
        };
        match (self, other) {
            (Self::AllowWithoutBits(one), Self::AllowWithoutBits(two)) => {
                Self::AllowWithoutBits(one | two)
            }
            _ if rank(other) > rank(self) => other,
            _ => self,
        }
    }
}

/// One BPF instruction (linux/filter.h).
#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

const LD_ABS: u16 = 0x20;
const JEQ: u16 = 0x15;
const JGE: u16 = 0x35;
const JSET: u16 = 0x45;
const JA: u16 = 0x05;
const RET: u16 = 0x06;

/// Offsets in struct seccomp_data.
const NR: u32 = 0;
const ARCH: u32 = 4;
const ARG0_LOW: u32 = if cfg!(target_endian = "little") {
    16
} else {
    20
};

const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_ALLOW: u32 = 0x7FFF_0000;
const EPERM: u32 = 1;

/// Verdicts for all call numbers of one architecture: each entry holds from its number up to the
/// next entry's. The first entry's number is 0.
pub(super) type Ranges = Vec<(u32, Verdict)>;

/// The filter: a section for each architecture; programs of any other are killed.
pub(super) fn assemble(sections: &[(Arch, Ranges)]) -> Vec<u8> {
    let mut code = vec![ins(LD_ABS, ARCH)];
    for (arch, ranges) in sections {
        let mut section = vec![ins(LD_ABS, NR)];
        section.extend(tree(ranges));
        // Past this section, however long it is: a conditional jump reaches 255 instructions only.
        code.push(Instruction {
            code: JEQ,
            jt: 1,
            jf: 0,
            k: arch.audit(),
        });
        code.push(ins(JA, section.len() as u32));
        code.extend(section);
    }
    code.push(ins(RET, RET_KILL_PROCESS));
    code.iter().flat_map(|i| bytes(*i)).collect()
}

fn bytes(i: Instruction) -> [u8; 8] {
    let mut out = [0; 8];
    out[..2].copy_from_slice(&i.code.to_ne_bytes());
    out[2] = i.jt;
    out[3] = i.jf;
    out[4..].copy_from_slice(&i.k.to_ne_bytes());
    out
}

fn ins(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Binary search over the ranges: the left half right behind the comparison, then the right half.
fn tree(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    let [first, ..] = ranges else {
        return vec![ins(RET, RET_KILL_PROCESS)];
    };
    if ranges.len() == 1 {
        return leaf(first.1);
    }
    let (left, right) = ranges.split_at(ranges.len() / 2);
    let pivot = right[0].0;
    let (left, right) = (tree(left), tree(right));
    let mut code = Vec::with_capacity(left.len() + right.len() + 2);
    match u8::try_from(left.len()) {
        Ok(jt) => code.push(Instruction {
            code: JGE,
            jt,
            jf: 0,
            k: pivot,
        }),
        Err(_) => {
            code.push(Instruction {
                code: JGE,
                jt: 0,
                jf: 1,
                k: pivot,
            });
            code.push(ins(JA, left.len() as u32));
        }
    }
    code.extend(left);
    code.extend(right);
    code
}

fn leaf(verdict: Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Allow => vec![ins(RET, RET_ALLOW)],
        Verdict::Errno(errno) => vec![ins(RET, RET_ERRNO | u32::from(errno))],
        Verdict::Kill => vec![ins(RET, RET_KILL_PROCESS)],
        Verdict::AllowWithoutBits(bits) => vec![
            ins(LD_ABS, ARG0_LOW),
            Instruction {
                code: JSET,
                jt: 0,
                jf: 1,
                k: bits,
            },
            ins(RET, RET_ERRNO | EPERM),
            ins(RET, RET_ALLOW),
        ],
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What the kernel would answer, by interpreting the few instructions used here.
    pub(in super::super) fn run(program: &[u8], arch: Arch, nr: u32, arg0: u32) -> u32 {
        let (mut at, mut acc) = (0usize, 0u32);
        loop {
            let i = &program[at * 8..at * 8 + 8];
            let code = u16::from_ne_bytes([i[0], i[1]]);
            let (jt, jf) = (usize::from(i[2]), usize::from(i[3]));
            let k = u32::from_ne_bytes([i[4], i[5], i[6], i[7]]);
            at += 1;
            match code {
                LD_ABS if k == ARCH => acc = arch.audit(),
                LD_ABS if k == NR => acc = nr,
                LD_ABS => acc = arg0,
                JEQ => at += if acc == k { jt } else { jf },
                JGE => at += if acc >= k { jt } else { jf },
                JSET => at += if acc & k != 0 { jt } else { jf },
                JA => at += k as usize,
                RET => return k,
                _ => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn every_number_gets_its_verdict() {
        // Alternating verdicts for 400 numbers make a tree with long jumps.
        let ranges: Ranges = (0..400)
            .map(|n| {
                (
                    n,
                    if n % 2 == 0 {
                        Verdict::Allow
                    } else {
                        Verdict::Errno(38)
                    },
                )
            })
            .collect();
        let program = assemble(&[
            (Arch::X86_64, ranges.clone()),
            (Arch::X86, vec![(0, Verdict::Kill)]),
        ]);
        for n in 0..400 {
            let want = if n % 2 == 0 {
                RET_ALLOW
            } else {
                RET_ERRNO | 38
            };
            assert_eq!(run(&program, Arch::X86_64, n, 0), want, "{n}");
        }
        assert_eq!(run(&program, Arch::X86, 3, 0), RET_KILL_PROCESS);
        assert_eq!(run(&program, Arch::Aarch64, 3, 0), RET_KILL_PROCESS);
    }
}

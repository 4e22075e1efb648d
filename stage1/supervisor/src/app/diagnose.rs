//! Why a program could not be executed, in words that lead to the mistake in the image.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Explains a failed exec of `program`, seen from the app's root.
pub(super) fn explain(program: &Path, errno: Errno) -> String {
    let name = program.display();
    match errno {
        Errno::NOENT => match missing_interpreter(program) {
            Some(interpreter) => format!(
                "cannot execute {name:?}: its interpreter {interpreter:?} is missing from the image"
            ),
            None => format!("cannot execute {name:?}: no such file in the image"),
        },
        Errno::ACCESS => format!(
            "cannot execute {name:?}: permission denied{}",
            access_hint(program)
        ),
        Errno::NOEXEC => format!("cannot execute {name:?}: {}", format_hint(program)),
        Errno::ISDIR => format!("cannot execute {name:?}: it is a directory"),
        errno => format!("cannot execute {name:?}: {}", std::io::Error::from(errno)),
    }
}

/// The interpreter that an existing program names and that does not exist itself.
fn missing_interpreter(program: &Path) -> Option<PathBuf> {
    let interpreter = shebang(program).or_else(|| elf_interpreter(program))?;
    std::fs::metadata(&interpreter)
        .is_err()
        .then_some(interpreter)
}

fn shebang(program: &Path) -> Option<PathBuf> {
    let mut start = [0; 256];
    let n = std::fs::File::open(program).ok()?.read(&mut start).ok()?;
    let line = start[..n]
        .strip_prefix(b"#!")?
        .split(|&b| b == b'\n')
        .next()?;
    let name = line.trim_ascii().split(u8::is_ascii_whitespace).next()?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

/// Fields of an ELF header that matter here (elf(5)).
struct Elf {
    file: std::fs::File,
    is_64: bool,
    machine: u16,
    header: [u8; 64],
}

impl Elf {
    fn open(program: &Path) -> Option<Self> {
        let file = std::fs::File::open(program).ok()?;
        let mut header = [0; 64];
        file.read_exact_at(&mut header, 0).ok()?;
        // Little-endian files only: no machine that runs this is anything else.
        if !header.starts_with(b"\x7fELF") || header[5] != 1 {
            return None;
        }
        let machine = u16::from_le_bytes([header[18], header[19]]);
        Some(Self {
            file,
            is_64: header[4] == 2,
            machine,
            header,
        })
    }

    fn program_headers(&self) -> (u64, u16, u16) {
        let h = &self.header;
        let half = |at: usize| u16::from_le_bytes([h[at], h[at + 1]]);
        if self.is_64 {
            (number(&h[32..40]), half(54), half(56))
        } else {
            (number(&h[28..32]), half(42), half(44))
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

fn elf_interpreter(program: &Path) -> Option<PathBuf> {
    const PT_INTERP: u64 = 3;
    let elf = Elf::open(program)?;
    let (offset, size, count) = elf.program_headers();
    for n in 0..u64::from(count.min(64)) {
        let mut header = [0; 56];
        let length = if elf.is_64 { 56 } else { 32 };
        let at = offset.checked_add(n * u64::from(size))?;
        elf.file.read_exact_at(&mut header[..length], at).ok()?;
        if number(&header[..4]) != PT_INTERP {
            continue;
        }
        let (at, length) = match elf.is_64 {
            true => (number(&header[8..16]), number(&header[32..40])),
            false => (number(&header[4..8]), number(&header[16..20])),
        };
        let mut name = vec![0; usize::try_from(length).ok()?.min(4096)];
        elf.file.read_exact_at(&mut name, at).ok()?;
        let name = name.split(|&b| b == 0).next()?;
        return Some(PathBuf::from(OsStr::from_bytes(name)));
    }
    None
}

fn access_hint(program: &Path) -> String {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::metadata(program) {
        Ok(meta) if meta.is_dir() => ": it is a directory".into(),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => ": it is not executable".into(),
        _ => String::new(),
    }
}

fn format_hint(program: &Path) -> String {
    let own = match std::env::consts::ARCH {
        "x86_64" => 62,
        "x86" => 3,
        "aarch64" => 183,
        _ => 0,
    };
    match Elf::open(program) {
        Some(elf) if elf.machine != own => format!(
            "it is for {}, this machine is {}",
            machine_name(elf.machine),
            std::env::consts::ARCH
        ),
        Some(_) => "the kernel does not accept the file".into(),
        None => "it is neither a program nor a script with an interpreter line".into(),
    }
}

fn machine_name(machine: u16) -> String {
    match machine {
        3 => "x86".into(),
        8 => "mips".into(),
        21 => "ppc64".into(),
        22 => "s390x".into(),
        40 => "arm".into(),
        62 => "x86_64".into(),
        183 => "aarch64".into(),
        243 => "riscv".into(),
        other => format!("ELF machine {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn program(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn missing_files_and_interpreters() {
        assert!(explain(Path::new("/none"), Errno::NOENT).ends_with("no such file in the image"));
        let (_dir, script) = program(b"#!/no/interpreter -x\n", 0o755);
        assert!(
            explain(&script, Errno::NOENT).contains("interpreter \"/no/interpreter\" is missing")
        );
    }

    #[test]
    fn a_dynamic_program_names_its_loader() {
        let loader = elf_interpreter(Path::new("/bin/sh")).unwrap();
        assert!(loader.to_string_lossy().contains("ld-"));
    }

    #[test]
    fn permissions_and_formats() {
        let (_dir, path) = program(b"text", 0o644);
        assert!(explain(&path, Errno::ACCESS).ends_with("it is not executable"));
        assert!(explain(&path, Errno::NOEXEC).contains("neither a program nor a script"));
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 22;
        let (_dir, path) = program(&elf, 0o755);
        assert!(explain(&path, Errno::NOEXEC).contains("it is for s390x"));
    }
}

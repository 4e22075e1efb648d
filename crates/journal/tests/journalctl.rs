//! What is written is what comes back, here and in the real `journalctl`.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;
use std::process::Command;

use journal::{Error, Identity, Journal, Limits, Reader, files};

const IDENTITY: Identity = Identity {
    machine: *b"\x12\x34\x56\x78\x9a\xbc\x4d\xef\x81\x23\x45\x67\x89\xab\xcd\xef",
    boot: [7; 16],
};

fn journal(dir: &Path, limits: Limits) -> Journal {
    Journal::new(
        dir.join("123456789abc4def8123456789abcdef"),
        IDENTITY,
        limits,
    )
}

fn write(journal: &mut Journal, text: &str, app: &str) -> Result<(), Error> {
    let message = format!("MESSAGE={text}");
    let name = format!("SYSLOG_IDENTIFIER={app}");
    journal.append(&[
        message.as_bytes(),
        name.as_bytes(),
        b"PRIORITY=6",
        b"_TRANSPORT=stdout",
    ])
}

fn messages(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for file in files(&dir.join("123456789abc4def8123456789abcdef")).unwrap() {
        let mut reader = Reader::open(&file).unwrap();
        while let Some(entry) = reader.next_entry().unwrap() {
            all.push(String::from_utf8(entry.get("MESSAGE").unwrap().to_vec()).unwrap());
        }
    }
    all
}

fn journalctl(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("journalctl")
        .arg("--directory")
        .arg(dir)
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{args:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn journalctl_reads_and_verifies_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path(), Limits::default());
    let expected: Vec<String> = (0..5000).map(|n| format!("line {}", n % 4000)).collect();
    for (n, line) in expected.iter().enumerate() {
        write(&mut journal, line, ["web", "db"][n % 2]).unwrap();
    }
    // While it is written, and after.
    for finished in [false, true] {
        if finished {
            drop(std::mem::replace(
                &mut journal,
                self::journal(&dir.path().join("x"), Limits::default()),
            ));
        }
        assert_eq!(messages(dir.path()), expected);
        let text = journalctl(dir.path(), &["-o", "cat", "--no-pager"]);
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        let web = journalctl(dir.path(), &["-o", "cat", "--no-pager", "-t", "web"]);
        assert_eq!(web.lines().count(), 2500);
        let one = journalctl(dir.path(), &["-o", "cat", "--no-pager", "MESSAGE=line 7"]);
        assert_eq!(one.lines().count(), 2);
    }
    journalctl(dir.path(), &["--verify"]);
    assert!(journalctl(dir.path(), &["-F", "SYSLOG_IDENTIFIER"]).contains("db"));
}

#[test]
fn files_are_rotated_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        file_min: 1 << 20,
        file_max: 2 << 20,
        total: 6 << 20,
    };
    let mut journal = journal(dir.path(), limits);
    let text = "x".repeat(200);
    for n in 0..40_000 {
        write(&mut journal, &format!("{n} {text}"), "web").unwrap();
    }
    let numbers: Vec<u64> = messages(dir.path())
        .iter()
        .map(|m| m.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers.last(), Some(&39_999));
    assert!(numbers.windows(2).all(|w| w[0] + 1 == w[1]), "no hole");
    assert!(numbers.len() > 5_000, "{}", numbers.len());
    let all = files(&dir.path().join("123456789abc4def8123456789abcdef")).unwrap();
    let size: u64 = all.iter().map(|f| f.metadata().unwrap().len()).sum();
    assert!(all.len() >= 3 && size <= limits.total, "{all:?} {size}");
    drop(journal);
    let read = journalctl(dir.path(), &["-o", "cat", "--no-pager"]);
    assert_eq!(read.lines().count(), numbers.len());
    journalctl(dir.path(), &["--verify"]);
}

#[test]
fn binary_fields_and_long_ones() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path(), Limits::default());
    let long = [b"MESSAGE=".to_vec(), vec![0xff; 300_000], b"\n\0".to_vec()].concat();
    journal.append(&[&long, b"EMPTY="]).unwrap();
    let huge = [b"MESSAGE=".to_vec(), vec![b'h'; 9 << 20]].concat();
    assert!(matches!(
        journal.append(&[&huge]),
        Ok(()) | Err(Error::Full)
    ));
    drop(journal);
    let all = files(&dir.path().join("123456789abc4def8123456789abcdef")).unwrap();
    let mut reader = Reader::open(&all[0]).unwrap();
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!(entry.get("MESSAGE"), Some(&long[8..]));
    assert_eq!(entry.get("EMPTY"), Some(&b""[..]));
}

#[test]
fn damaged_files_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        file_min: 256 << 10,
        ..Limits::default()
    };
    let mut journal = journal(dir.path(), limits);
    for n in 0..100 {
        write(&mut journal, &format!("line {n}"), "web").unwrap();
    }
    drop(journal);
    let file = files(&dir.path().join("123456789abc4def8123456789abcdef"))
        .unwrap()
        .remove(0);
    let whole = std::fs::read(&file).unwrap();
    // Whatever byte is changed or wherever it is cut: an answer, never a panic or an endless loop.
    let mut state = 1u64;
    for round in 0..3000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let at = (state >> 33) as usize % whole.len();
        let mut bytes = whole.clone();
        match round % 3 {
            0 => bytes.truncate(at),
            _ => bytes[at] ^= (state >> 20) as u8 | 1,
        }
        std::fs::write(&file, &bytes).unwrap();
        let Ok(mut reader) = Reader::open(&file) else {
            continue;
        };
        for _ in 0..200 {
            match reader.next_entry() {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }
}

/// Whoever reads a journal that begins at the same moment finds no file, or one that is a journal.
#[test]
fn a_file_appears_with_its_head() {
    let dir = tempfile::tempdir().unwrap();
    let place = |n: usize| dir.path().join(format!("{n:032x}"));
    let writer = std::thread::spawn({
        let places: Vec<_> = (0..300).map(place).collect();
        move || {
            for place in places {
                let mut journal = Journal::new(place, IDENTITY, Limits::default());
                write(&mut journal, "first", "app").unwrap();
            }
        }
    });
    let mut seen = 0;
    while seen < 300 {
        let file = place(seen).join("system.journal");
        match Reader::open(&file) {
            Ok(_) => seen += 1,
            Err(Error::Io { errno, .. }) if errno == rustix::io::Errno::NOENT => {
                assert!(!writer.is_finished() || file.exists(), "{}", file.display());
            }
            Err(error) => panic!("{error}"),
        }
    }
    writer.join().unwrap();
}

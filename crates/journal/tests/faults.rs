//! Disks that are full or refuse, names that are taken, clocks that differ: what could be written is whole,
//! and what could not is counted once.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use journal::{Common, Journal, Limits, Reader, files};
use rustix::process::{Resource, Rlimit, setrlimit};

use support::{MACHINE, journal, journalctl};

fn common(fields: &[&str]) -> Common {
    Common::new(
        fields
            .iter()
            .map(|field| field.as_bytes().to_vec())
            .collect(),
    )
}

/// Appends a message; returns whether it was taken.
fn append(journal: &mut Journal, common: &Common, text: &str) -> bool {
    journal
        .append(common, &[[b"MESSAGE=", text.as_bytes()]])
        .is_ok()
}

/// How many entries there are, in files that the real journalctl finds whole.
fn whole_entries(dir: &Path) -> usize {
    journalctl(dir, &["--verify"]);
    let files = files(&dir.join(MACHINE)).unwrap();
    let count = |file: &PathBuf| {
        let mut reader = Reader::open(file).unwrap();
        std::iter::from_fn(|| reader.next_entry().unwrap().map(drop)).count()
    };
    files.iter().map(count).sum()
}

/// A file system of a few megabytes, unmounted at the end.
struct Small(tempfile::TempDir);

impl Small {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let options = format!("size={size}");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir.path());
        assert!(mount.status().unwrap().success());
        Self(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// The two clocks pass into the next microsecond at different moments.
#[test]
fn each_entry_has_the_time_of_both_clocks() {
    for count in 20..80 {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(dir.path(), Limits::default(), &[]);
        let app = common(&["APP=a"]);
        for n in 0..count {
            journal.tick();
            assert!(append(&mut journal, &app, &format!("line {n}")));
        }
        drop(journal);
        assert_eq!(whole_entries(dir.path()), count);
    }
}

/// Files end, and new ones begin, on a disk that somebody else fills now and then.
#[test]
fn a_full_disk_loses_what_it_says() {
    for turn in [300, 1100, 2900] {
        let small = Small::new("24m");
        let dir = small.0.path();
        let limits = Limits {
            file_min: 1 << 20,
            file_max: 1 << 20,
            ..Limits::default()
        };
        let mut journal = journal(dir, limits, &[]);
        let app = common(&["APP=a"]);
        let other = dir.join("other");
        let (mut taken, mut lost) = (0, 0);
        for n in 0..40_000 {
            if n % turn == turn / 2 {
                let mut other = std::fs::File::create(&other).unwrap();
                while other.write_all(&[1; 4096]).is_ok() {}
            } else if n % turn == 0 {
                let _ = std::fs::remove_file(&other);
            }
            let text = format!("line {n} {}", "x".repeat(100));
            taken += usize::from(append(&mut journal, &app, &text));
            if n % 100 == 0 {
                journal.commit();
                lost += journal.take_lost() as usize;
            }
        }
        journal.commit();
        journal.settle();
        lost += journal.take_lost() as usize;
        drop(journal);
        assert!((20_000..40_000).contains(&taken), "{taken}");
        assert_eq!(whole_entries(dir), taken - lost);
        let names = std::fs::read_dir(dir.join(MACHINE)).unwrap();
        let mut paths = names.map(|name| name.unwrap().path());
        assert!(paths.all(|path| path.extension().unwrap() == "journal"));
    }
}

/// The first file cannot appear; later ones can.
#[test]
fn a_name_that_is_taken_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path(), Limits::default(), &[]);
    let app = common(&["APP=a"]);
    let name = dir.path().join(MACHINE).join("system.journal");
    std::fs::create_dir_all(name.join("somebody")).unwrap();
    let mut taken = 0;
    for n in 0..3000 {
        match append(&mut journal, &app, &format!("line {n}")) {
            true => taken += 1,
            false if name.is_dir() => std::fs::remove_dir_all(&name).unwrap(),
            false => {}
        }
    }
    journal.commit();
    journal.settle();
    let lost = journal.take_lost() as usize;
    drop(journal);
    assert!(taken < 3000 && lost > 0, "{taken} {lost}");
    assert_eq!(whole_entries(dir.path()), taken - lost);
}

#[test]
fn what_a_killed_writer_left_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join(MACHINE).join("system.new");
    std::fs::create_dir_all(left.parent().unwrap()).unwrap();
    std::fs::write(&left, "half a file").unwrap();
    let mut journal = journal(dir.path(), Limits::default(), &[]);
    assert!(append(&mut journal, &common(&[]), "first"));
    journal.commit();
    assert!(!left.exists());
    drop(journal);
    assert_eq!(whole_entries(dir.path()), 1);
}

/// Runs the test of this name in a process of its own, which is told by an error that it has reached
/// the limit of a file's size.
fn in_a_process(test: &str) -> bool {
    if std::env::var_os("FAULTS_CHILD").is_some() {
        return false;
    }
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env("FAULTS_CHILD", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(child.status.success(), "{said}");
    true
}

fn limit_files(size: Option<u64>) {
    let limit = Rlimit {
        current: size,
        maximum: None,
    };
    setrlimit(Resource::Fsize, limit).unwrap();
}

/// Fields part while what they have in common cannot be written.
#[test]
fn fields_part_that_could_not_be_written() {
    if in_a_process("fields_part_that_could_not_be_written") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path(), Limits::default(), &[]);
    let (both, one) = (common(&["P=1", "Q=1"]), common(&["P=1"]));
    let mut taken = 0;
    for n in 0..1500 {
        let text = format!("line {n} {}", "x".repeat(200));
        taken += usize::from(append(&mut journal, &both, &text));
    }
    limit_files(Some(245 << 10));
    taken += usize::from(append(&mut journal, &one, "of one alone"));
    limit_files(None);
    journal.commit();
    journal.settle();
    let lost = journal.take_lost() as usize;
    drop(journal);
    assert!(lost > 0);
    assert_eq!(whole_entries(dir.path()), taken - lost);
}

/// Fields part for an entry that finds no room then, when more are known than are remembered.
#[test]
fn fields_that_parted_are_not_forgotten() {
    if in_a_process("fields_that_parted_are_not_forgotten") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path(), Limits::default(), &[]);
    let (both, one, none) = (common(&["P=1", "Q=1"]), common(&["P=1"]), common(&[]));
    for n in 0..50 {
        assert!(append(&mut journal, &both, &format!("both {n}")));
    }
    journal.commit();
    for kind in (0..1100).flat_map(|n| [n, n]) {
        let (text, kind) = (format!("kind {kind}"), format!("KIND={kind}"));
        let fields = [[&b"MESSAGE="[..], text.as_bytes()], [kind.as_bytes(), b""]];
        journal.append(&none, &fields).unwrap();
    }
    let file = dir.path().join(MACHINE).join("system.journal");
    limit_files(Some(file.metadata().unwrap().len()));
    assert!(!append(&mut journal, &one, &"x".repeat(4_000_000)));
    journal.commit();
    limit_files(None);
    for n in 0..50 {
        assert!(append(&mut journal, &both, &format!("again {n}")));
        assert!(append(&mut journal, &one, &format!("alone {n}")));
    }
    journal.commit();
    journal.settle();
    assert_eq!(journal.take_lost(), 0);
    drop(journal);
    whole_entries(dir.path());
    for (field, count) in [("P=1", 150), ("Q=1", 100)] {
        let lines = journalctl(dir.path(), &["-o", "cat", "--no-pager", field]);
        assert_eq!(lines.lines().count(), count, "{field}");
    }
}

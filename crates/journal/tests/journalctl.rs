//! What is written is what comes back, here and in the real `journalctl`.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::path::Path;
use std::process::Command;

use journal::{Common, Error, Journal, Limits, Reader, files};

use support::{IDENTITY, MACHINE, journal, journalctl};

const ALL: &[&str] = &["_TRANSPORT=stdout"];

fn common(app: &str) -> Common {
    Common::new(vec![format!("SYSLOG_IDENTIFIER={app}").into_bytes()])
}

fn write(journal: &mut Journal, text: &str, app: &Common) {
    let fields = [[b"MESSAGE=", text.as_bytes()], [b"PRIORITY=", b"6"]];
    journal.append(app, &fields).unwrap();
}

fn messages(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for file in files(&dir.join(MACHINE)).unwrap() {
        let mut reader = Reader::open(&file).unwrap();
        while let Some(entry) = reader.next_entry().unwrap() {
            let message = String::from_utf8(entry.get("MESSAGE").unwrap().to_vec());
            // One test's is no text.
            all.extend(message);
        }
    }
    all
}

#[test]
fn journalctl_reads_and_verifies_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path(), Limits::default(), ALL);
    let expected: Vec<String> = (0..5000).map(|n| format!("line {}", n % 4000)).collect();
    let apps = [common("web"), common("db")];
    for (n, line) in expected.iter().enumerate() {
        write(&mut journal, line, &apps[n % 2]);
    }
    journal.commit();
    // While it is written, and after.
    for finished in [false, true] {
        if finished {
            drop(std::mem::replace(
                &mut journal,
                self::journal(&dir.path().join("x"), Limits::default(), ALL),
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
    let mut journal = journal(dir.path(), limits, ALL);
    let text = "x".repeat(200);
    let web = common("web");
    for n in 0..40_000 {
        write(&mut journal, &format!("{n} {text}"), &web);
    }
    journal.commit();
    journal.settle();
    let numbers: Vec<u64> = messages(dir.path())
        .iter()
        .map(|m| m.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers.last(), Some(&39_999));
    assert!(numbers.windows(2).all(|w| w[0] + 1 == w[1]), "no hole");
    assert!(numbers.len() > 5_000, "{}", numbers.len());
    let all = files(&dir.path().join(MACHINE)).unwrap();
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
    let mut journal = journal(dir.path(), Limits::default(), ALL);
    let long = [b"MESSAGE=".to_vec(), vec![0xff; 300_000], b"\n\0".to_vec()].concat();
    let web = common("web");
    journal
        .append(&web, &[[&long, b""], [b"EMPTY", b"="]])
        .unwrap();
    // Longer than a file is, at the beginning and later.
    for length in [9 << 20, 50 << 20] {
        let huge = vec![b'h'; length];
        journal.append(&web, &[[b"MESSAGE=", &huge]]).unwrap();
    }
    write(&mut journal, "short", &web);
    drop(journal);
    let all = files(&dir.path().join(MACHINE)).unwrap();
    let mut reader = Reader::open(&all[0]).unwrap();
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!(entry.get("MESSAGE"), Some(&long[8..]));
    assert_eq!(entry.get("EMPTY"), Some(&b""[..]));
    let lengths: Vec<usize> = messages(dir.path()).iter().map(String::len).collect();
    assert_eq!(lengths, [9 << 20, 50 << 20, 5]);
}

#[test]
fn damaged_files_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        file_min: 256 << 10,
        ..Limits::default()
    };
    let mut journal = journal(dir.path(), limits, ALL);
    let web = common("web");
    for n in 0..100 {
        write(&mut journal, &format!("line {n}"), &web);
    }
    drop(journal);
    let file = files(&dir.path().join(MACHINE)).unwrap().remove(0);
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
                let mut journal = Journal::new(place, IDENTITY, Limits::default(), Vec::new());
                write(&mut journal, "first", &common("app"));
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

/// Entries of several apps in turns, with messages and fields that come again and again or once, in
/// batches of any size and files of any: all come back, each by every field it has.
#[test]
fn whatever_is_gathered_comes_back() {
    for seed in 1..6 {
        let dir = tempfile::tempdir().unwrap();
        let mut random = Random(seed);
        let limits = Limits {
            file_min: 2 << 20,
            file_max: 12 << 20,
            ..Limits::default()
        };
        let mut journal = journal(dir.path(), limits, ALL);
        let apps: Vec<Common> = (0..3).map(|n| common(&format!("app{n}"))).collect();
        let mut expected = Vec::new();
        let mut of_app = 0;
        let mut urgent = 0;
        let mut current = 0;
        let batch = [100, 1000, 5000][seed as usize % 3];
        for n in 0..60_000 {
            if random.below(40) == 0 {
                current = random.below(apps.len());
            }
            let text = match random.below(10) {
                0 => "again and again".to_owned(),
                1 => format!("one of many {}", random.below(3000)),
                2 => format!("long {n} {}", "y".repeat(random.below(900))),
                _ => format!("line {n}"),
            };
            let priority = [&b"6"[..], b"3"][usize::from(random.below(7) == 0)];
            let kind = format!("KIND={}", random.below(2000));
            let twice = [b"MESSAGE=", text.as_bytes()];
            let app = format!("app{current}");
            // What is said twice, or in common already, is there once.
            let fields = [
                twice,
                [b"PRIORITY=", priority],
                [kind.as_bytes(), b""],
                twice,
                [b"SYSLOG_IDENTIFIER=", app.as_bytes()],
            ];
            let some = 1 + random.below(5);
            journal.append(&apps[current], &fields[..some]).unwrap();
            of_app += usize::from(current == 1);
            urgent += usize::from(priority == b"3" && some > 1);
            expected.push(text);
            if random.below(batch) == 0 {
                journal.commit();
            }
            if random.below(10_000) == 0 {
                journal.rest();
            }
        }
        journal.commit();
        journal.settle();
        assert!(messages(dir.path()) == expected, "seed {seed}");
        let count = |field: &str| {
            let lines = journalctl(dir.path(), &["-o", "cat", "--no-pager", field]);
            lines.lines().count()
        };
        assert_eq!(count("SYSLOG_IDENTIFIER=app1"), of_app);
        assert_eq!(count("PRIORITY=3"), urgent);
        let again = expected.iter().filter(|text| *text == "again and again");
        assert_eq!(count("MESSAGE=again and again"), again.count());
        drop(journal);
        let verified = Command::new("journalctl")
            .args(["--verify", "--directory"])
            .arg(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(verified.status.success(), "seed {seed}: {said}");
        assert!(said.matches("PASS").count() >= 2, "{said}");
    }
}

/// Fields that came together, and name the same entries so far, part: an app writes to its other stream,
/// something has one of its fields alone, fields are forgotten. Each still names the entries it is in.
#[test]
fn fields_part_that_came_together() {
    // None, the one that the data object names, in the first array, behind some, behind the longest.
    for together in [0, 1, 3, 100, 3000, 70_000] {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            file_min: 64 << 20,
            file_max: 64 << 20,
            ..Limits::default()
        };
        let mut journal = journal(dir.path(), limits, ALL);
        let fields = ["UNIT=a", "APP=a", "PID=1"].map(|field| field.as_bytes().to_vec());
        let app = Common::new(fields.to_vec());
        let (out, err) = (app.with("STREAM=out"), app.with("STREAM=err"));
        let (info, alarm) = (out.with("PRIORITY=6"), out.with("PRIORITY=1"));
        let nobody = Common::new(Vec::new());
        let mut n = 0;
        let mut lines = |journal: &mut Journal, common: &Common, own: &str, count: usize| {
            for _ in 0..count {
                n += 1;
                let message = format!("line {n}");
                let fields = [
                    [&b"MESSAGE="[..], message.as_bytes()],
                    [own.as_bytes(), b""],
                ];
                let some = 1 + usize::from(!own.is_empty());
                journal.append(common, &fields[..some]).unwrap();
            }
        };
        lines(&mut journal, &info, "", together);
        journal.commit();
        lines(&mut journal, &alarm, "", 2);
        lines(&mut journal, &info, "", 5);
        lines(&mut journal, &nobody, "APP=a", 3);
        lines(&mut journal, &nobody, "PID=1", 1);
        lines(&mut journal, &err, "PRIORITY=1", 4);
        // More than are remembered.
        for kind in 0..1200 {
            lines(&mut journal, &nobody, &format!("KIND={kind}"), 1);
            lines(&mut journal, &nobody, &format!("KIND={kind}"), 1);
        }
        journal.commit();
        lines(&mut journal, &info, "", 6);
        lines(&mut journal, &nobody, "UNIT=a", 1);
        lines(&mut journal, &err, "", 1);
        journal.commit();
        journal.settle();
        let all = together + 2 + 5 + 4 + 6 + 1;
        let expected = [
            ("UNIT=a", all + 1),
            ("APP=a", all + 3),
            ("PID=1", all + 1),
            ("STREAM=out", together + 2 + 5 + 6),
            ("STREAM=err", 4 + 1),
            ("PRIORITY=6", together + 5 + 6),
            ("PRIORITY=1", 2 + 4),
            ("_TRANSPORT=stdout", all + 3 + 1 + 2400 + 1),
            ("KIND=7", 2),
        ];
        for (field, count) in expected {
            let output = journalctl(dir.path(), &["-o", "cat", "--no-pager", field]);
            assert_eq!(output.lines().count(), count, "{together}: {field}");
        }
        drop(journal);
        journalctl(dir.path(), &["--verify"]);
    }
}

/// What is committed is there; of what is not, nobody sees half an entry.
#[test]
fn a_commit_is_seen_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path(), Limits::default(), ALL);
    let web = common("web");
    let lines = |count: usize| (0..count).map(|n| format!("line {n}")).collect::<Vec<_>>();
    for end in (0..1500).step_by(5) {
        for n in end..end + 5 {
            write(&mut journal, &format!("line {n}"), &web);
        }
        let before = messages(dir.path());
        assert!(before.len() >= end && before == lines(before.len()));
        journal.commit();
        assert_eq!(messages(dir.path()), lines(end + 5));
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

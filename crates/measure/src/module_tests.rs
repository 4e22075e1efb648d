//! Tests with a TPM 2.0: Debian's `swtpm`, by a socket.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use super::*;

/// An emulated TPM, which ends with this.
struct Emulator {
    process: Child,
    directory: tempfile::TempDir,
}

impl Emulator {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags=not-need-init,startup-clear"])
            .arg(format!("--tpmstate=dir={}", directory.path().display()))
            .arg(format!("--server=type=unixio,path={}", path("socket")))
            .stdin(Stdio::null())
            .spawn()
            .expect("swtpm, which is in Debian's package of that name");
        Self { process, directory }
    }

    fn connect(&self) -> UnixStream {
        let path = self.directory.path().join("socket");
        for _ in 0..600 {
            if let Ok(stream) = UnixStream::connect(&path) {
                return stream;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("swtpm does not listen");
    }

    fn data(&self) -> &Path {
        self.directory.path()
    }

    fn log(&self) -> Log {
        let boot = std::fs::read_to_string(BOOT).unwrap();
        let path = self.data().join(DIRECTORY).join(boot.trim());
        Log::parse(&std::fs::read(path).unwrap()).unwrap()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn value(tpm: &mut UnixStream) -> Vec<Bank> {
    let banks = tpm::banks(tpm, PCR).unwrap();
    tpm::read(tpm, PCR, &banks).unwrap()
}

#[test]
fn the_log_gives_the_registers_value() {
    let emulator = Emulator::new();
    let mut tpm = emulator.connect();
    assert!(
        tpm::banks(&mut tpm, PCR)
            .unwrap()
            .contains(&Algorithm::Sha256)
    );
    assert!(
        value(&mut tpm)
            .iter()
            .all(|(_, value)| value.iter().all(|b| *b == 0))
    );
    for event in ["one", "two", &"long ".repeat(1000)] {
        measure_with(&mut tpm, emulator.data(), event).unwrap();
        let log = emulator.log();
        assert_eq!(log.replay(), value(&mut tpm));
        assert_eq!(log.events.last().unwrap().data, event.as_bytes());
    }
    assert_eq!(emulator.log().events.len(), 3);
}

#[test]
fn who_was_killed_after_the_record_is_caught_up_with() {
    let emulator = Emulator::new();
    let mut tpm = emulator.connect();
    measure_with(&mut tpm, emulator.data(), "one").unwrap();
    let banks = tpm::banks(&mut tpm, PCR).unwrap();
    let mut log = OpenLog::open(emulator.data(), "", &banks).unwrap();
    log.append(Event::of_pod("killed", &banks)).unwrap();
    // And one in the middle of the next record.
    let length = log.log.length;
    log.write_at(length, &Event::of_pod("torn", &banks).to_bytes()[..30])
        .unwrap();
    drop(log);
    measure_with(&mut tpm, emulator.data(), "two").unwrap();
    let log = emulator.log();
    assert_eq!(log.events.len(), 3);
    assert_eq!(log.replay(), value(&mut tpm));
}

#[test]
fn extensions_by_others_are_noted() {
    let emulator = Emulator::new();
    let mut tpm = emulator.connect();
    let banks = tpm::banks(&mut tpm, PCR).unwrap();
    let theirs = Event::of_pod("theirs", &banks).digests;
    for _ in 0..2 {
        tpm::extend(&mut tpm, PCR, &theirs).unwrap();
        measure_with(&mut tpm, emulator.data(), "ours").unwrap();
        assert_eq!(emulator.log().replay(), value(&mut tpm));
    }
    let log = emulator.log();
    let extends: Vec<bool> = log.events.iter().map(Event::extends).collect();
    assert_eq!(extends, [false, true, false, true]);
}

#[test]
fn a_refusal_leaves_no_record() {
    let emulator = Emulator::new();
    let mut tpm = emulator.connect();
    // There is no such register.
    let refused = tpm::extend(&mut tpm, 99, &[(Algorithm::Sha256, vec![0; 32])]);
    assert!(matches!(refused, Err(Error::Refused(..))), "{refused:?}");
    measure_with(&mut tpm, emulator.data(), "one").unwrap();
    let banks = tpm::banks(&mut tpm, PCR).unwrap();
    let mut log = OpenLog::open(emulator.data(), "", &banks).unwrap();
    log.append(Event::of_pod("refused", &banks)).unwrap();
    log.take_back().unwrap();
    drop(log);
    assert_eq!(emulator.log().events.len(), 1);
    assert_eq!(emulator.log().replay(), value(&mut tpm));
}

#[test]
fn a_damaged_log_is_not_gone_on_with() {
    let emulator = Emulator::new();
    let mut tpm = emulator.connect();
    measure_with(&mut tpm, emulator.data(), "one").unwrap();
    let boot = std::fs::read_to_string(BOOT).unwrap();
    let path = emulator.data().join(DIRECTORY).join(boot.trim());
    std::fs::write(&path, "nonsense").unwrap();
    let before = value(&mut tpm);
    let error = measure_with(&mut tpm, emulator.data(), "two").unwrap_err();
    assert!(matches!(error, Error::Log { .. }), "{error}");
    assert_eq!(value(&mut tpm), before);
}

#[test]
fn a_tpm_that_answers_nonsense_is_an_error() {
    let whole = [0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0];
    assert!(crate::parse_response(&whole).is_some());
    for wrong in [&whole[..9], &[&whole[..], &[0]].concat(), &[0; 10], &[]] {
        assert_eq!(crate::parse_response(wrong), None);
    }
}

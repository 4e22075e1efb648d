//! Tests of the log's format.

use super::*;

fn sample() -> Vec<u8> {
    let banks = [Algorithm::Sha1, Algorithm::Sha256];
    let mut bytes = header(&banks);
    let values = [(banks[0], vec![1; 20]), (banks[1], vec![2; 32])];
    bytes.extend(Event::value(&values).to_bytes());
    bytes.extend(Event::of_pod("one", &banks).to_bytes());
    bytes.extend(Event::of_pod("two", &banks).to_bytes());
    bytes
}

#[test]
fn what_is_written_is_read_and_replayed() {
    let bytes = sample();
    let log = Log::parse(&bytes).unwrap();
    assert_eq!(log.length, bytes.len());
    assert_eq!(log.events.len(), 3);
    assert!(log.events.iter().all(Event::is_consistent));
    let sha256 = |parts: &[&[u8]]| Algorithm::Sha256.of(parts);
    let one = sha256(&[&[2; 32], &sha256(&[b"one"])]);
    assert_eq!(log.replay_first(2)[1].1, one);
    assert_eq!(log.replay()[1].1, sha256(&[&one, &sha256(&[b"two"])]));
    assert_eq!(log.replay_first(1)[0].1, [1; 20]);
}

#[test]
fn a_record_that_was_cut_short_does_not_count() {
    let bytes = sample();
    let whole = Log::parse(&bytes).unwrap();
    let before = bytes.len() - whole.events[2].to_bytes().len();
    for end in before..bytes.len() {
        let log = Log::parse(&bytes[..end]).unwrap();
        assert_eq!((log.events.len(), log.length), (2, before), "{end}");
    }
}

#[test]
fn what_is_no_log_is_refused() {
    let bytes = sample();
    for end in 0..header(&[Algorithm::Sha1, Algorithm::Sha256]).len() {
        Log::parse(&bytes[..end]).unwrap_err();
    }
    for (at, with) in [(0, 1), (4, 0), (32, b'X'), (60, 0xff), (64, 9), (68, 1)] {
        let mut wrong = bytes.clone();
        wrong[at] = with;
        Log::parse(&wrong).unwrap_err();
    }
    let event = Event::of_pod("one", &[Algorithm::Sha512]).to_bytes();
    let fault = Log::parse(&[bytes, event].concat()).unwrap_err();
    assert!(fault.to_string().contains("does not name"), "{fault}");
}

#[test]
fn a_changed_event_is_found() {
    let mut bytes = sample();
    *bytes.last_mut().unwrap() ^= 1;
    let log = Log::parse(&bytes).unwrap();
    assert!(!log.events[2].is_consistent());
    assert!(Event::of_tpmd("x").is_consistent());
}

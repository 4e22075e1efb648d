//! Waiting for something to become true, without guessing how long it takes.

use std::time::{Duration, Instant};

/// The first pause between two looks; later ones grow to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Calls `look` until it answers with something; panics with `what` after `limit`.
pub fn until_some<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Like [`until_some`], for a condition.
pub fn until(limit: Duration, what: &str, mut look: impl FnMut() -> bool) {
    until_some(limit, what, || look().then_some(()));
}

//! Only the network's part, measured: a network namespace, a veth pair into it, addresses and
//! routes at both ends. Nothing is executed.

use std::io;
use std::time::{Duration, Instant};

use crate::{child, parent, sys};

/// How often, and the pause before each time, in which the machine falls idle.
const ROUNDS: usize = 31;
const PAUSE: Duration = Duration::from_millis(30);

/// Prints the median in microseconds.
pub(crate) fn run() -> io::Result<i32> {
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        std::thread::sleep(PAUSE);
        times.push(once(u32::try_from(round).unwrap_or_default())?);
    }
    times.sort_unstable();
    println!("{:.1}", times[ROUNDS / 2] as f64 / 1e3);
    Ok(0)
}

/// One time in nanoseconds: what the child needs for its part and what the parent needs for its.
fn once(round: u32) -> io::Result<u64> {
    let (made, tell_made) = sys::pipe()?;
    let (go, tell_go) = sys::pipe()?;
    let (result, tell_result) = sys::pipe()?;
    let pid = sys::clone3(0, None)?;
    if pid == 0 {
        let start = Instant::now();
        // SAFETY: no memory is involved.
        let alone = unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0;
        let namespace = start.elapsed();
        sys::write_byte(tell_made);
        sys::read_byte(go);
        let start = Instant::now();
        let done = alone && child::network(round).is_ok();
        let time = (namespace + start.elapsed()).as_nanos() as u64;
        let bytes = if done { time } else { 0 }.to_ne_bytes();
        // SAFETY: eight bytes of a local buffer; and this copy of the process ends here.
        unsafe {
            libc::write(tell_result, bytes.as_ptr().cast(), bytes.len());
            libc::_exit(0);
        }
    }
    sys::read_byte(made);
    let start = Instant::now();
    parent::host_end(pid, round)?;
    let host = start.elapsed().as_nanos() as u64;
    sys::write_byte(tell_go);
    let mut bytes = [0; 8];
    // SAFETY: eight bytes into a local buffer.
    sys::check(unsafe { libc::read(result, bytes.as_mut_ptr().cast(), bytes.len()) } as i64)?;
    sys::wait(pid)?;
    for fd in [made, tell_made, go, tell_go, result, tell_result] {
        // SAFETY: this process's own descriptors, used by nobody else any more.
        unsafe { libc::close(fd) };
    }
    match u64::from_ne_bytes(bytes) {
        0 => Err(io::Error::other("the network could not be made")),
        pod => Ok(pod + host),
    }
}

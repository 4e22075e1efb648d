//! One function for each way in which an app can be difficult.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// Sends itself the signal of that number; exits 70 if it survives.
pub(crate) fn raise(signal: u64) -> ExitCode {
    if let Some(signal) = Signal::from_named_raw(signal as i32) {
        let _ = kill_process(getpid(), signal);
    }
    ExitCode::from(70)
}

/// Says `ready` and waits for ever.
pub(crate) fn sleep_until_killed() -> ExitCode {
    println!("ready");
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Starts that many processes whose parent has gone, so that they fall to PID 1.
pub(crate) fn orphans(count: u64) -> ExitCode {
    for _ in 0..count {
        let made = Command::new("/proc/self/exe").arg("orphan-parent").status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("probe: cannot make an orphan");
            return ExitCode::from(72);
        }
    }
    println!("{count} orphans");
    ExitCode::SUCCESS
}

/// Leaves one child behind, unwaited for.
pub(crate) fn orphan_parent() -> ExitCode {
    match Command::new("/proc/self/exe").arg("orphan").spawn() {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes that many bytes to stdout, in lines of 64.
pub(crate) fn spew(bytes: u64) -> ExitCode {
    let block = [b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n".as_slice();
        1024]
        .concat();
    let mut out = std::io::stdout().lock();
    let mut left = bytes as usize;
    while left > 0 {
        let size = left.min(block.len());
        if out.write_all(&block[..size]).is_err() {
            return ExitCode::from(74);
        }
        left -= size;
    }
    ExitCode::SUCCESS
}

/// Writes numbered lines, alternately to stdout and stderr.
pub(crate) fn lines(count: u64) -> ExitCode {
    for n in 0..count {
        if n % 2 == 0 {
            println!("out {n}");
        } else {
            eprintln!("err {n}");
        }
    }
    ExitCode::SUCCESS
}

/// Writes that many numbered lines of that many bytes to stdout, as fast as it can.
pub(crate) fn flood(count: u64, size: usize) -> ExitCode {
    // Whoever reads is to be measured, not this: nothing looks for ends of lines or makes strings.
    let stdout = match std::io::stdout().as_fd().try_clone_to_owned() {
        Ok(stdout) => std::fs::File::from(stdout),
        Err(_) => return ExitCode::FAILURE,
    };
    let mut out = std::io::BufWriter::with_capacity(64 << 10, stdout);
    let mut line = vec![b'x'; size];
    let mut number = vec![b'0', b' '];
    line[size - 1] = b'\n';
    let written = (0..count).try_for_each(|_| {
        let length = number.len().min(size - 1);
        line[..length].copy_from_slice(&number[..length]);
        count_up(&mut number);
        out.write_all(&line)
    });
    match written.and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Makes a number in decimal, with a blank behind it, the next one.
fn count_up(number: &mut Vec<u8>) {
    for digit in number.iter_mut().rev().skip(1) {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    number.insert(0, b'1');
}

/// Touches that many bytes of memory and says so, if it is let live.
pub(crate) fn allocate(bytes: u64) -> ExitCode {
    let memory = vec![1u8; bytes as usize];
    let sum: u64 = memory
        .iter()
        .step_by(4096)
        .map(|byte| u64::from(*byte))
        .sum();
    println!("allocated {sum} pages");
    ExitCode::SUCCESS
}

/// Answers each connection with `pong`; over both families where there are two.
pub(crate) fn serve(port: u64) -> ExitCode {
    let bound = TcpListener::bind(("::", port as u16));
    let Ok(listener) = bound.or_else(|_| TcpListener::bind(("0.0.0.0", port as u16))) else {
        return ExitCode::from(75);
    };
    println!("ready");
    for mut stream in listener.incoming().flatten() {
        let _ = stream.write_all(b"pong\n");
    }
    ExitCode::SUCCESS
}

/// Stays on the first processor it may use, as both ends of a round trip do: on two, what is
/// measured is how long a sleeping processor takes to wake, not the way between them.
fn stay_on_one_processor() -> rustix::io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    if let Some(first) = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)) {
        one.set(first);
    }
    sched_setaffinity(None, &one)
}

/// Sends each datagram back to its sender.
pub(crate) fn echo(port: u64) -> ExitCode {
    if let Err(error) = stay_on_one_processor() {
        eprintln!("probe: one processor: {error}");
        return ExitCode::from(71);
    }
    let Ok(socket) = UdpSocket::bind(("0.0.0.0", port as u16)) else {
        return ExitCode::from(75);
    };
    println!("ready");
    let mut buffer = [0; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(&buffer[..length], from);
    }
    ExitCode::FAILURE
}

/// Sends words to an echo and prints the median round trip in microseconds.
pub(crate) fn round_trip(address: &str) -> ExitCode {
    const ROUNDS: usize = 2000;
    let measure = || -> std::io::Result<u128> {
        stay_on_one_processor()?;
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut times = Vec::with_capacity(ROUNDS);
        let mut buffer = [0; 64];
        for _ in 0..ROUNDS {
            let start = std::time::Instant::now();
            socket.send(b"word")?;
            socket.recv(&mut buffer)?;
            times.push(start.elapsed().as_nanos());
        }
        times.sort_unstable();
        Ok(times[ROUNDS / 2])
    };
    match measure() {
        Ok(nanos) => {
            println!("{}.{:03}", nanos / 1000, nanos % 1000);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("probe: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(name: &str, result: Result<(), rustix::io::Errno>) {
    match result {
        Ok(()) => println!("{name}=ok"),
        Err(errno) => println!("{name}={}", errno.raw_os_error()),
    }
}

/// Mounts a file system, if it may.
pub(crate) fn mount() -> ExitCode {
    use rustix::mount::{MountFlags, mount};
    show(
        "mount",
        mount("none", "/tmp", "tmpfs", MountFlags::empty(), None),
    );
    ExitCode::SUCCESS
}

/// Tries calls that filters of ten years ago did not know: each must work or fail with an
/// errno, never kill. Prints `name=ok` or `name=ERRNO`.
pub(crate) fn syscalls() -> ExitCode {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
    show(
        "statx",
        rustix::fs::statx(CWD, "/", AtFlags::empty(), StatxFlags::BASIC_STATS).map(drop),
    );
    show(
        "openat2",
        rustix::fs::openat2(
            CWD,
            "/",
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::empty(),
        )
        .map(drop),
    );
    show(
        "pidfd_open",
        rustix::process::pidfd_open(getpid(), rustix::process::PidfdFlags::empty()).map(drop),
    );
    show(
        "getrandom",
        rustix::rand::getrandom(&mut [0u8; 8], rustix::rand::GetRandomFlags::empty()).map(drop),
    );
    let thread = std::thread::spawn(|| 1).join();
    println!("thread={}", if thread.is_ok() { "ok" } else { "failed" });
    ExitCode::SUCCESS
}

/// Opens a file for writing without creating it; prints `ok` or the errno.
/// Answers one connection to the first passed socket with what was said of the sockets, and stays.
pub(crate) fn serve_passed() -> ExitCode {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let own = variable("LISTEN_PID") == std::process::id().to_string();
    let (count, names) = (variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"));
    let text = format!("LISTEN_FDS={count} LISTEN_FDNAMES={names} own pid {own}\n");
    #[expect(
        unsafe_code,
        reason = "a passed descriptor is known by its number alone"
    )]
    // SAFETY: the service manager passed it, and nothing else here uses the number.
    let listener = unsafe { <std::net::TcpListener as std::os::fd::FromRawFd>::from_raw_fd(3) };
    let answered = listener
        .accept()
        .and_then(|(mut to, _)| std::io::Write::write_all(&mut to, text.as_bytes()));
    match answered {
        Ok(()) => sleep_until_killed(),
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells the service manager something, as sd_notify(3) does.
pub(crate) fn notify(text: &str) -> ExitCode {
    let name = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
    let socket = std::os::unix::net::UnixDatagram::unbound();
    match socket.and_then(|socket| socket.send_to(text.as_bytes(), &name)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: cannot notify {name:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn try_write(path: &str) -> ExitCode {
    match std::fs::OpenOptions::new().write(true).open(path) {
        Ok(_) => println!("ok"),
        Err(error) => println!("{}", error.raw_os_error().unwrap_or(-1)),
    }
    ExitCode::SUCCESS
}

/// Asks for its parent that many times, and prints the nanoseconds of processor time of one call:
/// the least of many rounds, since others may use the processor meanwhile.
pub(crate) fn getppid(count: u64) -> ExitCode {
    const ROUNDS: u64 = 100;
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let calls = (count / ROUNDS).max(1);
    let round = |_| {
        let start = now();
        for _ in 0..calls {
            std::hint::black_box(rustix::process::getppid());
        }
        now() - start
    };
    let least = (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min);
    println!("{:.2}", least / calls as f64);
    ExitCode::SUCCESS
}

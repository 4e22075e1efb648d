//! Sockets that the service manager opened for rkt (sd_listen_fds(3)).

/// More than anybody passes.
const MAX: usize = 1024;

/// How many descriptors were passed to this process.
pub fn passed_descriptors() -> usize {
    let number = |name| std::env::var(name).ok()?.parse::<usize>().ok();
    match number("LISTEN_PID") == Some(std::process::id() as usize) {
        true => number("LISTEN_FDS").unwrap_or(0).min(MAX),
        false => 0,
    }
}

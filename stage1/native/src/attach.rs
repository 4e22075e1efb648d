//! The attach entrypoint: between rkt's own streams and those of a running app (page "rkt attach",
//! devel-log-attach-design). Sockets of the pod are reached through the supervisor's root.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode as FileMode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
    connect, recv, send, shutdown, socket_with,
};
use rustix::process::Signal;
use rustix::termios::tcgetwinsize;
use sandbox::Context;
use sandbox::signals::SignalFd;
use serde::Deserialize;
use stage1_abi::{AttachAction, AttachArgs, Wanted, path};
use supervisor::control::{Request, ask};
use supervisor::terminal::{ESCAPE, Escape, Mode};

use crate::app::supervisor_pid;
use crate::error::Error;

const BUFFER: usize = 16 * 1024;

/// What can be attached to (devel-log-attach-design, "Attaching").
#[derive(Deserialize)]
struct Endpoints {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Attaches until the streams end, the user detaches, or a signal comes.
pub(crate) fn attach(args: impl IntoIterator<Item = OsString>) -> Result<u8, Error> {
    let args = AttachArgs::parse(args)?;
    let pid = supervisor_pid()?;
    let failed = |reason: String| Error::Attach {
        app: args.app.clone(),
        reason,
    };
    let directory = format!("/proc/{pid}/root/{}", path::attach(&args.app).display());
    let text = std::fs::read(format!("{directory}/{}", path::ENDPOINTS))
        .map_err(|_| failed("it has no streams to attach to".into()))?;
    let endpoints: Endpoints = serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))?;
    let names: Vec<&str> = endpoints.targets.iter().map(|t| t.name.as_str()).collect();
    let wanted = match args.action {
        AttachAction::List => {
            println!("{}", names.join("\n"));
            return Ok(0);
        }
        AttachAction::Auto => everything(&names),
        AttachAction::Custom(wanted) => wanted,
    };
    let missing = wished(wanted).find(|(name, _)| !names.contains(name));
    if let Some((name, _)) = missing {
        return Err(failed(format!(
            "it has no {name} to attach to, but: {}",
            names.join(", ")
        )));
    }
    let dir = openat(
        CWD,
        directory.as_str(),
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        FileMode::empty(),
    )
    .context("open directory", &directory)?;
    // Sockets are reached by a name of any length only in the working directory.
    rustix::process::fchdir(dir).context("enter", &directory)?;
    Session::open(wanted, args.replay)?.relay(pid, &args.app)
}

fn everything(names: &[&str]) -> Wanted {
    let has = |name| names.contains(&name);
    Wanted {
        tty_in: has("tty"),
        tty_out: has("tty"),
        stdin: has("stdin"),
        stdout: has("stdout"),
        stderr: has("stderr"),
    }
}

/// The endpoints that are wished for, and whether their output is.
fn wished(wanted: Wanted) -> impl Iterator<Item = (&'static str, bool)> {
    [
        ("tty", wanted.tty_in || wanted.tty_out, wanted.tty_out),
        ("stdin", wanted.stdin, false),
        ("stdout", wanted.stdout, true),
        ("stderr", wanted.stderr, true),
    ]
    .into_iter()
    .filter_map(|(name, wished, output)| wished.then_some((name, output)))
}

/// The connections of one client.
struct Session {
    /// Where what is typed goes.
    input: Option<OwnedFd>,
    /// Where output comes from, and whether it goes to standard error.
    outputs: Vec<(OwnedFd, bool)>,
    /// There is output to show, until all of it has ended.
    shows: bool,
    /// The app's terminal is behind `input`.
    terminal: bool,
    pending: Vec<u8>,
    input_ended: bool,
}

impl Session {
    fn open(wanted: Wanted, replay: bool) -> Result<Self, Error> {
        let mut session = Self {
            input: None,
            outputs: Vec::new(),
            shows: wished(wanted).any(|(_, output)| output),
            terminal: wanted.tty_in || wanted.tty_out,
            pending: Vec::new(),
            input_ended: false,
        };
        for (name, output) in wished(wanted) {
            let kind = if replay && output { "replay" } else { "sock" };
            let name_of_socket = format!("{kind}-{name}");
            let socket = open(&name_of_socket).context("connect to", name_of_socket)?;
            let types = (name == "tty" && wanted.tty_in) || name == "stdin";
            if types {
                let copy = socket.try_clone().context("copy", "a descriptor")?;
                session.input = Some(copy);
            }
            if output {
                session.outputs.push((socket, name == "stderr"));
            }
        }
        Ok(session)
    }

    fn relay(mut self, pid: u32, app: &str) -> Result<u8, Error> {
        let signals = SignalFd::block_all().context("block", "signals")?;
        let mode = match self.terminal && self.input.is_some() {
            true => Mode::raw(),
            false => None,
        };
        self.resize(pid, app);
        let mut escape = Escape::default();
        loop {
            let ready = wait(&self, &signals)?;
            while let Some(received) = signals.read().context("read", "signals")? {
                match Signal::from_named_raw(received.signal) {
                    Some(Signal::WINCH) => self.resize(pid, app),
                    Some(Signal::INT | Signal::TERM | Signal::HUP | Signal::QUIT) => return Ok(0),
                    _ => {}
                }
            }
            let detached = ready.stdin && self.read_input(&mut escape, mode.is_some());
            self.write_input();
            if detached {
                return Ok(0);
            }
            self.read_outputs(&ready.outputs);
            if self.is_over() {
                return Ok(0);
            }
        }
    }

    /// The window follows the client that came or changed last.
    fn resize(&self, pid: u32, app: &str) {
        if let (true, Ok(size)) = (self.terminal, tcgetwinsize(rustix::stdio::stdin())) {
            let request = Request::Resize(app.to_owned(), size.ws_row, size.ws_col);
            // An app that has ended has no window.
            let _ = ask(pid, &request, &[]);
        }
    }

    fn is_over(&self) -> bool {
        match (self.shows, &self.input) {
            (true, _) => self.outputs.is_empty(),
            (false, None) => true,
            (false, Some(_)) => self.input_ended && self.pending.is_empty(),
        }
    }

    /// Reads what is typed; whether the user detaches.
    fn read_input(&mut self, escape: &mut Escape, watch: bool) -> bool {
        let mut buffer = [0; BUFFER];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(n @ 1..) => {
                self.pending.extend_from_slice(&buffer[..n]);
                let detaches = watch && escape.typed(&buffer[..n], Instant::now());
                if detaches {
                    // Meant for rkt, not for the app.
                    self.pending.retain(|&byte| byte != ESCAPE);
                }
                detaches
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            Ok(_) | Err(_) => {
                self.input_ended = true;
                false
            }
        }
    }

    fn write_input(&mut self) {
        let Some(input) = &self.input else { return };
        if !self.pending.is_empty() {
            match send(
                input,
                &self.pending,
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            ) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => {
                    self.pending.clear();
                    self.input = None;
                    return;
                }
            }
        }
        if self.input_ended && self.pending.is_empty() && !self.terminal {
            // Whoever ended the connection first has said the same.
            let _ = shutdown(input, Shutdown::Write);
            if self.shows {
                self.input = None;
            }
        }
    }

    fn read_outputs(&mut self, ready: &[bool]) {
        let mut buffer = [0; BUFFER];
        let mut ready = ready.iter();
        self.outputs.retain(|(socket, to_stderr)| {
            if !ready.next().copied().unwrap_or(false) {
                return true;
            }
            match recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => false,
                Ok((n, _)) => write_all(*to_stderr, &buffer[..n]),
                Err(Errno::AGAIN | Errno::INTR) => true,
                Err(_) => false,
            }
        });
    }
}

/// What one poll found.
struct Ready {
    stdin: bool,
    outputs: Vec<bool>,
}

fn wait(session: &Session, signals: &SignalFd) -> Result<Ready, Error> {
    let reads = session.input.is_some() && session.pending.is_empty() && !session.input_ended;
    let wish = |wanted: bool, flags| if wanted { flags } else { PollFlags::empty() };
    let stdin = rustix::stdio::stdin();
    let mut fds = vec![
        PollFd::new(signals, PollFlags::IN),
        // Not watched at all rather than for nothing: a closed one would be ready for ever.
        PollFd::from_borrowed_fd(
            if reads { stdin } else { signals.as_fd() },
            wish(reads, PollFlags::IN),
        ),
    ];
    let input: Option<BorrowedFd<'_>> = session.input.as_ref().map(AsFd::as_fd);
    if let Some(input) = input.filter(|_| !session.pending.is_empty()) {
        fds.push(PollFd::from_borrowed_fd(input, PollFlags::OUT));
    }
    let first = fds.len();
    for (socket, _) in &session.outputs {
        fds.push(PollFd::new(socket, PollFlags::IN));
    }
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => {
            return Err(errno)
                .context("wait for", "the app")
                .map_err(Error::from);
        }
    }
    Ok(Ready {
        stdin: reads && !fds[1].revents().is_empty(),
        outputs: fds[first..]
            .iter()
            .map(|fd| !fd.revents().is_empty())
            .collect(),
    })
}

/// Shows output; `false` once nobody sees it.
fn write_all(to_stderr: bool, mut bytes: &[u8]) -> bool {
    let fd = match to_stderr {
        true => rustix::stdio::stderr(),
        false => rustix::stdio::stdout(),
    };
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
                let _ = poll(&mut fds, None);
            }
            Err(_) => return false,
        }
    }
    true
}

fn open(name: &str) -> Result<OwnedFd, Errno> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    connect(&socket, &SocketAddrUnix::new(name)?)?;
    Ok(socket)
}

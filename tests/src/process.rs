//! Running a program with a time limit, its output collected while it runs.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{until, until_some};

/// Long enough for a slow machine under load; a test that reaches it has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What a finished program left.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it was called, for messages.
    pub call: String,
    /// Its exit status; 128 + N if signal N killed it.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Output {
    /// Panics unless the exit status is this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "exit status of: {}\n--- stdout\n{}--- stderr\n{}",
            self.call, self.stdout, self.stderr
        );
        self
    }

    /// Panics unless it failed as rkt fails by itself (254) and stderr holds all of these.
    #[track_caller]
    pub fn refused(self, words: &[&str]) -> Self {
        let this = self.expect(254);
        for word in words {
            assert!(
                this.stderr.contains(word),
                "{}: {word:?} is not in: {}",
                this.call,
                this.stderr
            );
        }
        this
    }

    /// The JSON object that an app wrote to stdout on one line, without the line's mark.
    #[track_caller]
    pub fn report(&self) -> serde_json::Value {
        let line = self
            .stdout
            .lines()
            .find_map(|line| line.find('{').map(|start| &line[start..]));
        let line = line.unwrap_or_else(|| panic!("{}: no report in: {}", self.call, self.all()));
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", self.call))
    }

    /// The lines of stdout without the marks that pods put before them (`[time] app[pid]: `).
    pub fn app_lines(&self) -> Vec<&str> {
        let unmarked = |line| str::split_once(line, "]: ").map_or(line, |(_, text)| text);
        self.stdout.lines().map(unmarked).collect()
    }

    /// Those of one app.
    pub fn lines_of(&self, app: &str) -> Vec<&str> {
        let mark = format!(" {app}[");
        let lines = self.stdout.lines().filter(|line| line.contains(&mark));
        lines
            .filter_map(|line| Some(line.split_once("]: ")?.1))
            .collect()
    }

    /// stdout without the last newline.
    pub fn text(&self) -> &str {
        self.stdout.trim_end()
    }

    /// stdout and stderr together, for what may be said on either.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

type Shared = Arc<Mutex<Vec<u8>>>;

/// A program that runs; killed when dropped.
#[derive(Debug)]
pub struct Running {
    call: String,
    child: Child,
    stdout: Shared,
    stderr: Shared,
    readers: Vec<JoinHandle<()>>,
    status: Option<ExitStatus>,
}

/// A command that another program executes: the words after that program's own are the command's.
pub fn through(program: &str, own: &[&str], plain: &Command) -> Command {
    let mut command = Command::new(program);
    command
        .args(own)
        .arg(plain.get_program())
        .args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// The same as another user, in one group.
pub fn as_user(user: &str, group: &str, plain: &Command) -> Command {
    let ids = [format!("--reuid={user}"), format!("--regid={group}")];
    let mut command = through("setpriv", &[&ids[0], &ids[1], "--clear-groups"], plain);
    command.current_dir("/");
    command
}

/// A process's parent.
pub fn parent_of(pid: &str) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Its name is the program's to choose.
    let fields = stat.rsplit(')').next().unwrap();
    fields.split_whitespace().nth(1).unwrap().to_owned()
}

impl Running {
    /// Starts it with stdin empty and both outputs collected.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::start_with_stdin(command)
    }

    /// Like [`Running::start`], with stdin as the command has it.
    #[track_caller]
    pub fn start_with_stdin(mut command: Command) -> Self {
        let call = format!("{command:?}");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {call}: {e}"));
        let (stdout, stderr) = (Shared::default(), Shared::default());
        let readers = vec![
            collect(child.stdout.take().unwrap(), Arc::clone(&stdout)),
            collect(child.stderr.take().unwrap(), Arc::clone(&stderr)),
        ];
        Self {
            call,
            child,
            stdout,
            stderr,
            readers,
            status: None,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().unwrap()).into_owned()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Waits until stdout holds `text`; panics if the program ends first.
    #[track_caller]
    pub fn await_stdout(&mut self, text: &str) {
        let what = format!("{text:?} from {}", self.call);
        until(LIMIT, &what, || {
            let ended = self.try_status().is_some();
            if self.stdout().contains(text) {
                return true;
            }
            assert!(
                !ended || self.readers.iter().any(|reader| !reader.is_finished()),
                "{} ended without {text:?}: {}{}",
                self.call,
                self.stdout(),
                self.stderr()
            );
            false
        });
    }

    /// Its exit status if it has ended.
    pub fn try_status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Waits for its end, at most a minute.
    #[track_caller]
    pub fn finish(self) -> Output {
        self.finish_within(LIMIT)
    }

    /// Waits for its end and for the end of its output.
    #[track_caller]
    pub fn finish_within(mut self, limit: Duration) -> Output {
        let what = format!("the end of {}", self.call);
        let status = until_some(limit, &what, || self.try_status());
        // A process left behind with the pipe open would be a finding of its own.
        let what = format!("end of output of {}", self.call);
        until(Duration::from_secs(10), &what, || {
            self.readers.iter().all(JoinHandle::is_finished)
        });
        Output {
            call: self.call.clone(),
            code: code_of(status),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.try_status().is_none() {
            // The kind way first: a pod's main process takes its pod along.
            self.signal(Signal::TERM);
            for _ in 0..500 {
                if self.try_status().is_some() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn collect(mut from: impl Read + Send + 'static, to: Shared) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0u8; 1 << 16];
        while let Ok(size) = from.read(&mut buffer) {
            if size == 0 {
                break;
            }
            to.lock().unwrap().extend_from_slice(&buffer[..size]);
        }
    })
}

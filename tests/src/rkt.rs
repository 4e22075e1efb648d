//! An engine of one test: the built `rkt` with directories that nobody else uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::aci::{Aci, Compression};
use crate::dir::TempDir;
use crate::lab::Lab;
use crate::leftovers;
use crate::process::{LIMIT, Output, Running};
use crate::wait::{until, until_some};

/// The engine. When dropped it stops its pods, removes them and everything it made.
#[derive(Debug)]
pub struct Rkt {
    program: PathBuf,
    dir: TempDir,
    /// Pods seen so far: what is looked for in [`Rkt::assert_clean`].
    seen: Mutex<Vec<String>>,
}

impl Rkt {
    /// An engine without images and pods.
    pub fn new() -> Self {
        Self::of(crate::fixtures::program("rkt"))
    }

    /// The same around that executable.
    pub fn of(program: PathBuf) -> Self {
        let dir = TempDir::new();
        for name in ["data", "local", "system"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        Self {
            program,
            dir,
            seen: Mutex::default(),
        }
    }

    /// Its data directory (`--dir`).
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Its local configuration directory (`--local-config`).
    pub fn local_config(&self) -> PathBuf {
        self.dir.join("local")
    }

    /// A path for the test's own files, on the same disk as the data directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A command with this engine's global flags and these arguments, which does not ask for
    /// signatures.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.strict_command(&["--insecure-options=image"]);
        command.args(args);
        command
    }

    /// The same, but images must be signed.
    pub fn strict_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(format!("--dir={}", self.data().display()));
        command.arg(format!("--local-config={}", self.local_config().display()));
        command.arg(format!(
            "--system-config={}",
            self.dir.join("system").display()
        ));
        command.args(args);
        command
    }

    /// Starts `rkt run` with these arguments on the host of a lab, waits until the pod is ready and
    /// returns it with its UUID.
    #[track_caller]
    pub fn start_pod_in(&self, lab: &Lab, args: &[&str]) -> (Running, String) {
        self.start_pod_by(&["run"], args, |args| {
            Running::start(lab.wrap(&self.command(args)))
        })
    }

    /// Runs it to its end on the host of a lab.
    #[track_caller]
    pub fn run_in(&self, lab: &Lab, args: &[&str]) -> Output {
        let output = Running::start(lab.wrap(&self.command(args))).finish();
        self.remember();
        output
    }

    /// Runs it to its end with signatures asked for.
    #[track_caller]
    pub fn strict(&self, args: &[&str]) -> Output {
        let output = Running::start(self.strict_command(args)).finish();
        self.remember();
        output
    }

    /// Runs it to its end, at most a minute.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        let output = Running::start(self.command(args)).finish();
        self.remember();
        output
    }

    /// Runs it, expects success and returns stdout without its last newline.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).expect(0).text().to_owned()
    }

    /// Starts it.
    #[track_caller]
    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(self.command(args))
    }

    /// Starts `rkt run` with these arguments, waits until the pod is ready and returns it
    /// with its UUID.
    #[track_caller]
    pub fn start_pod(&self, args: &[&str]) -> (Running, String) {
        self.start_pod_by(&["run"], args, |args| self.start(args))
    }

    /// Adds an app to a running sandbox and starts it; `words` are the flags that follow the image,
    /// and the app's arguments.
    #[track_caller]
    pub fn start_app(&self, uuid: &str, image: &str, name: &str, words: &[&str]) {
        let named = format!("--name={name}");
        self.ok(&[&["app", "add", uuid, image, &named], words].concat());
        self.ok(&["app", "start", &format!("--app={name}"), uuid]);
    }

    /// Starts `rkt app sandbox` with these arguments, as [`Self::start_pod`].
    #[track_caller]
    pub fn start_sandbox(&self, args: &[&str]) -> (Running, String) {
        self.start_pod_by(&["app", "sandbox"], args, |args| self.start(args))
    }

    /// Starts a pod by a command that `start` is given, waits until it is ready and returns it with
    /// its UUID.
    #[track_caller]
    pub fn start_pod_by(
        &self,
        command: &[&str],
        args: &[&str],
        start: impl FnOnce(&[&str]) -> Running,
    ) -> (Running, String) {
        let file = self
            .dir
            .join(&format!("uuid-{}", self.seen.lock().unwrap().len()));
        let _ = fs::remove_file(&file);
        let save = format!("--uuid-file-save={}", file.display());
        let mut running = start(&[command, &[&save], args].concat());
        let uuid = until_some(LIMIT, "the pod's UUID", || {
            let ended = running.try_status().is_some();
            let uuid = fs::read_to_string(&file)
                .ok()
                .filter(|text| text.trim().len() == 36);
            assert!(
                uuid.is_some() || !ended,
                "rkt {command:?} {args:?} ended: {}{}",
                running.stdout(),
                running.stderr()
            );
            uuid
        });
        let uuid = uuid.trim().to_owned();
        self.seen.lock().unwrap().push(uuid.clone());
        self.run(&["status", "--wait-ready=60s", &uuid]).expect(0);
        (running, uuid)
    }

    /// Runs rkt on a terminal of 33 rows and 77 columns. Each step is a text to appear on it and
    /// what is typed then. The output is the terminal's, on stdout.
    #[track_caller]
    pub fn on_terminal(&self, args: &[&str], steps: &[(&str, &str)]) -> Output {
        let inner = self.command(args);
        let quoted: Vec<_> = std::iter::once(inner.get_program())
            .chain(inner.get_args())
            .map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''")))
            .collect();
        let line = format!("stty rows 33 cols 77; {}", quoted.join(" "));
        let (log, end) = (self.path("terminal"), self.path("terminal.end"));
        for stale in [&log, &end] {
            let _ = fs::remove_file(stale);
        }
        let (log, end) = (log.display(), end.display());
        let mut typing = String::new();
        for (n, (text, typed)) in steps.iter().enumerate() {
            let input = self.path(&format!("typed-{n}"));
            fs::write(&input, typed).unwrap();
            typing.push_str(&format!(
                "until grep -q '{text}' {log} 2>/dev/null || [ -e {end} ]; do sleep 0.02; done; cat {}; ",
                input.display()
            ));
        }
        // `script` gives a command a terminal of its own and passes what is typed.
        let feed = format!(
            "({typing} while ! [ -e {end} ]; do sleep 0.02; done) \
             | (script -qfec \"$LINE\" {log} > /dev/null; code=$?; touch {end}; exit $code)"
        );
        let mut command = Command::new("/bin/bash");
        command.args(["-c", &feed]).env("LINE", line);
        let mut output = Running::start(command).finish();
        output.stdout = fs::read_to_string(self.path("terminal")).unwrap_or_default();
        output
    }

    /// Writes an image into a file of its own and returns the path as an argument.
    pub fn image(&self, aci: &Aci) -> String {
        let name = aci.manifest()["name"].as_str().unwrap().replace('/', "-");
        let path = self.dir.join(&format!("{name}.aci"));
        aci.write(&path, Compression::None).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes an image, fetches it and returns its id.
    #[track_caller]
    pub fn fetch(&self, aci: &Aci) -> String {
        let path = self.image(aci);
        self.ok(&["fetch", "--full", &path])
    }

    /// Fetches a fixture and returns its id.
    #[track_caller]
    pub fn fetch_file(&self, path: &Path) -> String {
        self.ok(&["fetch", "--full", path.to_str().unwrap()])
    }

    /// Runs a command whose stdout is JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(args);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: not JSON ({e}): {text}"))
    }

    /// The value of a `key=` line of `rkt status`, if it is there.
    #[track_caller]
    pub fn status(&self, uuid: &str, key: &str) -> Option<String> {
        let text = self.ok(&["status", uuid]);
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.to_owned())
    }

    /// Waits until `rkt status` shows that state.
    #[track_caller]
    pub fn await_state(&self, uuid: &str, state: &str) {
        until(LIMIT, &format!("pod {uuid} to be {state}"), || {
            self.status(uuid, "state").as_deref() == Some(state)
        });
    }

    /// The pod's address in the first network.
    #[track_caller]
    pub fn ip(&self, uuid: &str) -> String {
        let networks = self.status(uuid, "networks").expect("no networks= line");
        let address = networks
            .split("ip4=")
            .nth(1)
            .unwrap_or_else(|| panic!("no ip4 in {networks}"));
        address.split([',', ' ']).next().unwrap().to_owned()
    }

    /// The UUIDs of all pods there are, by the directories of the documented life cycle.
    pub fn pods(&self) -> Vec<String> {
        let mut pods = Vec::new();
        for state in [
            "embryo",
            "prepare",
            "prepared",
            "run",
            "exited-garbage",
            "garbage",
        ] {
            let dir = self.data().join("pods").join(state);
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            pods.extend(entries.filter_map(|entry| entry.file_name().into_string().ok()));
        }
        pods
    }

    /// Collects every pod that does not run.
    #[track_caller]
    pub fn gc(&self) {
        self.remember();
        // The first marks, the second removes what the first has marked.
        for _ in 0..2 {
            self.run(&["gc", "--grace-period=0s", "--expire-prepared=0s"])
                .expect(0);
        }
    }

    /// Collects, then panics if a pod is left or anything else that this engine has made:
    /// processes, mounts, leases, control groups.
    #[track_caller]
    pub fn assert_clean(&self) {
        self.gc();
        assert_eq!(self.pods(), Vec::<String>::new(), "pods left after gc");
        let seen = self.seen.lock().unwrap().clone();
        let end = std::time::Instant::now() + Duration::from_secs(20);
        // A process that was killed may take a moment to go.
        loop {
            let left = leftovers::of(&self.data(), &seen);
            if left.is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < end, "left behind: {left:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Processes that belong to this engine's pods.
    pub fn processes(&self) -> Vec<(u32, String)> {
        leftovers::processes(&self.data())
    }

    fn remember(&self) {
        let mut seen = self.seen.lock().unwrap();
        for pod in self.pods() {
            if !seen.contains(&pod) {
                seen.push(pod);
            }
        }
    }
}

impl Default for Rkt {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Rkt {
    fn drop(&mut self) {
        let data = self.data();
        for pod in fs::read_dir(data.join("pods/run"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let uuid = pod.file_name().to_string_lossy().into_owned();
            let _ = self.command(&["stop", "--force", &uuid]).output();
        }
        for (pid, _) in leftovers::processes(&data) {
            if let Some(pid) = Pid::from_raw(pid as i32) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        // Root collects nothing in the directory of somebody else.
        let _ = std::os::unix::fs::chown(&data, Some(0), Some(0));
        for _ in 0..2 {
            let _ = self
                .command(&["gc", "--grace-period=0s", "--expire-prepared=0s"])
                .output();
        }
    }
}

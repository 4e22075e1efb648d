//! The pod's log: what apps write to standard output and error and send to the journal's sockets,
//! as journal files in the stage1 root file system (devel-log-attach-design, "Logging mode").

mod native;
mod sockets;
mod syslog;

use journal::{Identity, Journal, Limits};

pub(crate) use sockets::{Part, Sockets};

use crate::plan::LogPlan;

/// Seconds without a try after the disk refused an entry.
const PAUSE: u64 = 1;
/// The priority of a line that names none: informational.
const PRIORITY: u8 = 6;

/// Where entries go.
#[derive(Debug)]
pub(crate) struct Log {
    journal: Journal,
    /// Fields of every entry.
    common: Vec<Vec<u8>>,
    /// Entries that the disk had no room for, and when it is asked again.
    lost: u64,
    retry: u64,
}

/// Fields of all entries of one app's stream.
#[derive(Debug)]
pub(crate) struct Origin(Vec<Vec<u8>>);

impl Origin {
    /// Standard output or error of an app.
    pub(crate) fn stream(app: &str, stream: &str, pid: i32) -> Self {
        let mut origin = Self::app(app, "stdout");
        origin
            .0
            .push(format!("SYSLOG_IDENTIFIER={app}").into_bytes());
        origin.0.push(format!("_PID={pid}").into_bytes());
        origin.0.push(format!("RKT_STREAM={stream}").into_bytes());
        origin
    }

    /// What an app sends by another way.
    fn app(app: &str, transport: &str) -> Self {
        Self(vec![
            format!("_SYSTEMD_UNIT={app}.service").into_bytes(),
            format!("_TRANSPORT={transport}").into_bytes(),
            format!("RKT_APP={app}").into_bytes(),
        ])
    }
}

impl Log {
    /// The log of a pod, below the process's root. Files appear with its first entry.
    pub(crate) fn new(plan: &LogPlan, hostname: &str) -> Self {
        Self::at("/var/log/journal", plan, hostname)
    }

    pub(crate) fn at(dir: &str, plan: &LogPlan, hostname: &str) -> Self {
        let hex = |id: &[u8; 16]| id.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let machine = hex(&plan.machine_id);
        if plan.expected {
            // If it cannot be made, the first entry tells.
            let _ = std::fs::create_dir_all(format!("{dir}/{machine}"));
        }
        let identity = Identity {
            machine: plan.machine_id,
            boot: plan.boot_id,
        };
        let common = [
            format!("_MACHINE_ID={machine}"),
            format!("_BOOT_ID={}", hex(&plan.boot_id)),
            format!("_HOSTNAME={hostname}"),
        ];
        Self {
            journal: Journal::new(format!("{dir}/{machine}"), identity, Limits::default()),
            common: common.map(String::into_bytes).into(),
            lost: 0,
            retry: 0,
        }
    }

    /// Looks at the clocks: what is written now has just come.
    pub(crate) fn tick(&mut self) {
        self.journal.tick();
    }

    /// A line of an app's output. `<N>` at its beginning is its priority (sd-daemon(3)).
    pub(crate) fn line(&mut self, origin: &Origin, line: &[u8]) {
        let (priority, text) = match line {
            [b'<', digit @ b'0'..=b'7', b'>', text @ ..] => (digit - b'0', text),
            _ => (PRIORITY, line),
        };
        let message = [b"MESSAGE=", text].concat();
        let priority = [b"PRIORITY=", [b'0' + priority].as_slice()].concat();
        self.entry(origin, &[&message, &priority]);
    }

    /// An entry with these fields.
    fn entry(&mut self, origin: &Origin, own: &[&[u8]]) {
        let now = self.journal.seconds();
        if now < self.retry {
            self.lost += 1;
            return;
        }
        if self.lost > 0 {
            let text = format!("MESSAGE={} entries were lost: the disk is full", self.lost);
            if self.write(&[], &[text.as_bytes(), b"PRIORITY=4"]) {
                self.lost = 0;
            }
        }
        if self.lost > 0 || !self.write(&origin.0, own) {
            self.lost += 1;
            self.retry = now + PAUSE;
        }
    }

    fn write(&mut self, origin: &[Vec<u8>], own: &[&[u8]]) -> bool {
        let fixed = self.common.iter().chain(origin).map(Vec::as_slice);
        let fields: Vec<&[u8]> = fixed.chain(own.iter().copied()).collect();
        self.journal.append(&fields).is_ok()
    }

    /// Entries that the disk had no room for so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Lets go of memory until the next entry.
    pub(crate) fn rest(&self) {
        self.journal.rest();
    }
}

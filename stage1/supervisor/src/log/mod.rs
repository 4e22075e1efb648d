//! The pod's log: what apps write to standard output and error and send to the journal's sockets,
//! as journal files in the stage1 root file system (devel-log-attach-design, "Logging mode").

mod kubernetes;
mod native;
mod sockets;
mod syslog;

use std::cell::OnceCell;

use journal::{Common, Field, Identity, Journal, Limits};

pub(crate) use kubernetes::KubernetesLog;
pub(crate) use sockets::{Part, Sockets};

use crate::output::lines;
use crate::plan::LogPlan;

/// Seconds without a try after the disk refused an entry.
const PAUSE: u64 = 1;
/// The priority of a line that names none: informational.
const PRIORITY: u8 = 6;

/// Where entries go.
#[derive(Debug)]
pub(crate) struct Log {
    journal: Journal,
    /// Of entries that are no app's.
    own: Common,
    /// Entries that the disk had no room for, and when it is asked again.
    lost: u64,
    retry: u64,
}

/// Fields of all entries of one app's stream.
#[derive(Debug)]
pub(crate) struct Origin {
    common: Common,
    /// With each priority that it has used.
    levels: [OnceCell<Common>; 8],
}

impl Origin {
    /// Standard output or error of an app.
    pub(crate) fn stream(app: &str, stream: &str, pid: i32) -> Self {
        let mut fields = Self::fields(app, "stdout");
        fields.push(format!("SYSLOG_IDENTIFIER={app}").into_bytes());
        fields.push(format!("_PID={pid}").into_bytes());
        fields.push(format!("RKT_STREAM={stream}").into_bytes());
        Self::new(fields)
    }

    /// What an app sends by another way.
    fn app(app: &str, transport: &str) -> Self {
        Self::new(Self::fields(app, transport))
    }

    /// What somebody who calls himself by a name of his own sends.
    fn named(app: &str, transport: &str, name: &[u8]) -> Self {
        let mut fields = Self::fields(app, transport);
        fields.push([b"SYSLOG_IDENTIFIER=", name].concat());
        Self::new(fields)
    }

    fn new(fields: Vec<Vec<u8>>) -> Self {
        Self {
            common: Common::new(fields),
            levels: Default::default(),
        }
    }

    /// Fields of entries of this priority, 0 to 7.
    fn level(&self, priority: u8) -> &Common {
        let field = || self.common.with(&format!("PRIORITY={priority}"));
        self.levels[usize::from(priority & 7)].get_or_init(field)
    }

    fn fields(app: &str, transport: &str) -> Vec<Vec<u8>> {
        let fields = [
            format!("_SYSTEMD_UNIT={app}.service"),
            format!("_TRANSPORT={transport}"),
            format!("RKT_APP={app}"),
        ];
        fields.map(String::into_bytes).into()
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
        let all = [
            format!("_MACHINE_ID={machine}"),
            format!("_BOOT_ID={}", hex(&plan.boot_id)),
            format!("_HOSTNAME={hostname}"),
        ];
        let all = all.map(String::into_bytes).into();
        let dir = format!("{dir}/{machine}");
        Self {
            journal: Journal::new(dir, identity, Limits::default(), all),
            own: Common::new(Vec::new()),
            lost: 0,
            retry: 0,
        }
    }

    /// Looks at the clocks: what is written now has just come.
    pub(crate) fn tick(&mut self) {
        self.journal.tick();
    }

    /// [Lines](lines) of an app's output.
    pub(crate) fn lines(&mut self, origin: &Origin, bytes: &[u8]) {
        for line in lines(bytes) {
            self.line(origin, line);
        }
    }

    /// A line of an app's output. `<N>` at its beginning is its priority (sd-daemon(3)).
    fn line(&mut self, origin: &Origin, line: &[u8]) {
        let (priority, text) = match line {
            [b'<', digit @ b'0'..=b'7', b'>', text @ ..] => (digit - b'0', text),
            _ => (PRIORITY, line),
        };
        self.append(origin.level(priority), &[[b"MESSAGE=", text]]);
    }

    /// An entry with these fields. It is there once it is [committed](Self::commit).
    fn entry(&mut self, origin: &Origin, own: &[Field<'_>]) {
        self.append(&origin.common, own);
    }

    fn append(&mut self, common: &Common, own: &[Field<'_>]) {
        if self.lost > 0 {
            let now = self.journal.seconds();
            if now < self.retry || !self.report_lost() {
                self.lose(1);
                return;
            }
        }
        if self.journal.append(common, own).is_err() {
            self.lose(1);
        }
    }

    fn report_lost(&mut self) -> bool {
        let text = format!("{} entries were lost: the disk is full", self.lost);
        let fields: [Field<'_>; 2] = [[b"MESSAGE=", text.as_bytes()], [b"PRIORITY=", b"4"]];
        let reported = self.journal.append(&self.own, &fields).is_ok();
        if reported {
            self.lost = 0;
        }
        reported
    }

    fn lose(&mut self, entries: u64) {
        self.lost += entries;
        self.retry = self.journal.seconds() + PAUSE;
    }

    /// Writes the entries that have come; many at once are there soon.
    pub(crate) fn commit(&mut self) {
        self.journal.commit();
        self.count_lost();
    }

    /// Writes the entries that have come, and waits for it.
    pub(crate) fn settle(&mut self) {
        self.journal.commit();
        self.journal.settle();
        self.count_lost();
    }

    fn count_lost(&mut self) {
        match self.journal.take_lost() {
            0 => {}
            lost => self.lose(lost),
        }
    }

    /// Entries that the disk had no room for so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Ends the thread that writes, if there is one; the process may clone itself then.
    pub(crate) fn end_thread(&mut self) {
        self.journal.end_thread();
    }

    /// Lets go of memory until the next entry.
    pub(crate) fn rest(&mut self) {
        self.journal.rest();
    }
}

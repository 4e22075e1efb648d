//! `rkt logs`.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::ArgMatches;
use journal::{Entry as LogEntry, Reader};
use pod::{Pod, Pods};

use super::{Entry, running};
use crate::cli::flags::{Values, switch, text, words};
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::output::human;

/// How often a log is looked at again that is followed: it is written without a sign.
const PERIOD: Duration = Duration::from_millis(100);

/// So much is written at once.
const BUFFER: usize = 64 * 1024;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "logs",
    about: "Show what the apps of a pod have logged",
    usage: "logs [--app=APPNAME] [-f] [--since=TIME] [--until=TIME] [-n LINES] [--format=short|json|cat] UUID",
    long: "Prints the log of a pod, running or exited: what its apps wrote to standard output and error, and\nwhat they sent to syslog and the journal. A TIME is a duration before now (10m, 1h30m), seconds since\n1970 (@1700000000), or a date and time (2026-11-25T20:15:00Z).\n\n    rkt logs -f --app=web 5bc080ca\n    rkt logs --since=10m --format=json 5bc080ca",
    arguments: |command| {
        command.args([
            text("app", "", "only this app"),
            switch("follow", "go on as the log grows, until the pod ends").short('f'),
            text("since", "", "only entries from this time on"),
            text("until", "", "only entries up to this time"),
            text("lines", "", "only the last of them").short('n'),
            text(
                "format",
                "short",
                "how entries are shown: \"short\", \"json\" or \"cat\"",
            ),
            words("uuid"),
        ])
    },
    run: logs,
    newer: true,
    ..Entry::BASE
};

/// Which entries are shown, and how.
struct Wish {
    app: String,
    since: u64,
    until: u64,
    format: Format,
}

#[derive(Clone, Copy)]
enum Format {
    Short,
    Json,
    Cat,
}

fn logs(context: &Context, matches: &ArgMatches) -> Outcome {
    let given = matches.strings("uuid");
    let [uuid] = given.as_slice() else {
        return Err(Failure::new("must provide exactly one pod UUID"));
    };
    let lines = match matches.str("lines") {
        "" | "all" => None,
        text => Some(text.parse::<usize>().map_err(|_| {
            Failure::new(format!(
                "invalid value {text:?} for --lines: must be a number"
            ))
        })?),
    };
    let mut wish = Wish {
        app: matches.str("app").to_owned(),
        since: time("since", matches.str("since"))?.unwrap_or(0),
        until: time("until", matches.str("until"))?.unwrap_or(u64::MAX),
        format: match matches.str("format") {
            "short" | "" => Format::Short,
            "json" => Format::Json,
            "cat" => Format::Cat,
            other => {
                return Err(Failure::new(format!(
                    "invalid format {other:?}: must be short, json or cat"
                )));
            }
        },
    };
    let pods = context.pods()?;
    let pod = context.pod(&pods, uuid)?;
    if !wish.app.is_empty() {
        wish.app = running::app(&pod, &wish.app, "logs")?;
    }
    let mut log = Log::of(&pod)?;
    let mut out = BufWriter::with_capacity(BUFFER, std::io::stdout().lock());
    let mut shown = Shown::Yes;
    let mut last = std::collections::VecDeque::new();
    while let Some(entry) = log.next_entry()? {
        match lines {
            _ if !wish.wants(&entry) => {}
            None => shown = wish.show(&mut out, &entry)?,
            Some(n) => {
                last.push_back(entry);
                if last.len() > n {
                    last.pop_front();
                }
            }
        }
        if matches!(shown, Shown::NobodyReads) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    for entry in last {
        shown = wish.show(&mut out, &entry)?;
    }
    if matches!(shown, Shown::Yes) {
        shown = written(out.flush())?;
    }
    if matches.is("follow") && matches!(shown, Shown::Yes) {
        follow(&pods, pod, &mut log, &wish, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what comes until the pod has ended and all is shown, or nobody reads any more.
fn follow(
    pods: &Pods,
    pod: Pod,
    log: &mut Log,
    wish: &Wish,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let uuid = pod.uuid().to_owned();
    loop {
        // Asked first: what was written before the end is still shown.
        let ended = pods.find(&uuid).map_or(true, |pod| pod.state().is_exited());
        while let Some(entry) = log.next_entry()? {
            if wish.wants(&entry) && matches!(wish.show(out, &entry)?, Shown::NobodyReads) {
                return Ok(());
            }
        }
        if matches!(written(out.flush())?, Shown::NobodyReads) {
            return Ok(());
        }
        if ended {
            return Ok(());
        }
        std::thread::sleep(PERIOD);
    }
}

/// A pod's journal, file by file.
struct Log {
    dir: PathBuf,
    reader: Option<Reader>,
    /// Of the last entry.
    seqnum: u64,
}

impl Log {
    fn of(pod: &Pod) -> Result<Self, Failure> {
        let written = pod
            .stage1_written()
            .doing_with(|| format!("cannot find the log of pod {:?}", pod.uuid()))?;
        let machine = pod.uuid().replace('-', "");
        Ok(Self {
            dir: pod
                .dir()
                .path()
                .join(written)
                .join("var/log/journal")
                .join(machine),
            reader: None,
            seqnum: 0,
        })
    }

    fn next_entry(&mut self) -> Result<Option<LogEntry>, Failure> {
        let problem = || format!("cannot read the log in {}", self.dir.display());
        loop {
            if let Some(reader) = &mut self.reader {
                let mut next = reader.next_entry().doing_with(problem)?;
                if next.is_none() {
                    // Asked first: a file that is finished gets nothing more after its last entry.
                    let finished = reader.is_finished().doing_with(problem)?;
                    next = reader.next_entry().doing_with(problem)?;
                    if next.is_none() && !finished {
                        return Ok(None);
                    }
                }
                match next {
                    Some(entry) if entry.seqnum <= self.seqnum => continue,
                    Some(entry) => {
                        self.seqnum = entry.seqnum;
                        return Ok(Some(entry));
                    }
                    None => {}
                }
            }
            match self.next_file()? {
                Some(reader) => self.reader = Some(reader),
                None => return Ok(None),
            }
        }
    }

    /// The oldest file that has entries which were not read.
    fn next_file(&self) -> Result<Option<Reader>, Failure> {
        let problem = || format!("cannot read the log in {}", self.dir.display());
        let files = match journal::files(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.doing_with(problem)?,
        };
        for file in files {
            let reader = match Reader::open(&file) {
                // Rotated away, or not whole yet: the next look finds it.
                Err(journal::Error::Io { .. }) => continue,
                Err(error) if self.reader.is_none() && file.ends_with("system.journal") => {
                    let empty = file.metadata().is_ok_and(|m| m.len() < 256);
                    match empty {
                        true => continue,
                        false => return Err(error).doing_with(problem),
                    }
                }
                other => other.doing_with(problem)?,
            };
            if reader.last_seqnum().doing_with(problem)? > self.seqnum {
                return Ok(Some(reader));
            }
        }
        Ok(None)
    }
}

enum Shown {
    Yes,
    NobodyReads,
}

impl Wish {
    fn wants(&self, entry: &LogEntry) -> bool {
        let of_app = self.app.is_empty()
            || entry
                .get("RKT_APP")
                .is_some_and(|app| app == self.app.as_bytes());
        of_app && (self.since..=self.until).contains(&entry.realtime)
    }

    fn show(&self, out: &mut impl Write, entry: &LogEntry) -> Result<Shown, Failure> {
        let message = entry.get("MESSAGE").unwrap_or_default();
        let line = match self.format {
            Format::Cat => message.to_vec(),
            Format::Short => [short(entry).as_bytes(), message].concat(),
            Format::Json => json(entry).into_bytes(),
        };
        written(out.write_all(&line).and_then(|()| out.write_all(b"\n")))
    }
}

fn written(outcome: std::io::Result<()>) -> Result<Shown, Failure> {
    match outcome {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Shown::NobodyReads),
        other => other.doing("cannot write").map(|()| Shown::Yes),
    }
}

/// What stands before the message: time, host, and who says it.
fn short(entry: &LogEntry) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(entry.realtime);
    let field = |name| entry.get(name).map(String::from_utf8_lossy);
    let host = field("_HOSTNAME").unwrap_or_default();
    let name = field("SYSLOG_IDENTIFIER")
        .or(field("RKT_APP"))
        .unwrap_or("rkt".into());
    let pid = field("_PID").or(field("SYSLOG_PID"));
    let pid = pid.map_or_else(String::new, |pid| format!("[{pid}]"));
    format!("{} {host} {name}{pid}: ", human::log_time(time))
}

/// One object a line, with journalctl's names; a value that is no text is an array of bytes.
fn json(entry: &LogEntry) -> String {
    let mut object = serde_json::Map::new();
    let mut add = |name: &str, value: serde_json::Value| object.insert(name.to_owned(), value);
    add("__REALTIME_TIMESTAMP", entry.realtime.to_string().into());
    add("__MONOTONIC_TIMESTAMP", entry.monotonic.to_string().into());
    for field in &entry.fields {
        let equals = field.iter().position(|&b| b == b'=').unwrap_or(field.len());
        let name = String::from_utf8_lossy(&field[..equals]);
        let value = field.get(equals + 1..).unwrap_or_default();
        let value = match std::str::from_utf8(value) {
            Ok(text) => text.into(),
            Err(_) => value.to_vec().into(),
        };
        add(&name, value);
    }
    serde_json::Value::Object(object).to_string()
}

/// Microseconds since 1970 of a time on the command line.
fn time(flag: &str, text: &str) -> Result<Option<u64>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || {
        Failure::new(format!(
            "invalid value {text:?} for --{flag}: must be a duration, @SECONDS or a date and time"
        ))
    };
    if let Ok(ago) = crate::cli::flags::go_duration(text) {
        let then = SystemTime::now().checked_sub(ago).ok_or_else(invalid)?;
        let since = then
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_err(|_| invalid())?;
        return Ok(Some(since.as_micros() as u64));
    }
    if let Some(seconds) = text.strip_prefix('@') {
        let seconds: u64 = seconds.parse().map_err(|_| invalid())?;
        return seconds.checked_mul(1_000_000).map(Some).ok_or_else(invalid);
    }
    let stamp: jiff::Timestamp = text.parse().map_err(|_| invalid())?;
    Ok(Some(
        u64::try_from(stamp.as_microsecond()).map_err(|_| invalid())?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_all_forms() {
        assert_eq!(time("since", "").unwrap(), None);
        assert_eq!(time("since", "@5").unwrap(), Some(5_000_000));
        assert_eq!(
            time("since", "1970-01-01T00:00:07Z").unwrap(),
            Some(7_000_000)
        );
        assert!(time("since", "1h").unwrap() < time("since", "1m").unwrap());
        for bad in ["yesterday", "@", "@x", "-1h", "2026-13-01T00:00:00Z"] {
            assert!(time("since", bad).is_err(), "{bad}");
        }
    }
}

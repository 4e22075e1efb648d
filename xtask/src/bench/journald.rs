//! The log as the original's pods had it: apps write to systemd's journald. It runs here in a mount
//! namespace of its own, and without the rest of systemd.

use std::path::Path;
use std::process::Command;

use e2e::TempDir;

use crate::Result;

const JOURNALD: &str = "/usr/lib/systemd/systemd-journald";
/// Enough that its start does not count; a million would take it seven seconds.
const LINES: f64 = 300_000.0;

/// Prints the nanoseconds from the app's first line until the journal has the last one.
const SCRIPT: &str = r#"set -eu
probe=$1 lines=$2 size=$3 journal=$4
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/systemd/journald.conf.d /run/log /var/log/journal
mount --bind "$journal" /var/log/journal
cat > /run/systemd/journald.conf.d/bench.conf <<END
[Journal]
Storage=persistent
RateLimitIntervalSec=0
RateLimitBurst=0
SystemMaxUse=4G
ForwardToSyslog=no
ReadKMsg=no
Audit=no
END
"$JOURNALD" & daemon=$!
trap 'kill $daemon; wait $daemon || :' EXIT
until [ -S /run/systemd/journal/stdout ]; do sleep 0.01; done
start=$(date +%s%N)
systemd-cat -t flood "$probe" flood "$lines" "$size"
until journalctl -q -t flood -n 1 -o cat | grep -q "^$((lines - 1)) "; do sleep 0.01; done
echo $(($(date +%s%N) - start))
"#;

/// Lines per second of an app that writes lines of so many bytes; none if there is no journald here.
pub(super) fn lines_per_second(probe: &Path, size: &str) -> Result<Option<f64>> {
    if !Path::new(JOURNALD).exists() {
        return Ok(None);
    }
    let dir = TempDir::new();
    let mut command = Command::new("timeout");
    command.args(["60", "unshare", "--mount", "sh", "-c", SCRIPT, "sh"]);
    command.arg(probe).args([&LINES.to_string(), size]);
    let output = command.arg(dir.path()).env("JOURNALD", JOURNALD).output();
    let output = output.map_err(|e| format!("cannot run journald: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let time: f64 = text.trim().parse().map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        format!("journald did not get all lines: {said}")
    })?;
    Ok(Some(LINES / time * 1e9))
}

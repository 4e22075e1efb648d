//! `cargo xtask exposure`: what apps can reach under rkt and under podman, read from inside by one
//! program, as the table of `docs/security.md`.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use e2e::{Rkt, TempDir, fixtures};
use serde_json::Value;
use syscalls::x86_64::Sysno;

use crate::bench::peers;
use crate::{Result, build, setup};

const PAGE: &str = "docs/security.md";
const BEGIN: &str = "<!-- exposure: begin, written by cargo xtask exposure -->\n";
const END: &str = "<!-- exposure: end -->";

/// What the probe found in one place.
struct Found {
    name: &'static str,
    report: Value,
}

/// Measures, and writes the table into the page.
pub(crate) fn run() -> Result<()> {
    setup::run(&["test"])?;
    build::cargo(&["build", "--quiet", "--package", "rkt", "--package", "probe"])?;
    let probe = fixtures::program("probe");
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe_with(&probe));
    let in_rkt = |name, flags: &[&str]| {
        let words = ["--exec=/probe", "--", "exposure"];
        let args = [&["run", "--net=none"], flags, &[&image], &words].concat();
        parse(name, &rkt.ok(&args))
    };
    let mut found = vec![
        in_rkt("rkt", &[])?,
        in_rkt("rkt --private-users", &["--private-users"])?,
    ];
    let dir = TempDir::new();
    let root = peers::rootfs(&probe, dir.path())?;
    let podman = peers::podman_image(&root).and_then(|image| {
        let mut command = peers::podman_run("none");
        parse(
            "podman",
            &output(command.args([image, "/probe", "exposure"]))?,
        )
    });
    peers::clean_up();
    match podman {
        Ok(report) => found.push(report),
        Err(error) => println!("podman is left out: {error}"),
    }
    let table = table(&found);
    println!("{table}");
    write(&table)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The report is the text from its first brace on: rkt marks lines.
fn parse(name: &'static str, text: &str) -> Result<Found> {
    let start = text.find('{').unwrap_or(text.len());
    let report = serde_json::from_str(text[start..].trim());
    let report = report.map_err(|e| format!("{name}: no report ({e}): {text}"))?;
    Ok(Found { name, report })
}

impl Found {
    /// The names of calls with that answer; those that no architecture table knows are left out.
    fn calls(&self, wanted: impl Fn(&Value) -> bool) -> BTreeSet<&'static str> {
        let calls = self.report["calls"].as_array().into_iter().flatten();
        calls
            .filter(|call| wanted(&call[1]))
            .filter_map(|call| Sysno::new(call[0].as_u64()? as usize))
            .map(|call| call.name())
            .collect()
    }

    fn allowed(&self) -> BTreeSet<&'static str> {
        self.calls(|answer| answer == "allowed")
    }

    fn count(&self, field: &str) -> String {
        let list = self.report[field].as_array();
        list.map_or_else(String::new, |list| list.len().to_string())
    }

    fn status(&self, field: &str) -> String {
        self.report["status"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn capabilities(&self) -> String {
        let set = u64::from_str_radix(&self.status("CapBnd"), 16).unwrap_or_default();
        set.count_ones().to_string()
    }

    fn root(&self) -> String {
        match self.report["uid_map"][1].as_str() {
            Some("0") | None => "root".into(),
            Some(_) => "an unused id".into(),
        }
    }

    fn listed(&self, field: &str) -> String {
        let names = self.report[field].as_array().into_iter().flatten();
        let names: Vec<_> = names
            .filter_map(Value::as_str)
            .map(|n| format!("`{n}`"))
            .collect();
        match names.is_empty() {
            true => "none".into(),
            false => names.join(", "),
        }
    }

    /// The writable files that are not settings of the network namespace.
    fn writable(&self) -> String {
        let files = self.report["writable"].as_array().into_iter().flatten();
        let (net, other): (Vec<_>, Vec<_>) = files
            .filter_map(Value::as_str)
            .partition(|file| file.starts_with("/proc/sys/net/"));
        format!("{} of the own network, {} others", net.len(), other.len())
    }
}

fn table(found: &[Found]) -> String {
    type Column = fn(&Found) -> String;
    let rows: [(&str, Column); 10] = [
        ("root is, on the host", Found::root),
        ("system calls allowed", |f| f.allowed().len().to_string()),
        ("system calls that fail", |f| {
            f.calls(Value::is_number).len().to_string()
        }),
        ("system calls that kill", |f| {
            f.calls(|a| a == "killed").len().to_string()
        }),
        ("capabilities", Found::capabilities),
        ("no new privileges", |f| f.status("NoNewPrivs")),
        ("processes in sight, with the probe", |f| {
            f.report["processes"].to_string()
        }),
        ("device nodes", |f| f.count("devices")),
        (
            "files below `/proc` and `/sys` to write to",
            Found::writable,
        ),
        ("telling files that give something", |f| {
            f.listed("readable")
        }),
    ];
    let mut lines = Vec::new();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let names = found.iter().map(|f| f.name.to_owned());
    lines.push(line(std::iter::once(String::new()).chain(names).collect()));
    lines.push(line(vec!["---".into(); found.len() + 1]));
    for (what, column) in rows {
        let cells = found.iter().map(column);
        lines.push(line(
            std::iter::once(what.to_owned()).chain(cells).collect(),
        ));
    }
    if let [rkt, .., other] = found {
        for (one, two) in [(rkt, other), (other, rkt)] {
            let only = one.allowed();
            let theirs = two.allowed();
            let only: Vec<_> = only.difference(&theirs).map(|n| format!("`{n}`")).collect();
            lines.push(format!(
                "\nAllowed by {} and not by {}: {}.\n",
                one.name,
                two.name,
                if only.is_empty() {
                    "nothing".into()
                } else {
                    only.join(", ")
                }
            ));
        }
    }
    lines.concat()
}

fn write(table: &str) -> Result<()> {
    let page = build::root().join(PAGE);
    let text = fs::read_to_string(&page).map_err(|e| format!("{}: {e}", page.display()))?;
    let parts = text
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("{PAGE} has no place for the table"))?;
    let text = format!("{before}{BEGIN}{table}{END}{after}");
    fs::write(&page, text).map_err(|e| format!("{}: {e}", page.display()))
}

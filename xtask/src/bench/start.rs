//! What a start costs, through to the exit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::{Rkt, TempDir, fixtures, until_some};

use super::measure::{Contestant, Medians, compare};
use super::report::Table;
use super::{Programs, peers};
use crate::Result;
use crate::snapshot::adopt_orphans;

const ROUNDS: usize = 40;
const PAUSE: Duration = Duration::from_millis(40);
/// Starts before old pods are collected, outside the measurement's own runs.
const LONG: Duration = Duration::from_secs(20);

/// Compares and enters the figures.
pub(crate) fn run(programs: &Programs, table: &mut Table) -> Result<()> {
    adopt_orphans()?;
    let rkt = Rkt::of(programs.rkt.clone());
    // The same files as in the peers' root.
    let image = peers::ROOT_DIRECTORIES
        .iter()
        .fold(fixtures::probe_with(&programs.probe), |image, dir| {
            image.dir(&format!("/{dir}"), 0o755)
        });
    let image = rkt.fetch(&image);
    let groups = groups_of_a_pod(&rkt, &image);
    println!("rkt's pods join: {}", groups.describe());
    let dir = TempDir::new();
    let root = peers::rootfs(&programs.probe, dir.path())?;
    let _hugetlb = peers::Hugetlb::put_aside(dir.path());

    let mut contestants = floors(programs, &root, &groups);
    contestants.extend(engines(&rkt, &image));
    contestants.extend(peers::all(&root, dir.path())?);
    let medians = compare(&contestants, ROUNDS, PAUSE);
    peers::clean_up();
    enter(&medians?, table);
    Ok(())
}

fn enter(medians: &Medians, table: &mut Table) {
    if let (Some(with), Some(without)) = (medians.get(USERS), medians.get(NONE)) {
        let what = "a user namespace adds to a start";
        table.at_most(what, with.wall - without.wall, 1.0, "ms");
    }
    let mut ratio = |what: &str, name: &str, base: &str, limit: f64, cpu: bool| {
        let (Some(ours), Some(theirs)) = (medians.get(name), medians.get(base)) else {
            println!("no figure for: {what} ({base} is missing)");
            return;
        };
        let (ours, theirs) = if cpu {
            (ours.cpu, theirs.cpu)
        } else {
            (ours.wall, theirs.wall)
        };
        table.at_most(what, ours / theirs, limit, "x");
    };
    ratio(
        "run --net=none / floor with the same cgroups",
        NONE,
        FLOOR,
        1.3,
        false,
    );
    ratio("run --net=none / floor, CPU time", NONE, FLOOR, 2.0, true);
    ratio(
        "run --net=none / crun with seccomp",
        NONE,
        "crun, seccomp",
        0.6,
        false,
    );
    ratio(
        "run, default network / floor with veth and cgroups",
        DEFAULT,
        FLOOR_VETH,
        1.5,
        false,
    );
    ratio(
        "run, default network / podman with its bridge",
        DEFAULT,
        "podman, bridge",
        1.0 / 15.0,
        false,
    );
}

const NONE: &str = "rkt run --net=none";
const USERS: &str = "rkt run --net=none --private-users";
const DEFAULT: &str = "rkt run";
const FLOOR: &str = "floor + seccomp + cgroups";
const FLOOR_VETH: &str = "floor + seccomp + cgroups + veth";

fn engines(rkt: &Rkt, image: &str) -> Vec<Contestant> {
    let call = |args: &'static [&'static str]| {
        let command =
            rkt.command(&[&["run"], args, &[image, "--exec=/probe", "--", "true"]].concat());
        let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let program = command.get_program().to_owned();
        move |_| {
            let mut command = Command::new(&program);
            command.args(&words);
            command
        }
    };
    vec![
        Contestant::new(NONE, call(&["--net=none"])),
        Contestant::new(USERS, call(&["--net=none", "--private-users"])),
        Contestant::new("rkt run --net=host", call(&["--net=host"])),
        Contestant::new(DEFAULT, call(&[])),
    ]
}

/// The floor's program, through to the exit of `true`.
pub(super) fn floor(program: &Path, root: &Path, flags: &[std::ffi::OsString]) -> Command {
    let mut command = Command::new(program);
    command.arg("--lower").arg(root).args(flags);
    command.args(["/probe", "true"]);
    command
}

fn floors(programs: &Programs, root: &Path, groups: &Groups) -> Vec<Contestant> {
    let call = |seccomp: bool, cgroups: bool, veth: bool| {
        let mut flags = Vec::new();
        if seccomp {
            flags.push("--seccomp".into());
        }
        if veth {
            flags.push("--veth".into());
        }
        if cgroups {
            flags.extend(groups.flags());
        }
        let (program, root) = (programs.floor.clone(), root.to_owned());
        move |_| floor(&program, &root, &flags)
    };
    vec![
        Contestant::new("floor", call(false, false, false)),
        Contestant::new("floor + seccomp", call(true, false, false)),
        Contestant::new(FLOOR, call(true, true, false)),
        Contestant::new(FLOOR_VETH, call(true, true, true)),
    ]
}

/// The control groups that rkt puts an app into, as far as they are not the caller's own.
#[derive(Debug, Default)]
struct Groups {
    v1: Vec<PathBuf>,
    v2: Option<PathBuf>,
}

impl Groups {
    fn flags(&self) -> Vec<std::ffi::OsString> {
        let v1 = self
            .v1
            .iter()
            .flat_map(|dir| ["--cgroup".into(), dir.into()]);
        let v2 = self
            .v2
            .iter()
            .flat_map(|dir| ["--cgroup2".into(), dir.into()]);
        v1.chain(v2).collect()
    }

    fn describe(&self) -> String {
        let all: Vec<_> = self
            .v1
            .iter()
            .chain(&self.v2)
            .map(|dir| dir.display().to_string())
            .collect();
        if all.is_empty() {
            "no control group".to_owned()
        } else {
            all.join(" ")
        }
    }
}

fn groups_of_a_pod(rkt: &Rkt, image: &str) -> Groups {
    let (pod, uuid) = rkt.start_pod(&["--net=none", image, "--exec=/probe", "--", "sleep"]);
    let app = until_some(LONG, "the app's process", || {
        let found = rkt
            .processes()
            .into_iter()
            .find(|(_, name)| name == "probe");
        found.map(|(pid, _)| pid)
    });
    let mine = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let theirs = fs::read_to_string(format!("/proc/{app}/cgroup")).unwrap_or_default();
    let mut groups = Groups::default();
    for line in theirs
        .lines()
        .filter(|line| !mine.lines().any(|own| own == *line))
    {
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(controllers)) = (fields.next(), fields.next()) else {
            continue;
        };
        if id == "0" {
            let unified = Path::new("/sys/fs/cgroup/unified");
            groups.v2 = Some(if unified.exists() {
                unified.to_owned()
            } else {
                PathBuf::from("/sys/fs/cgroup")
            });
        } else {
            groups
                .v1
                .push(Path::new("/sys/fs/cgroup").join(controllers.trim_start_matches("name=")));
        }
    }
    rkt.ok(&["stop", &uuid]);
    pod.finish();
    groups
}

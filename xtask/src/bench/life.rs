//! The life of pods and apps: logs, changing apps, entering, many apps, many pods, waiting.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use e2e::{Rkt, Running, TempDir, fixtures, until};

use super::Programs;
use super::idle::footprint;
use super::measure::{Contestant, compare, median, settle, time};
use super::report::Table;
use crate::Result;

const ROUNDS: usize = 20;
const PAUSE: Duration = Duration::from_millis(20);
/// Lines of the logs that are compared, and bytes of each.
const LINES: (&str, &str) = ("1000000", "40");
/// The long log: a gigabyte.
const LONG: (&str, &str) = ("1000000", "1000");
/// Runs of each.
const FLOODS: usize = 7;
const RKT: &str = "rkt, log mode";
const PODMAN: &str = "podman, k8s-file";
const APPS: usize = 100;
const PODS: usize = 500;
const SLEEP: [&str; 3] = ["--exec=/probe", "--", "sleep"];

fn probe(programs: &Programs) -> (Rkt, String) {
    let rkt = Rkt::of(programs.rkt.clone());
    let image = rkt.fetch(&fixtures::probe_with(&programs.probe));
    (rkt, image)
}

fn stop(rkt: &Rkt, uuid: &str, pod: Running) {
    rkt.ok(&["stop", "--force", uuid]);
    pod.finish();
}

/// An app that writes lines as fast as it can: in `log` mode, under podman's k8s-file driver, and to the
/// journald that the original's pods had.
pub(crate) fn log(programs: &Programs, table: &mut Table) -> Result<()> {
    let (rkt, image) = probe(programs);
    let rkt = Rc::new(rkt);
    let (count, size) = LINES;
    let rate = |ms: f64| {
        count
            .parse::<f64>()
            .map_or(f64::NAN, |count| count / ms * 1e3)
    };
    if Path::new("/usr/bin/podman").exists() {
        let dir = TempDir::new();
        let _hugetlb = super::peers::Hugetlb::put_aside(dir.path());
        let theirs =
            super::peers::podman_image(&super::peers::rootfs(&programs.probe, dir.path())?)?;
        let ours = (Rc::clone(&rkt), image.clone());
        let contestants = [
            Contestant::new(RKT, move |_| {
                let (rkt, image) = &ours;
                // The log of the last round is memory for this one's.
                rkt.gc();
                rkt.command(&flood(image, LINES))
            }),
            Contestant::new(PODMAN, move |_| {
                let mut command = super::peers::podman_run("none");
                command.args(["--log-driver=k8s-file", theirs, "/probe"]);
                command.args(["flood", count, size]);
                command
            }),
        ];
        // Both keep the processors busy, which a build that was here before still writes back with.
        settle();
        let medians = compare(&contestants, FLOODS, PAUSE)?;
        super::peers::clean_up();
        let wall = |name: &str| medians.get(name).map_or(f64::NAN, |sample| sample.wall);
        for name in [RKT, PODMAN] {
            println!("{name}: {:.0} lines/s", rate(wall(name)));
        }
        let ratio = wall(PODMAN) / wall(RKT);
        table.at_least("lines per second / podman k8s-file", ratio, 3.0);
        if let Some(theirs) = super::journald::lines_per_second(&programs.probe, size)? {
            println!("journald: {theirs:.0} lines/s");
            let ratio = rate(wall(RKT)) / theirs;
            table.at_least("lines per second / journald", ratio, 10.0);
        }
    }
    let start = Instant::now();
    time(&mut rkt.command(&flood(&image, LONG)))?;
    println!(
        "a gigabyte of lines: {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let lost = missing(&rkt)?;
    table.at_most("lines of a gigabyte lost or out of order", lost, 0.0, "");
    rkt.gc();
    Ok(())
}

fn flood<'a>(image: &'a str, (count, size): (&'a str, &'a str)) -> Vec<&'a str> {
    let words = ["--exec=/probe", "--", "flood", count, size];
    [&["run", "--net=none", image], &words[..]].concat()
}

/// Lines of the last pod's log that are not where they belong.
fn missing(rkt: &Rkt) -> Result<f64> {
    let pods = rkt.json(&["list", "--format=json"]);
    let newest = pods
        .as_array()
        .and_then(|pods| pods.iter().max_by_key(|pod| pod["created_at"].as_u64()));
    let uuid = newest
        .and_then(|pod| pod["name"].as_str())
        .ok_or("no pod")?;
    let mut command = rkt.command(&["logs", "--format=cat", uuid]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map_err(|e| format!("rkt logs: {e}"))?;
    let reader = std::io::BufReader::new(child.stdout.take().ok_or("no output")?);
    let (mut wrong, mut next) = (0, 0u64);
    for line in std::io::BufRead::lines(reader) {
        let line = line.map_err(|e| format!("rkt logs: {e}"))?;
        let number = line.split(' ').next().and_then(|word| word.parse().ok());
        wrong += u64::from(number != Some(next));
        next += 1;
    }
    child.wait().map_err(|e| format!("rkt logs: {e}"))?;
    let expected: u64 = LONG.0.parse().unwrap_or(0);
    Ok((wrong + expected.abs_diff(next)) as f64)
}

/// `app add` and `app start` in a running sandbox, and `enter` beside nsenter.
pub(crate) fn apps(programs: &Programs, table: &mut Table) -> Result<()> {
    let (rkt, image) = probe(programs);
    let (pod, uuid) = rkt.start_sandbox(&["--net=none"]);
    let dir = TempDir::new();
    let root = super::peers::rootfs(&programs.probe, dir.path())?;
    let (mut adds, mut starts, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..ROUNDS {
        let name = format!("app{n}");
        std::thread::sleep(PAUSE);
        floors.push(time(&mut super::start::floor(&programs.floor, &root, &[]))?);
        std::thread::sleep(PAUSE);
        let named = format!("--name={name}");
        let add = [&["app", "add", &uuid, &image, &named], &SLEEP[..]].concat();
        adds.push(time(&mut rkt.command(&add))?);
        let app = format!("--app={name}");
        starts.push(time(&mut rkt.command(&["app", "start", &app, &uuid]))?);
    }
    let (add, start, floor) = (median(adds), median(starts), median(floors));
    println!("app add {add:.2} ms, app start {start:.2} ms, floor {floor:.2} ms");
    table.at_most("app add and app start", add + start, 10.0, "ms");
    // Those ten milliseconds were set where the floor takes 3.4.
    let ratio = (add + start) / floor;
    table.at_most("app add and app start / floor", ratio, 10.0 / 3.4, "x");
    enter(&rkt, &uuid, table)?;
    stop(&rkt, &uuid, pod);
    rkt.gc();
    Ok(())
}

fn enter(rkt: &Rkt, uuid: &str, table: &mut Table) -> Result<()> {
    let processes = rkt.processes();
    let app = processes.iter().find(|(_, name)| name == "probe");
    let (pid, _) = app.ok_or("no app to enter")?;
    let pid = pid.to_string();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        std::thread::sleep(PAUSE);
        let args = ["enter", "--app=app0", uuid, "/probe", "true"];
        ours.push(time(&mut rkt.command(&args))?);
        // Each falls on a machine at rest.
        std::thread::sleep(PAUSE);
        let mut nsenter = Command::new("nsenter");
        nsenter.args([
            "--target", &pid, "--mount", "--uts", "--ipc", "--net", "--pid",
        ]);
        theirs.push(time(nsenter.args(["--cgroup", "/probe", "true"]))?);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("rkt enter {ours:.2} ms, nsenter {theirs:.2} ms");
    table.at_most("enter / nsenter", ours / theirs, 1.5, "x");
    Ok(())
}

/// A pod with a hundred apps.
pub(crate) fn many_apps(programs: &Programs, table: &mut Table) -> Result<()> {
    let (rkt, image) = probe(programs);
    let names: Vec<_> = (0..APPS).map(|n| format!("--name=app{n}")).collect();
    let args = |count: usize| {
        let mut args = vec!["--net=none"];
        for name in &names[..count] {
            args.extend([image.as_str(), name]);
            args.extend(SLEEP);
            args.push("---");
        }
        args
    };
    let one = rkt.start_pod(&args(1));
    std::thread::sleep(super::idle::IDLE);
    let (alone, _) = footprint(one.0.pid())?;
    stop(&rkt, &one.1, one.0);
    let start = Instant::now();
    let (pod, uuid) = rkt.start_pod(&args(APPS));
    let took = start.elapsed().as_secs_f64() * 1e3;
    std::thread::sleep(super::idle::IDLE);
    let (all, _) = footprint(pod.pid())?;
    stop(&rkt, &uuid, pod);
    rkt.gc();
    let each = (all - alone) / (APPS - 1) as f64;
    println!("{APPS} apps: ready after {took:.0} ms, {each:.1} KiB each");
    table.at_most("a pod with 100 apps, until ready", took, 300.0, "ms");
    table.at_most("memory for each app more", each, 100.0, "KiB");
    Ok(())
}

/// Five hundred idle pods, one after the other.
pub(crate) fn many_pods(programs: &Programs, table: &mut Table) -> Result<()> {
    let (rkt, image) = probe(programs);
    let args = [&["--net=none", &image], &SLEEP[..]].concat();
    let (mut pods, mut times) = (Vec::new(), Vec::new());
    for _ in 0..PODS {
        let start = Instant::now();
        pods.push(rkt.start_pod(&args));
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    std::thread::sleep(super::idle::IDLE);
    let mut memory = Vec::new();
    for (pod, _) in &pods {
        memory.push(footprint(pod.pid())?.0);
    }
    for (pod, uuid) in pods {
        stop(&rkt, &uuid, pod);
    }
    rkt.gc();
    let (first, last) = (
        median(times[..50].to_vec()),
        median(times[PODS - 50..].to_vec()),
    );
    println!("start with two status calls: first fifty {first:.1} ms, last fifty {last:.1} ms");
    table.at_most("the last of 500 pods / the first", last / first, 1.3, "x");
    table.at_most(
        "memory of each of 500 idle pods",
        median(memory),
        1024.0,
        "KiB",
    );
    Ok(())
}

/// How long after the end of an app `status --wait` returns.
pub(crate) fn wait(programs: &Programs, table: &mut Table) -> Result<()> {
    let (rkt, image) = probe(programs);
    let mut delays = Vec::new();
    for _ in 0..ROUNDS {
        let (mut pod, uuid) = rkt.start_pod(&[&["--net=none", &image], &SLEEP[..]].concat());
        let mut waiter = rkt.start(&["status", "--wait", &uuid]);
        // It must be waiting when the pod ends.
        std::thread::sleep(Duration::from_millis(50));
        rkt.ok(&["stop", "--force", &uuid]);
        until(Duration::from_secs(10), "the pod's end", || {
            pod.try_status().is_some()
        });
        let ended = Instant::now();
        until(Duration::from_secs(10), "the waiter", || {
            waiter.try_status().is_some()
        });
        delays.push(ended.elapsed().as_secs_f64() * 1e3);
    }
    rkt.gc();
    let delay = median(delays);
    table.at_most("status --wait after the exit", delay, 5.0, "ms");
    Ok(())
}

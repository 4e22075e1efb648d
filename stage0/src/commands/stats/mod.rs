//! `rkt stats`.

mod sample;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use pod::{Phase, Pod, Pods, State};
use sample::{PodStats, Used};

use super::pretty::{Format, format_flag};
use super::{Entry, running};
use crate::cli::flags::{Values, duration, switch, words};
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::output::{self, human, table};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "stats",
    about: "Show what running pods use",
    usage: "stats [--follow] [UUID ...]",
    long: "Shows processor time, memory, disk and network traffic and the number of processes of\nthe given pods and their apps, or of all running pods.\n\nWith --follow it does so again and again, also with the share of a processor since\nthe last time, until the pods have ended. A terminal is redrawn with the busiest pod\nfirst; otherwise lines are appended.\n\n\trkt stats 5b2f\n\trkt stats --follow --interval=5s --format=json",
    arguments: |command| {
        command.args([
            switch("follow", "show it again and again").short('f'),
            duration("interval", "1s", "time between two looks with --follow"),
            switch("no-legend", "suppress a legend with the list"),
            format_flag(),
            words("uuid"),
        ])
    },
    run: |context, matches| {
        let format = Format::parse(matches.str("format"))?;
        let given = matches.strings("uuid");
        let pods = context.pods()?;
        // A mistake in a name is an error now; a pod that ends later is not.
        let uuids: Vec<String> = given
            .iter()
            .map(|uuid| Ok(running::find(context, &pods, uuid)?.uuid().to_owned()))
            .collect::<Result<_, Failure>>()?;
        let legend = !matches.is("no-legend");
        match matches.is("follow") {
            false => {
                let stats = look(context, &pods, &uuids)?;
                show(&stats, format, legend)?;
                Ok(ExitCode::SUCCESS)
            }
            true => follow(
                context,
                &pods,
                &uuids,
                format,
                legend,
                matches.duration("interval"),
            ),
        }
    },
    newer: true,
    ..Entry::BASE
};

/// Cursor to the top left, and everything below it erased.
const REDRAW: &str = "\x1b[H\x1b[J";

fn follow(
    context: &Context,
    pods: &Pods,
    uuids: &[String],
    format: Format,
    legend: bool,
    interval: Duration,
) -> Outcome {
    if interval < Duration::from_millis(10) {
        return Err(Failure::new("--interval must be 10ms or more"));
    }
    let redraw = format == Format::Text && std::io::stdout().is_terminal();
    let mut before: Vec<PodStats> = Vec::new();
    loop {
        let mut stats = look(context, pods, uuids)?;
        if stats.is_empty() && !uuids.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        for pod in &mut stats {
            if let Some(before) = before.iter().find(|b| b.uuid == pod.uuid) {
                pod.compare(before);
            }
        }
        if redraw {
            output::out(REDRAW);
            let share = |pod: &PodStats| pod.used.cpu_percent.unwrap_or(0.0);
            stats.sort_by(|a, b| share(b).total_cmp(&share(a)));
        }
        show(&stats, format, legend && (redraw || before.is_empty()))?;
        before = stats;
        std::thread::sleep(interval);
    }
}

/// Those of the pods that run now, or all that do. One that ends while it is looked at is left out.
fn look(context: &Context, pods: &Pods, uuids: &[String]) -> Result<Vec<PodStats>, Failure> {
    let mut stats = Vec::new();
    let mut add = |pod: &Pod| -> Result<(), Failure> {
        match PodStats::of(pod) {
            Ok(found) => stats.push(found),
            Err(failure) => {
                let again = context.pod(pods, pod.uuid());
                if again.is_ok_and(|pod| pod.state() == State::Running) && !uuids.is_empty() {
                    return Err(failure);
                }
            }
        }
        Ok(())
    };
    if !uuids.is_empty() {
        for uuid in uuids {
            match context.pod(pods, uuid) {
                Ok(pod) if pod.state() == State::Running => add(&pod)?,
                // It ended, or was even removed.
                _ => {}
            }
        }
        return Ok(stats);
    }
    let mut failed = None;
    pods.walk(&[Phase::Run], |pod| {
        if pod.state() == State::Running {
            failed = add(&pod).err().or(failed.take());
        }
        Ok::<_, pod::Error>(())
    })
    .doing("failed to get pod handles")?;
    failed.map_or(Ok(stats), Err)
}

const LEGEND: &str = "UUID\tAPP\tCPU\tTIME\tMEMORY\tLIMIT\tREAD\tWRITTEN\tRECEIVED\tSENT\tTASKS\n";

fn show(stats: &[PodStats], format: Format, legend: bool) -> Result<(), Failure> {
    if format != Format::Text {
        return format.print(&stats);
    }
    let mut text = String::new();
    if legend {
        text.push_str(LEGEND);
    }
    for pod in stats {
        let interfaces = pod.network.as_ref();
        let sum = |count: fn(&sample::Interface) -> u64| {
            interfaces.map(|all| all.iter().map(count).sum())
        };
        let traffic = [sum(|i| i.received_bytes), sum(|i| i.sent_bytes)];
        let short = pod.uuid.split('-').next().unwrap_or_default();
        text.push_str(&row(short, "", &pod.used, traffic));
        for app in &pod.apps {
            text.push_str(&row("", &app.name, &app.used, [None, None]));
        }
    }
    output::out(&table::align(&text));
    Ok(())
}

fn row(uuid: &str, app: &str, used: &Used, [received, sent]: [Option<u64>; 2]) -> String {
    let bytes = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), human::bytes);
    let unknown = || "-".to_owned();
    let percent = used
        .cpu_percent
        .map_or_else(unknown, |p| format!("{p:.1}%"));
    let time = used.cpu_time.map_or_else(unknown, |nanos| {
        format!("{:.3}s", Duration::from_nanos(nanos).as_secs_f64())
    });
    let tasks = used.processes.map_or_else(unknown, |n| n.to_string());
    [
        uuid,
        app,
        &percent,
        &time,
        &bytes(used.memory),
        &bytes(used.memory_limit),
        &bytes(used.io_read),
        &bytes(used.io_written),
        &bytes(received),
        &bytes(sent),
        &tasks,
    ]
    .join("\t")
        + "\n"
}

//! `rkt list`.

use std::process::ExitCode;
use std::time::SystemTime;

use pod::{Phase, Pod, State};

use super::pod_json::PodJson;
use super::pretty::{Format, format_flag};
use super::{Entry, network};
use crate::cli::flags::{Values, switch};
use crate::failure::{Doing, Failure};
use crate::output::{self, human, table};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "list",
    about: "List pods",
    usage: "list",
    long: "Lists running, dead, and prepared pods.",
    arguments: |command| {
        command.args([
            switch("no-legend", "suppress a legend with the list"),
            switch("full", "use long output format"),
            format_flag(),
        ])
    },
    run: |context, matches| {
        let pods = context.pods()?;
        match Format::parse(matches.str("format"))? {
            Format::Text => text(&pods, matches.is("full"), matches.is("no-legend")),
            format => json(&pods, format),
        }
    },
    ..Entry::BASE
};

/// Everything but embryos, which are nobody's business for the instant they exist.
const LISTED: [Phase; 5] = [
    Phase::Prepare,
    Phase::Prepared,
    Phase::Run,
    Phase::ExitedGarbage,
    Phase::Garbage,
];

fn json(pods: &pod::Pods, format: Format) -> crate::failure::Outcome {
    let (mut listed, mut errors) = (Vec::new(), Vec::new());
    pods.walk(&LISTED, |pod| {
        match PodJson::of(&pod) {
            Ok(json) => listed.push(json),
            Err(failure) => errors.push(failure.brief()),
        }
        Ok::<_, pod::Error>(())
    })
    .doing("failed to get pod handles")?;
    // The original's empty list was Go's nil.
    format.print(&Some(listed).filter(|l| !l.is_empty()))?;
    report(&errors);
    Ok(ExitCode::SUCCESS)
}

fn text(pods: &pod::Pods, full: bool, no_legend: bool) -> crate::failure::Outcome {
    let mut listing = Listing {
        full,
        now: SystemTime::now(),
        text: String::new(),
        errors: Vec::new(),
    };
    if !no_legend {
        let id = if full { "IMAGE ID\t" } else { "" };
        listing.text = format!("UUID\tAPP\tIMAGE NAME\t{id}STATE\tCREATED\tSTARTED\tNETWORKS\n");
    }
    pods.walk(&LISTED, |pod| {
        listing.pod(&pod);
        Ok::<_, pod::Error>(())
    })
    .doing("failed to get pod handles")?;
    output::out(&table::align(&listing.text));
    report(&listing.errors);
    Ok(ExitCode::SUCCESS)
}

struct Listing {
    full: bool,
    now: SystemTime,
    text: String,
    errors: Vec<String>,
}

impl Listing {
    fn pod(&mut self, pod: &Pod) {
        let uuid = match self.full {
            true => pod.uuid(),
            false => &pod.uuid()[..8],
        };
        let facts = self.facts(pod).unwrap_or_else(|failure| {
            self.errors.push(failure.brief());
            Facts::default()
        });
        let columns = format!(
            "{}\t{}\t{}\t{}",
            pod.state(),
            facts.created,
            facts.started,
            facts.networks
        );
        if facts.apps.is_empty() {
            let id = if self.full { "-\t" } else { "" };
            self.text
                .push_str(&format!("{uuid}\t-\t-\t{id}{columns}\n"));
        }
        for (i, app) in facts.apps.iter().enumerate() {
            let id = match self.full {
                true => format!("{}\t", app.id),
                false => String::new(),
            };
            let (first, rest) = match i {
                0 => (uuid, columns.as_str()),
                _ => ("", "\t\t\t"),
            };
            let (name, image) = (&app.name, &app.image);
            self.text
                .push_str(&format!("{first}\t{name}\t{image}\t{id}{rest}\n"));
        }
    }

    fn facts(&self, pod: &Pod) -> Result<Facts, Failure> {
        let problem = || format!("unable to read pod {:?}", pod.uuid());
        // A pod that is being prepared or deleted has no manifest for a while: nothing to complain.
        let manifest = pod.manifest().doing_with(problem)?;
        let unfinished = matches!(
            pod.state(),
            State::Embryo
                | State::Preparing
                | State::AbortedPrepare
                | State::Deleting
                | State::ExitedDeleting
                | State::Garbage
        );
        if manifest.is_none() && !unfinished {
            return Err(Failure::new(format!(
                "pod {:?} has no manifest",
                pod.uuid()
            )));
        }
        let apps = manifest.iter().flat_map(|m| &m.apps);
        let networks = network::of(pod).doing_with(problem)?;
        Ok(Facts {
            apps: apps.map(|app| AppFacts::of(pod, app)).collect(),
            created: self.time(pod.created().doing_with(problem)?),
            started: self.time(pod.started().doing_with(problem)?),
            networks: network::describe(&networks),
        })
    }

    fn time(&self, time: Option<SystemTime>) -> String {
        match time {
            None => String::new(),
            Some(time) if self.full => human::local(time),
            Some(time) => human::ago(time, self.now),
        }
    }
}

#[derive(Default)]
struct Facts {
    apps: Vec<AppFacts>,
    created: String,
    started: String,
    networks: String,
}

struct AppFacts {
    name: String,
    image: String,
    id: String,
}

impl AppFacts {
    fn of(pod: &Pod, app: &appc::RuntimeApp) -> Self {
        // The pod manifest nearly always has the name; one given by --pod-manifest may not.
        let (name, labels) = match &app.image.name {
            Some(name) => (Some(name.to_string()), Some(app.image.labels.clone())),
            None => match pod.app_image(&app.name) {
                Ok(image) => (Some(image.name.to_string()), Some(image.labels)),
                Err(_) => (None, None),
            },
        };
        let version = labels.as_ref().and_then(|l| l.get("version"));
        let image = match (name, version) {
            (Some(name), Some(version)) => format!("{name}:{version}"),
            (Some(name), None) => name,
            (None, _) => "--".to_owned(),
        };
        Self {
            name: app.name.to_string(),
            image,
            id: app.image.id.short().to_owned(),
        }
    }
}

/// What could not be read, in a block of its own below the list.
fn report(errors: &[String]) {
    if errors.is_empty() {
        return;
    }
    const RULE: &str = "----------------------------------------";
    let lines: String = errors.iter().map(|e| format!("{e}\n")).collect();
    output::err(&format!(
        "{RULE}\n{} error(s) encountered when listing pods:\n{RULE}\n{lines}",
        errors.len()
    ));
}

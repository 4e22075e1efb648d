//! `rkt image list`.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{ArgMatches, Command};
use serde::Serialize;
use store::ImageInfo;

use crate::cli::flags::{Values, switch, text};
use crate::commands::{Entry, fetch, pretty};
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::images::Images;
use crate::output::{self, human, table};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "list",
    about: "List images in the local store",
    usage: "list",
    long: "Optionally, allows the user to specify the fields and sort order.",
    arguments,
    run: list,
    ..Entry::BASE
};

fn arguments(command: Command) -> Command {
    command.args([
        text("fields", "id,name,size,importtime,lastused", "comma-separated list of fields to display. Accepted values: id, name, size, importtime, lastused, latest, digest"),
        text("sort", "importtime", "sort the output according to the provided comma-separated list of fields. Accepted values: name, importtime, lastused, size"),
        text("order", "asc", "choose the sorting order if at least one sort field is provided (--sort). Accepted values: asc, desc"),
        switch("no-legend", "suppress a legend with the list"),
        switch("full", "use long output format"),
        pretty::format_flag(),
    ])
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Name,
    Size,
    ImportTime,
    LastUsed,
    Latest,
    Digest,
}

const FIELDS: [(Field, &str, &str); 7] = [
    (Field::Id, "id", "ID"),
    (Field::Name, "name", "NAME"),
    (Field::Size, "size", "SIZE"),
    (Field::ImportTime, "importtime", "IMPORT TIME"),
    (Field::LastUsed, "lastused", "LAST USED"),
    (Field::Latest, "latest", "LATEST"),
    (Field::Digest, "digest", "DIGEST"),
];

impl Field {
    /// Reads a comma-separated list of fields.
    fn list(flag: &str, words: &str) -> Result<Vec<Self>, Failure> {
        let field = |word: &str| {
            let found = FIELDS.iter().find(|(_, name, _)| *name == word);
            found.map(|(field, ..)| *field).ok_or_else(|| {
                let known: Vec<_> = FIELDS.iter().map(|(_, name, _)| *name).collect();
                Failure::new(format!(
                    "invalid value {word:?} for --{flag}: must be one of {}",
                    known.join(", ")
                ))
            })
        };
        words.split(',').map(str::trim).map(field).collect()
    }

    fn heading(self) -> &'static str {
        FIELDS
            .iter()
            .find(|(f, ..)| *f == self)
            .map_or("", |(.., h)| h)
    }

    fn compare(self, a: &ImageInfo, b: &ImageInfo) -> std::cmp::Ordering {
        match self {
            Self::Id => a.id.as_str().cmp(b.id.as_str()),
            Self::Name => full_name(a).cmp(&full_name(b)),
            Self::Size => size(a).cmp(&size(b)),
            Self::ImportTime => a.imported.cmp(&b.imported),
            Self::LastUsed => a.last_used.cmp(&b.last_used),
            Self::Latest => a.latest.cmp(&b.latest),
            Self::Digest => a.digest.cmp(&b.digest),
        }
    }

    fn text(self, image: &ImageInfo, full: bool, now: SystemTime) -> String {
        let time = |time| match full {
            true => human::local(time),
            false => human::ago(time, now),
        };
        match self {
            Self::Id if full => image.id.to_string(),
            Self::Id => fetch::short(&image.id).to_owned(),
            Self::Name => full_name(image),
            Self::Size if full => size(image).to_string(),
            Self::Size => human::bytes(size(image)),
            Self::ImportTime => time(image.imported),
            Self::LastUsed => time(image.last_used),
            Self::Latest => image.latest.to_string(),
            Self::Digest => image.digest.clone().unwrap_or_else(|| "-".to_owned()),
        }
    }
}

/// Name and version.
fn full_name(image: &ImageInfo) -> String {
    match &image.version {
        Some(version) => format!("{}:{version}", image.name),
        None => image.name.clone(),
    }
}

/// Blob and tree.
fn size(image: &ImageInfo) -> u64 {
    image.size + image.tree_size
}

/// An image as JSON; times in nanoseconds since 1970.
#[derive(Debug, Serialize)]
struct ImageJson {
    id: String,
    name: String,
    import_time: u64,
    last_used_time: u64,
    size: u64,
}

impl From<&ImageInfo> for ImageJson {
    fn from(image: &ImageInfo) -> Self {
        let nanoseconds = |time: SystemTime| {
            let since = time
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        };
        Self {
            id: image.id.to_string(),
            name: full_name(image),
            import_time: nanoseconds(image.imported),
            last_used_time: nanoseconds(image.last_used),
            size: size(image),
        }
    }
}

/// Every image under each of its names.
fn all(images: &Images) -> Result<Vec<ImageInfo>, Failure> {
    let mut all = images.store.list().doing("cannot list the images")?;
    // Only those of registries have several, and the digest of one.
    if all.iter().all(|image| image.digest.is_none()) {
        return Ok(all);
    }
    for (id, origin) in images.aliases()? {
        let Some(first) = all.iter().find(|image| image.id == id) else {
            continue;
        };
        let other = ImageInfo {
            name: origin.name.to_string(),
            version: origin.tag,
            latest: false,
            ..first.clone()
        };
        let is_other = |image: &ImageInfo| {
            image.id == id && image.name == other.name && image.version == other.version
        };
        if !all.iter().any(is_other) {
            all.push(other);
        }
    }
    Ok(all)
}

fn list(context: &Context, matches: &ArgMatches) -> Outcome {
    let fields = Field::list("fields", matches.str("fields"))?;
    let sort = Field::list("sort", matches.str("sort"))?;
    let descending = match matches.str("order") {
        "asc" => false,
        "desc" => true,
        other => {
            return Err(Failure::new(format!(
                "invalid value {other:?} for --order: must be asc or desc"
            )));
        }
    };
    let format = pretty::Format::parse(matches.str("format"))?;
    let mut images = all(&Images::open(context))?;
    images.sort_by(|a, b| {
        let orders = sort.iter().map(|field| field.compare(a, b));
        let order = orders.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then);
        if descending { order.reverse() } else { order }
    });
    if format != pretty::Format::Text {
        let all: Vec<ImageJson> = images.iter().map(ImageJson::from).collect();
        format.print(&Some(all).filter(|a| !a.is_empty()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |cells: Vec<String>| cells.join("\t") + "\n";
    let mut text = String::new();
    if !matches.is("no-legend") {
        text = row(fields.iter().map(|f| f.heading().to_owned()).collect());
    }
    let (full, now) = (matches.is("full"), SystemTime::now());
    for image in &images {
        text.push_str(&row(fields
            .iter()
            .map(|f| f.text(image, full, now))
            .collect()));
    }
    output::out(&table::align(&text));
    Ok(ExitCode::SUCCESS)
}

//! JSON for people and for programs.

use serde::Serialize;

use crate::failure::{Doing, Failure};

/// How a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Aligned text.
    Text,
    /// JSON in one line.
    Json,
    /// JSON indented with tabs.
    JsonPretty,
}

/// `--format`.
pub(super) fn format_flag() -> clap::Arg {
    crate::cli::flags::text(
        "format",
        "",
        "choose the output format, allowed format includes 'json', 'json-pretty'. If empty, then the result is printed as key value pairs",
    )
}

impl Format {
    /// Reads the value of `--format`.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "json-pretty" => Ok(Self::JsonPretty),
            _ => Err(Failure::new(format!(
                "invalid format {text:?}: must be json or json-pretty"
            ))),
        }
    }

    /// Prints a value as JSON with a newline.
    pub(super) fn print(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = match self {
            Self::JsonPretty => indented(value)?,
            Self::Text | Self::Json => {
                serde_json::to_string(value).doing("cannot write the result as JSON")?
            }
        };
        crate::output::line(&text);
        Ok(())
    }
}

/// JSON indented with tabs, as the original's.
pub(super) fn indented(value: &impl Serialize) -> Result<String, Failure> {
    let mut out = Vec::with_capacity(1024);
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    value
        .serialize(&mut serializer)
        .doing("cannot write the result as JSON")?;
    String::from_utf8(out).doing("cannot write the result as JSON")
}

/// Prints a manifest as it is stored, or indented.
pub(super) fn manifest(bytes: &[u8], pretty: bool) -> Result<(), Failure> {
    let value: serde_json::Value =
        serde_json::from_slice(bytes).doing("cannot read the manifest as JSON")?;
    match pretty {
        true => crate::output::line(&indented(&value)?),
        false => Format::Json.print(&value)?,
    }
    Ok(())
}

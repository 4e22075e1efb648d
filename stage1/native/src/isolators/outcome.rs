//! What became of each isolator: kept for `rkt status`, and told to whoever starts the pod.

use std::path::Path;

use appc::Isolator;
use serde::Serialize;

use crate::error::Error;

/// What became of the isolators of an app or of a pod, in the manifest's order.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Outcomes(Vec<Outcome>);

/// What became of one isolator.
#[derive(Debug, Serialize)]
struct Outcome {
    name: String,
    #[serde(flatten)]
    fate: Fate,
}

/// The ways an isolator can go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "lowercase")]
pub(crate) enum Fate {
    /// It holds as it stands in the manifest.
    Applied,
    /// Something else holds, for this reason.
    Changed(String),
    /// It does not hold, for this reason.
    Unsupported(String),
}

impl Fate {
    /// Something else holds.
    pub(crate) fn changed(reason: impl Into<String>) -> Self {
        Self::Changed(reason.into())
    }

    /// It does not hold.
    pub(crate) fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported(reason.into())
    }
}

impl Outcomes {
    /// Notes what became of an isolator.
    pub(crate) fn add(&mut self, isolator: &Isolator, fate: Fate) {
        self.0.push(Outcome {
            name: isolator.name.to_string(),
            fate,
        });
    }

    /// Tells on standard error what is not applied, or refuses it; keeps the rest in `file`.
    /// `whose` is `app "x"` or `the pod`.
    pub(crate) fn report(&self, whose: &str, strict: bool, file: &Path) -> Result<(), Error> {
        for Outcome { name, fate } in &self.0 {
            let Fate::Unsupported(reason) = fate else {
                continue;
            };
            if strict {
                return Err(Error::Unsupported(format!(
                    "{whose}: isolator {name} cannot be applied: {reason} (--strict-isolators)"
                )));
            }
            eprintln!("rkt: {whose}: isolator {name} is not applied: {reason}");
        }
        if self.0.is_empty() {
            return Ok(());
        }
        let text = serde_json::to_string(self).map_err(|source| Error::Write {
            path: file.into(),
            source: source.into(),
        })?;
        crate::run::replace_file(file, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_objects() {
        let fates = [Fate::Applied, Fate::changed("a"), Fate::unsupported("b")];
        let text: Vec<_> = fates
            .iter()
            .map(|f| serde_json::to_string(f).unwrap())
            .collect();
        assert_eq!(
            text,
            [
                r#"{"outcome":"applied"}"#,
                r#"{"outcome":"changed","reason":"a"}"#,
                r#"{"outcome":"unsupported","reason":"b"}"#
            ]
        );
    }
}

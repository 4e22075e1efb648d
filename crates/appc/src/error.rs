//! The one error type of the crate.

/// Why a value or a manifest was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The manifest has more bytes than [`crate::MAX_MANIFEST`].
    #[error("manifest has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Bytes given.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The text is not JSON.
    #[error("not valid JSON at line {line}, column {column}: {reason}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// What the parser expected.
        reason: String,
    },
    /// A field of a manifest has the wrong type or breaks a rule of the specification.
    #[error("{path}: {reason}")]
    Field {
        /// The field, as `app.mountPoints[2].path`; `manifest` for the whole.
        path: String,
        /// The broken rule.
        reason: String,
    },
    /// A single value, such as a command-line argument, breaks a rule of the specification.
    #[error("invalid {kind} {value:?}: {reason}")]
    Value {
        /// What the value should have been, such as `AC name`.
        kind: &'static str,
        /// The value, shortened when very long.
        value: String,
        /// The broken rule.
        reason: String,
    },
}

impl Error {
    /// An [`Error::Value`].
    pub(crate) fn value(kind: &'static str, value: &str, reason: impl Into<String>) -> Self {
        let shown = shorten(value);
        Error::Value {
            kind,
            value: shown,
            reason: legible(&reason.into()),
        }
    }

    /// An [`Error::Field`].
    pub(crate) fn field(path: &str, reason: &str) -> Self {
        Error::Field {
            path: legible(path),
            reason: legible(reason),
        }
    }

    /// The reason alone, for where the value is already named.
    pub(crate) fn into_reason(self) -> String {
        match self {
            Error::Field { reason, .. } | Error::Value { reason, .. } => reason,
            other => other.to_string(),
        }
    }
}

/// Cuts text of strangers, so that a message stays a line.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 256;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Text for a message that may quote a stranger: short, and nothing a terminal would obey.
pub(crate) fn legible(text: &str) -> String {
    let mut shown = String::new();
    for c in shorten(text).chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

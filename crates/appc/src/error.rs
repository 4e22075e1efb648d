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
    /// An [`Error::Value`]; values of strangers are cut so that a message stays a line.
    pub(crate) fn value(kind: &'static str, value: &str, reason: impl Into<String>) -> Self {
        const SHOWN: usize = 128;
        let mut shown: String = value.chars().take(SHOWN).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Error::Value {
            kind,
            value: shown,
            reason: reason.into(),
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
